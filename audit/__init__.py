"""What happened: the event log. It knows nothing of who may do what."""
