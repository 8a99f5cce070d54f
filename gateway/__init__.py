"""What may leave: a process of its own between sandboxes and the world. Imports no Django; docs/gateway.md is its contract."""
