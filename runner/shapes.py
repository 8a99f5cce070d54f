"""What the API sends and takes, as typed values. Secrets never show in their repr."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from runner.uuid7 import uuid7

# What one batch of events may have.
MOST_AT_ONCE, MOST_BYTES = 1_000, 4 * 1024 * 1024
ENDED_STATES = frozenset({"ended", "denied", "withdrawn", "lapsed"})


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def moment_or_none(text: str | None) -> datetime | None:
    return moment(text) if text else None


@dataclass(frozen=True)
class Me:
    """The agent whose key this is, and the slugs of the profiles that it may ask for."""

    name: str
    team: str
    owner: str
    profiles: Sequence[str]

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> "Me":
        return cls(raw["name"], raw["team"], raw["owner"], [one["slug"] for one in raw["profiles"]])


@dataclass(frozen=True)
class Asked:
    """A request that waits for a decision at `link`."""

    session_id: str
    device_code: str = field(repr=False)
    user_code: str
    link: str
    expires_in_s: int
    interval_s: int
    grant_hash: str

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> "Asked":
        return cls(
            session_id=raw["session_id"],
            device_code=raw["device_code"],
            user_code=raw["user_code"],
            link=raw["verification_uri_complete"],
            expires_in_s=raw["expires_in"],
            interval_s=raw["interval"],
            grant_hash=raw["grant_hash"],
        )


@dataclass(frozen=True)
class Granted:
    """An approved session, and the token that stands for it."""

    session_id: str
    token: str = field(repr=False)
    expires_in_s: int
    grant_hash: str

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> "Granted":
        return cls(raw["session_id"], raw["access_token"], raw["expires_in"], raw["grant_hash"])


@dataclass(frozen=True)
class CredentialFacts:
    id: str
    slot: str
    generation: int
    state: str
    delivered: bool
    handed_over: bool = True

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> "CredentialFacts":
        handed_over = raw.get("handed_over", True)
        return cls(raw["id"], raw["slot"], raw["generation"], raw["state"], raw["delivered"], handed_over)


@dataclass(frozen=True)
class Status:
    """How a session stands. `gateways` are the addresses at which they listen; `sandbox` what its profile demands."""

    session_id: str
    state: str
    end_reason: str
    killed: bool
    purpose: str
    ends_at: datetime | None
    credentials: Sequence[CredentialFacts]
    gateways: Sequence[str] = ()
    sandbox: str = ""

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> "Status":
        return cls(
            session_id=raw["session_id"],
            state=raw["state"],
            end_reason=raw["end_reason"],
            killed=raw["killed"],
            purpose=raw["purpose"],
            ends_at=moment_or_none(raw["ends_at"]),
            credentials=[CredentialFacts.read(one) for one in raw["credentials"]],
            gateways=[one["address"] for one in raw.get("gateways", ()) if one["address"]],
            sandbox=raw.get("sandbox", ""),
        )

    @property
    def over(self) -> bool:
        return self.state in ENDED_STATES

    @property
    def how(self) -> str:
        """The state in a word: for an ended session, how it ended."""
        return self.end_reason or self.state


@dataclass(frozen=True)
class Credential:
    """A credential with its secret, whose fields depend on `type`."""

    id: str
    slot: str
    generation: int
    type: str
    expires_at: datetime
    secret: Mapping[str, Any] = field(repr=False)

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> "Credential":
        facts = {"id", "slot", "generation", "type", "expires_at", "renew_after"}
        return cls(
            id=raw["id"],
            slot=raw["slot"],
            generation=raw["generation"],
            type=raw["type"],
            expires_at=moment(raw["expires_at"]),
            secret={name: value for name, value in raw.items() if name not in facts},
        )


@dataclass(frozen=True)
class More:
    """What a session asked for in its middle, and how that stands: requested, approved, denied or lapsed."""

    number: int
    state: str
    link: str
    ends_at: datetime | None
    denial: str

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> "More":
        ends_at = datetime.fromisoformat(raw["ends_at"]) if raw["ends_at"] else None
        return cls(raw["number"], raw["state"], raw["verification_uri"], ends_at, raw["denial"])


@dataclass(frozen=True)
class Event:
    """One thing that happened here, with an id of its own so that it counts once however often it is sent."""

    kind: str
    data: Mapping[str, Any]
    outcome: str = "success"
    occurred_at: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
    id: str = field(default_factory=lambda: str(uuid7()))

    def content(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "kind": self.kind,
            "occurred_at": self.occurred_at,
            "outcome": self.outcome,
            "data": dict(self.data),
        }

    def line(self) -> bytes:
        """One line of NDJSON, without its end. What is no text (a name in another encoding) becomes "?"."""
        return json.dumps(self.content(), separators=(",", ":"), ensure_ascii=False).encode(errors="replace")

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> "Event":
        return cls(raw["kind"], raw["data"], raw["outcome"], raw["occurred_at"], raw["id"])


@dataclass(frozen=True)
class Receipt:
    """What became of an event: stored, known (from an earlier sending) or rejected, and why."""

    id: str | None
    answer: str
    why: str | None

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> "Receipt":
        return cls(raw["id"], raw["answer"], raw["why"])
