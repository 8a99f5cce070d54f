"""What agents and their tools speak to: /api/v1/, described by /api/v1/openapi.json."""
