"""What may leave: a process between sandboxes and the world. Imports no Django; docs/gateway.md is its contract."""
