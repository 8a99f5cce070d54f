"""Systems that mint and revoke. One file and one registry line each."""
