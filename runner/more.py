"""Asking for more in a session's middle: what was denied, in the words of a request."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from runner.client import Client
from runner.errors import Denied, Lapsed, Unreachable, Usage
from runner.shapes import More

HOLD_S, AGAIN_S = 30, 2.0


def objects(allow: Sequence[str], network: str | None = None) -> list[dict[str, Any]]:
    """Egress objects (docs/gateway.md) out of "GET,POST https://host/path/", "forward tcp://host:port" and the like.

    `network` is the range of an internal service. Raises Usage.
    """
    inside = {"network": network} if network else {}
    made = []
    for text in allow:
        actions, _, location = text.strip().partition(" ")
        if not location or "://" not in location:
            raise Usage(f"{text!r} is not like 'GET https://host/path/': actions, one space, a location.")
        made.append({"type": "egress", "locations": [location.strip()], "actions": actions.split(","), **inside})
    return made


def wait(client: Client, token: str, session_id: str, asked: More, tell: Callable[[str], None]) -> More:
    """As soon as it was decided. Raises Denied, Lapsed; a server that is away is waited for."""
    more = asked
    while more.state == "requested":
        try:
            more = client.more(token, session_id, asked.number, HOLD_S)
        except Unreachable:
            tell("the server does not answer; trying again")
            time.sleep(AGAIN_S)
    if more.state == "denied":
        why = more.denial or "no reason was given"
        raise Denied(f"It was denied: {why} This is policy: do not look for another way.")
    if more.state != "approved":
        raise Lapsed(f"It was not approved: {more.state}.")
    return more
