"""What a viewer of a timeline wants to see, as it stands in the address of the page. Imports no Django."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Protocol
from urllib.parse import urlencode

from audit.event import LONGEST_HOST, LONGEST_PATH, OUTCOMES

LONGEST_TEXT = 100
MOST_KINDS = 20
# The value of `actor` for what the session's own agent did.
AGENT = "agent"

_BETWEEN_WORDS = re.compile(r"[\W_]+")
_ESCAPES = re.compile(r"\\(u[0-9a-f]{4}|.)")
_NAMES = {"kinds": "kind", "text": "q"}


class Filterable(Protocol):
    """One event, as far as filters look at it. `body` is the canonical JSON; `actor` None for the session's agent."""

    @property
    def kind(self) -> str: ...
    @property
    def outcome(self) -> str: ...
    @property
    def occurred_at(self) -> datetime: ...
    @property
    def actor(self) -> str | None: ...
    @property
    def host(self) -> str | None: ...
    @property
    def path(self) -> str | None: ...
    @property
    def body(self) -> str: ...


@dataclass(frozen=True)
class Filters:
    """Empty means all.

    A kind is exact or a group of kinds (`tool` has `tool.called`); `path` is the beginning of one. Each word of `text`
    is the beginning of a word of the kind or of `data`. `since` is included, `until` is not.
    """

    kinds: frozenset[str] = frozenset()
    outcome: str = ""
    host: str = ""
    path: str = ""
    actor: str = ""
    text: str = ""
    since: datetime | None = None
    until: datetime | None = None

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> "Filters":
        """?kind=a,b&outcome=denied&host=h&path=/p&actor=person:1&q=words&since=T&until=T. Nonsense is ignored."""
        kinds = [kind for kind in _clean(query.get("kind", ""), 1_000).split(",") if kind.strip()]
        outcome = query.get("outcome", "")
        return cls(
            kinds=frozenset(kind.strip() for kind in kinds[:MOST_KINDS]),
            outcome=outcome if outcome in OUTCOMES else "",
            host=_clean(query.get("host", ""), LONGEST_HOST).lower(),
            path=_clean(query.get("path", ""), LONGEST_PATH),
            actor=_clean(query.get("actor", ""), 80),
            text=_clean(query.get("q", ""), LONGEST_TEXT),
            since=_moment(query.get("since", "")),
            until=_moment(query.get("until", "")),
        )

    @property
    def parts(self) -> dict[str, str]:
        """What from_query would read the same filters from, without what is empty."""
        values = {_NAMES.get(field.name, field.name): getattr(self, field.name) for field in fields(self)}
        return {name: _written(value) for name, value in values.items() if value}

    @property
    def query(self) -> str:
        return urlencode(self.parts)

    def without(self, name: str) -> "Filters":
        """The same without one of the parts, by its name in the address."""
        return Filters.from_query({key: value for key, value in self.parts.items() if key != name})

    def between(self, since: datetime | None, until: datetime | None) -> "Filters":
        return replace(self, since=since, until=until)

    @property
    def phrases(self) -> tuple[str, ...]:
        """The words of `text` as they are looked for; what one space-free piece of it holds stands side by side."""
        return tuple(phrase for piece in self.text.split() if (phrase := words(piece)))

    def matches(self, event: Filterable) -> bool:
        return (
            self.outcome in ("", event.outcome)
            and self.host in ("", event.host)
            and self.matches_kind(event.kind)
            and (not self.path or (event.path or "").startswith(self.path))
            and (not self.actor or self.actor == (event.actor or AGENT))
            and (self.since is None or event.occurred_at >= self.since)
            and (self.until is None or event.occurred_at < self.until)
            and self.matches_text(event.kind, event.body)
        )

    def matches_kind(self, kind: str) -> bool:
        return not self.kinds or any(kind == one or kind.startswith(f"{one}.") for one in self.kinds)

    def matches_text(self, kind: str, body: str) -> bool:
        if not self.text:
            return True
        said = " " + words(f"{kind} {searched(body)}")
        return all(f" {phrase}" in said for phrase in self.phrases)


def searched(body: str) -> str:
    """The text of `data` in a canonical body; it is never parsed for this. Escapes stand between words."""
    return _ESCAPES.sub(" ", body.partition('"data":')[2].rpartition(',"id":"')[0])


def words(text: str) -> str:
    """Letters and digits in lower case, with one space where anything else stands."""
    return _BETWEEN_WORDS.sub(" ", text.lower()).strip()


def _clean(text: str, longest: int) -> str:
    return text.replace("\0", "").strip()[:longest]


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _written(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return ",".join(sorted(value)) if isinstance(value, frozenset) else str(value)
