"""Events that agents report, read once into typed values. What an agent says is evidence of what it says, no more:
it can name only its own doings, so that it cannot forge an event of the control plane.
"""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from audit import personal
from audit.event import LONGEST_BODY, LONGEST_PLACE, OUTCOMES, SUCCESS, NewEvent, TooLongError
from sessions import tokens
from sessions.api.batches import Line

DEEPEST = 16
LONGEST_KIND = 64
FIELDS = frozenset({"id", "kind", "occurred_at", "outcome", "data"})
AHEAD = timedelta(minutes=5)
# An end has consequences that are worth reporting: a command is given 5 seconds to go, a dead credential is refused.
AFTERMATH = timedelta(seconds=30)

KIND = re.compile(r"(?:agent|tool|db|file|http|process|sandbox)(?:\.[a-z][a-z0-9_]*){1,3}")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)")
_KEY = re.compile(r"(?=(db[ksdg])_[0-9A-Za-z]{38})")
_KEY_LENGTH = 42
_MARKS = ("dbk_", "dbs_", "dbd_", "dbg_")


class BadEvent(Exception):
    """One event cannot be taken: the text says why, without repeating what it holds."""


@dataclass(frozen=True)
class Reporter:
    """Whose events they are, and the times between which they can have occurred."""

    session: uuid.UUID
    sub: str
    act: str
    since: datetime
    until: datetime | None
    agent: str | None = None
    kinds: re.Pattern[str] = KIND

    @cached_property
    def _earliest_ms(self) -> float:
        return (self.since - AHEAD).timestamp() * 1000

    def event(self, raw: object, at: datetime) -> NewEvent:
        """Read one event. Raises BadEvent."""
        if not isinstance(raw, dict):
            raise BadEvent("This line is not JSON." if isinstance(raw, Line) else "An event is a JSON object.")
        if not raw.keys() <= FIELDS:
            raise BadEvent(f"There is no field {ascii(min(raw.keys() - FIELDS))[:60]}.")
        event = NewEvent(
            id=self._id(raw.get("id"), at),
            stream=self.session,
            session=self.session,
            kind=_kind(raw.get("kind"), self.kinds),
            outcome=_outcome(raw.get("outcome", SUCCESS)),
            occurred_at=self._occurred_at(raw.get("occurred_at"), at),
            sub=self.sub,
            act=self.act,
            agent=self.agent or self.act,
            data=_data(raw.get("data", {})),
        )
        _check_body(event)
        return event

    def _id(self, value: object, at: datetime) -> uuid.UUID:
        """Its time decides where it is stored, so it must be one at which it can have been made."""
        try:
            parsed = uuid.UUID(value) if isinstance(value, str) and len(value) == 36 else None
        except ValueError:
            parsed = None
        # What uuid.UUID.version and .variant say, at a third of their cost: this is asked of every event.
        if parsed is None or parsed.int >> 76 & 0xF != 7 or parsed.int >> 62 & 0b11 != 0b10:
            raise BadEvent("id must be a UUIDv7 (RFC 9562) as text.")
        if not self._earliest_ms <= parsed.int >> 80 <= (at + AHEAD).timestamp() * 1000:
            raise BadEvent("id was made before the session was asked for, or in the future. Set the clock.")
        return parsed

    def _occurred_at(self, value: object, at: datetime) -> datetime:
        moment = _moment(value)
        if moment > at + AHEAD:
            raise BadEvent("occurred_at is more than five minutes in the future. Set the clock.")
        if moment < self.since - AHEAD:
            raise BadEvent("occurred_at is before the session was asked for.")
        if self.until is not None and moment > self.until + AFTERMATH:
            raise BadEvent("occurred_at is more than 30 seconds after the end of the session.")
        return moment


def claimed_id(raw: object) -> str | None:
    """The id that an event names, for the answer to it."""
    value = raw.get("id") if isinstance(raw, dict) else None
    return value[:64] if isinstance(value, str) and value.isascii() and value.isprintable() else None


def _kind(value: object, allowed: re.Pattern[str]) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_KIND or not allowed.fullmatch(value):
        groups = allowed.pattern.partition(":")[2].partition(")")[0].replace("|", ", ")
        raise BadEvent(f"kind must be one of {groups}, then one to three names: db.statement.")
    return value


def _outcome(value: object) -> str:
    if not isinstance(value, str) or value not in OUTCOMES:
        raise BadEvent(f"outcome must be one of {', '.join(sorted(OUTCOMES))}.")
    return value


def _moment(value: object) -> datetime:
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise BadEvent("occurred_at must be an RFC 3339 time with its offset: 2026-11-23T08:15:52.000001Z.")
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise BadEvent("occurred_at is not a time that exists.") from error


def _data(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BadEvent("data must be a JSON object.")
    if _deeper(value, DEEPEST):
        raise BadEvent(f"data is nested deeper than {DEEPEST} levels.")
    return value


def _deeper(value: object, left: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    for one in value.values() if isinstance(value, dict) else value:
        if isinstance(one, dict | list) and (left == 1 or _deeper(one, left - 1)):
            return True
    return False


def _check_body(event: NewEvent) -> None:
    try:
        before, after = event.parts
        if (sealed := len(before) + len(after) + LONGEST_PLACE + personal.growth(event)) > LONGEST_BODY:
            raise TooLongError(sealed)
    except TooLongError as error:
        raise BadEvent(f"The event is too long: at most {LONGEST_BODY} bytes are kept of one.") from error
    except ValueError as error:
        raise BadEvent("data holds what canonical JSON cannot express (RFC 8785): a number or text.") from error
    if holds_key(before.decode()):
        raise BadEvent("The event holds a key or token of Drawbridge. Take it out: events hold no secrets.")


def holds_key(text: str) -> bool:
    """Whether one of our own keys stands anywhere in the text."""
    if not any(mark in text for mark in _MARKS):
        return False
    return any(
        tokens.well_formed(text[match.start() : match.start() + _KEY_LENGTH], match[1]) for match in _KEY.finditer(text)
    )
