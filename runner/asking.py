"""Waiting for a decision: RFC 8628's polling, held open by the server where it can."""

import time
from collections.abc import Callable

from runner.client import Client, Pending
from runner.errors import Unreachable
from runner.shapes import Granted

HOLD_S = 30
SLOWER_BY_S = 5


def wait_for_token(
    client: Client,
    device_code: str,
    interval_s: float,
    tell: Callable[[str], None] = lambda text: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Granted:
    """The token, once the session was approved. Raises Denied, Lapsed or Refused.

    A server that is away is waited for; `tell` hears what is going on.
    """
    while True:
        began = time.monotonic()
        try:
            return client.token(device_code, HOLD_S)
        except Pending as pending:
            interval_s += SLOWER_BY_S if pending.slow_down else 0
            tell("waiting for approval")
        except Unreachable:
            tell("the server does not answer; trying again")
        sleep(max(0.0, interval_s - (time.monotonic() - began)))
