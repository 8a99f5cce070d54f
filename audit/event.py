"""The shape of an event, and the bytes that the log commits to. Imports no Django."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import Any

from audit import canonical
from audit.uuid7 import uuid7

VERSION = 1
LONGEST_BODY = 60_000
SUCCESS, FAILURE, DENIED = "success", "failure", "denied"
OUTCOMES = frozenset({SUCCESS, FAILURE, DENIED})
# What concerns the log itself: archives, erasures, holds, exports.
LOG_STREAM = uuid.UUID("00000000-0000-7000-8000-000000000109")
LONGEST_HOST, LONGEST_PATH = 253, 1024


def now() -> datetime:
    return datetime.now(UTC)


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds: 2026-11-23T08:15:52.000001Z."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


class TooLongError(ValueError):
    """Its body would be longer than one entry of the log may be."""

    def __init__(self, found: int) -> None:
        self.found = found
        super().__init__(f"an event may have {LONGEST_BODY} bytes, this one has {found}")


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

    @cached_property
    def parts(self) -> tuple[bytes, bytes]:
        """The canonical body before and after its place in the log. Raises TooLongError; ValueError for what
        canonical JSON cannot express.
        """
        content = self.content()
        before = canonical.dumps({name: content[name] for name in BEFORE_PLACE})
        after = _after_place(self.session, self.stream, self.sub)
        if (found := len(before) + len(after) + LONGEST_PLACE) > LONGEST_BODY:
            raise TooLongError(found)
        return before[:-1], after

    @property
    def actor(self) -> str | None:
        """Who did it, unless it was the agent that it concerns."""
        return None if self.act == self.agent else self.act

    @property
    def host(self) -> str | None:
        """The host that it was about, in lower case, for filters."""
        return _text(self.data.get("host"), LONGEST_HOST, lower=True)

    @property
    def path(self) -> str | None:
        """The file, or the path on its host, that it was about, for filters."""
        return _text(self.data.get("path"), LONGEST_PATH)

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


# In the order of the canonical body: recorded_at and seq come between these and the rest.
BEFORE_PLACE = ("act", "agent", "data", "id", "kind", "occurred_at", "outcome")
LONGEST_PLACE = 80


def body(event: NewEvent, seq: int, recorded_at: datetime) -> bytes:
    """The canonical bytes of the event at its place. Raises ValueError if they would be too long."""
    before, after = event.parts
    return b'%b,"recorded_at":"%b","seq":%d,%b' % (before, timestamp(recorded_at).encode(), seq, after)


@lru_cache(256)
def _after_place(session: uuid.UUID | None, stream: uuid.UUID, sub: str) -> bytes:
    """The end of the canonical body, which the events of a session have in common."""
    content = {"session": str(session) if session else None, "stream": str(stream), "sub": sub, "v": VERSION}
    return canonical.dumps(content)[1:]


def _text(value: object, longest: int, *, lower: bool = False) -> str | None:
    if not isinstance(value, str) or not value or "\0" in value:
        return None
    return (value.lower() if lower else value)[:longest]
