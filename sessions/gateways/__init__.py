"""What gateways are told and what they hold: docs/gateway.md is the contract."""
