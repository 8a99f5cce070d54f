"""Policy documents as the control plane writes them, for the tests to change one thing in."""

from datetime import UTC, datetime, timedelta
from typing import Any

from gateway.names import Host
from gateway.policy import Policy, Request

NOW = datetime(2026, 11, 26, 7, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=15)


def rule(**changed: Any) -> dict[str, Any]:
    """A rule that looks inside."""
    return {
        "id": "1.1",
        "mode": "inspect",
        "scheme": "https",
        "host": "allowed.com",
        "port": 443,
        "methods": ["GET", "POST"],
        "path": "/repos/acme/",
        "inject": None,
        "network": None,
        "listen": None,
        "not_after": None,
    } | changed


def tunnel(**changed: Any) -> dict[str, Any]:
    return rule(**({"mode": "tunnel", "scheme": "tls", "methods": None, "path": None} | changed))


def forward(**changed: Any) -> dict[str, Any]:
    return rule(**({"mode": "forward", "scheme": "tcp", "methods": None, "path": None, "port": 5432} | changed))


def document(*rules: dict[str, Any], **changed: Any) -> dict[str, Any]:
    return {
        "v": 1,
        "session": "01938b2e-0000-7000-8000-000000000001",
        "serial": 1,
        "grant_hash": "ab" * 32,
        "not_after": "2026-11-26T07:15:00Z",
        "ask": "https://drawbridge.example/sessions/1/more",
        "rules": list(rules),
    } | changed


def policy(*rules: dict[str, Any], **changed: Any) -> Policy:
    return Policy.read(document(*rules, **changed))


def request(url: str, method: str | None = "GET") -> Request:
    """`scheme://host[:port]/path`, split as plainly as can be."""
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    host, _, port = authority.partition(":")
    return Request(scheme, Host.read(host), int(port or (80 if scheme == "http" else 443)), method, slash + path)
