"""Where a command runs so that it reaches only what was approved: see interface.py."""
