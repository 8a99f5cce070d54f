"""The shape of an event, and the bytes that the log commits to. Imports no Django."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from audit import canonical
from audit.uuid7 import uuid7

VERSION = 1
LONGEST_BODY = 60_000
SUCCESS, FAILURE, DENIED = "success", "failure", "denied"
OUTCOMES = frozenset({SUCCESS, FAILURE, DENIED})


def now() -> datetime:
    return datetime.now(UTC)


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds: 2026-11-23T08:15:52.000001Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(frozen=True)
class NewEvent:
    """An event before it has its place in the log.

    `sub` is the person on whose behalf it happened and `act` who did it, as in RFC 8693: `person:<id>`,
    `agent:<id>`, `service:<name>`. `agent` names the agent that it concerns, if any.
    """

    kind: str
    stream: uuid.UUID
    sub: str
    act: str
    data: Mapping[str, Any] = field(default_factory=dict)
    agent: str | None = None
    session: uuid.UUID | None = None
    outcome: str = SUCCESS
    occurred_at: datetime = field(default_factory=now)
    id: uuid.UUID = field(default_factory=uuid7)

    def content(self) -> dict[str, Any]:
        """What the sender says: everything but the place in the log."""
        return {
            "v": VERSION,
            "id": str(self.id),
            "stream": str(self.stream),
            "kind": self.kind,
            "outcome": self.outcome,
            "occurred_at": timestamp(self.occurred_at),
            "sub": self.sub,
            "act": {"sub": self.act},
            "agent": self.agent,
            "session": str(self.session) if self.session else None,
            "data": dict(self.data),
        }


def from_content(content: Mapping[str, Any]) -> NewEvent:
    """The inverse of NewEvent.content()."""
    return NewEvent(
        id=uuid.UUID(content["id"]),
        stream=uuid.UUID(content["stream"]),
        kind=content["kind"],
        outcome=content["outcome"],
        occurred_at=datetime.fromisoformat(content["occurred_at"]),
        sub=content["sub"],
        act=content["act"]["sub"],
        agent=content["agent"],
        session=uuid.UUID(content["session"]) if content["session"] else None,
        data=content["data"],
    )


def body(event: NewEvent, seq: int, recorded_at: datetime) -> bytes:
    """The canonical bytes of the event at its place. Raises ValueError if they would be too long."""
    encoded = canonical.dumps({**event.content(), "seq": seq, "recorded_at": timestamp(recorded_at)})
    if len(encoded) > LONGEST_BODY:
        raise ValueError(f"an event may have {LONGEST_BODY} bytes, this one has {len(encoded)}")
    return encoded


def content_of(stored: bytes) -> dict[str, Any]:
    """What the sender of a stored event said, for comparison with a second sending."""
    content: dict[str, Any] = canonical.loads(stored)
    del content["seq"], content["recorded_at"]
    return content
