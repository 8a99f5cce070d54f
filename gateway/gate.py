"""What every connection of this gateway shares, and the one way in which it says no."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from gateway.control import Control
from gateway.denial import Denial
from gateway.errors import Denied
from gateway.evasion import Attempt
from gateway.live import Live
from gateway.policy import Verdict
from gateway.record import Recorder
from gateway.redaction import clean_text
from gateway.resolving import Resolver

logger = structlog.get_logger()


@dataclass(frozen=True)
class Gate:
    """`sockets` is the folder for the unix sockets of sandboxes, None where there are none."""

    control: Control
    recorder: Recorder
    resolver: Resolver
    tls: ssl.SSLContext
    sockets: Path | None = None


@dataclass(frozen=True)
class Target:
    """Where somebody wants to go, as far as it is known: for denials and events."""

    host: str
    port: int
    door: str
    method: str | None = None
    path: str | None = None
    other: str = ""
    literal: bool = False


async def refuse(gate: Gate, live: Live, verdict: Verdict, target: Target) -> Denial:
    """Records a denial, whether it goes round an earlier one, and says how it is answered. Never raises Denied."""
    assert verdict.code is not None
    attempt = Attempt(target.host, target.port, target.door, verdict.code, target.other, target.literal)
    evades = live.memory.note(attempt)
    path = None if target.path is None else clean_text(live.patterns, target.path.partition("?")[0])
    host = clean_text(live.patterns, target.host)
    told = {
        "host": host,
        "port": target.port,
        "mode": target.door,
        "code": verdict.code,
        "method": target.method,
        "path": path,
    }
    event = ""
    try:
        event = await gate.recorder.keep(live.id, "egress.denied", {**told, "evasion": evades}, "denied")
        if evades:
            gate.recorder.note(live.id, "finding.evasion", {**told, "attempts": live.memory.evasions}, "denied")
    except Denied:
        # Nothing passes here: that it was tried is all that is lost, and the spool says so.
        logger.error("denial_not_recorded", session=live.id, code=verdict.code)
    return Denial(verdict, host, target.port, method=target.method, path=path, ask=live.policy.ask, event=event)


def now() -> datetime:
    return datetime.now(UTC)
