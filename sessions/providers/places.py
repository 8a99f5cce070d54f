"""Places in OpenBao that grants can reach, as settings.OPENBAO_PLACES describes them by the name that grants use."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sessions.providers.contract import CredentialError
from sessions.providers.openbao_api import rule
from sessions.providers.wording import listed

LONGEST_LIFE_S = 86_400
# Engines in which nothing can be asked for that is not named, and those in which it is named whole.
NAMED = frozenset({"ssh", "pki", "kubernetes"})
WHOLE = NAMED | {"transit"}


@dataclass(frozen=True)
class Place:
    """A mount of an engine, and for what stands behind it where it is, and whose word proves that it is it.

    `allowed` are the only things that may be named there: users (ssh), names (pki), namespaces (kubernetes), keys
    (transit), or beginnings of paths (kv), of tables (mysql) and of keys (valkey). Where it is empty everything may be,
    but in ssh, pki and kubernetes nothing.
    """

    engine: str
    mount: str
    host: str = ""
    port: int = 0
    connection: str = ""
    allowed: Sequence[str] = ()
    ca_file: str = ""

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> "Place":
        return cls(**{str(name): value for name, value in entry.items()})

    def permits(self, what: str) -> bool:
        if not self.allowed:
            return self.engine not in NAMED
        if self.engine in WHOLE:
            return what in self.allowed
        return any(what.startswith(each) for each in self.allowed)


Places = Mapping[str, Place]


def unknown(name: str, engine: str, places: Places) -> str:
    """Why there is no such place; empty where there is one."""
    if name in places and places[name].engine == engine:
        return ""
    known = sorted(each for each, place in places.items() if place.engine == engine)
    return f"There is no {engine} place {name!r} here; there is {listed(known) if known else 'none'}."


def place(name: str, places: Places) -> Place:
    """Raises CredentialError for one that was taken out of the settings."""
    if name not in places:
        raise CredentialError(f"{name} is not in OPENBAO_PLACES any more, so its credentials cannot be ended there.")
    return places[name]


def demand_sound(problems: Sequence[str]) -> None:
    """Raises CredentialError(permanent=True, untouched=True) with the first of them."""
    for problem in problems:
        raise CredentialError(problem, permanent=True, untouched=True)


def policy(places: Places) -> Iterator[str]:
    """What the control plane's own OpenBao policy needs beside drawbridge-control for these places, in HCL."""
    asking = {"mysql": "creds", "valkey": "creds", "ssh": "sign", "pki": "issue", "kubernetes": "creds"}
    for mount, path in sorted({(each.mount, asking[each.engine]) for each in places.values() if each.engine in asking}):
        yield rule(f"{mount}/roles/dbr_*", "create", "update", "read", "delete")
        yield rule(f"sys/leases/lookup/{mount}/{path}/dbr_*", "list", "sudo")
    for mount in sorted({each.mount for each in places.values() if each.engine == "pki"}):
        yield rule(f"{mount}/cert/*", "read")
