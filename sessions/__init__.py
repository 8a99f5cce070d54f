"""Who may do what, until when."""
