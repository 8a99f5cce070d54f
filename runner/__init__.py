"""The command on the agent's machine. Installable alone: it knows the control plane only through its API."""
