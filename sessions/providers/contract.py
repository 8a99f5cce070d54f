"""What a provider is.

CredentialError
    CredentialError(permanent=True)   trying again cannot help: the session does not start
    CredentialError(permanent=False)  try again later
    CredentialError(untouched=True)   nothing was minted, so the same intent may be tried again
    CredentialError(silent=True)      the far end did not answer at all: its other steps can wait for the next try
    CredentialError(retry_after_s=9)  the far end said when it can be asked again: nobody asks before
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

# A far end that says to wait for longer is asked all the same: what has to die may not wait for a number in a header.
LONGEST_WAIT_S = 300.0
Details = Mapping[str, Any]
Json = Mapping[str, Any]


class CredentialError(Exception):
    """A provider could not do what it was asked. `permanent` is the whole retry policy."""

    def __init__(
        self,
        message: str,
        *,
        permanent: bool = False,
        untouched: bool = False,
        silent: bool = False,
        retry_after_s: float = 0,
    ) -> None:
        super().__init__(message)
        self.retry_after_s = min(retry_after_s, LONGEST_WAIT_S)
        self.permanent = permanent
        self.untouched = untouched
        self.silent = silent


@dataclass(frozen=True)
class Intent:
    """What is to be minted. `name` is unique to it; whatever is made upstream is made under that name."""

    name: str
    details: Sequence[Details]
    ttl_s: int
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Minted:
    """A credential as the provider gave it. `secret` is delivered to the agent and never logged."""

    secret: Mapping[str, Any] = field(repr=False)
    handle: Mapping[str, Any]
    expires_at: datetime


@dataclass(frozen=True)
class Held:
    """What we hold of a credential that must die: the handle, and the secret where we still have it."""

    name: str
    details: Sequence[Details]
    handle: Mapping[str, Any]
    secret: Mapping[str, Any] | None = field(repr=False)


@dataclass(frozen=True)
class Outcome:
    """The answer to one step. `done` means: revoked (revoke), refused (proof), cleaned (tidy)."""

    done: bool
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One step of a revocation; no two steps of a credential have the same name.

    `run` is idempotent; it raises CredentialError when the far end cannot be asked. Whatever that says of permanence,
    the step is tried again until the credential has died by itself. `system` is the far end that it needs: the steps
    that need the same one as the first step are taken before all others, and never wait for another far end.
    """

    name: str
    kind: str
    label: str
    run: Callable[[], Outcome]
    system: str


@dataclass(frozen=True)
class Life:
    """How long a credential can live, how a kill ends it ("at once"), and what becomes of it if nobody is there to.

    None for `longest_s`: it does not die by itself.
    """

    shortest_s: int
    longest_s: int | None
    dies: str
    left: str


@runtime_checkable
class Aging(Protocol):
    """A Provider of what was there before the session."""

    def since(self, details: Sequence[Details]) -> datetime:
        """From when the version is that a session would get. CredentialError where the far end does not say."""
        ...


class Provider(Protocol):
    """A system that mints and revokes.

    `mint` calls `record` with a handle as soon as there is one, before it makes anything that needs it; what `mint`
    made when it raised is found again by `steps` from the name alone. `steps` are given in the order in which they
    cut soonest; each is tried whatever became of those before it; one that was done once is never asked for again.
    """

    kind: str

    def slots(self, details: Sequence[Details]) -> Mapping[str, Sequence[Details]]:
        """Group the objects of this type by the credential that serves them."""
        ...

    def problems(self, details: Details) -> Iterator[str]:
        """What is wrong with one authorization_details object, in sentences for the one who wrote it."""
        ...

    def sentences(self, details: Details) -> Iterator[str]:
        """What one object allows, in plain words for the one who decides."""
        ...

    def life(self, details: Sequence[Details]) -> Life:
        """Of the credential that serves these objects: for the one who decides."""
        ...

    def mint(self, intent: Intent, record: Callable[[Mapping[str, Any]], None]) -> Minted: ...

    def steps(self, held: Held) -> Sequence[Step]: ...
