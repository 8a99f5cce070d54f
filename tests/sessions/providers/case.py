"""One provider in the battery."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sessions.providers.contract import Details, Provider
from tests.sessions.providers import faulty

TIMEOUT_S = 0.7
Secret = Mapping[str, Any]


@dataclass
class Case:
    """`inside` and `outside` try the secret, within what was approved and beyond it: whether the far end allowed it.

    `alive` are the credentials that the far end itself still has, of those with this name where it knows names.
    `by_name`: one that was lost is found again. `takes_back`: a kill ends it; else it dies by itself alone.
    `past` are steps that do not go through the proxy: they end it whatever the far end behind that one does.
    `attempts`: how often the client itself asks before it gives up.
    """

    name: str
    provider: Provider
    far: faulty.Faulty
    details: list[Details]
    inside: Callable[[Secret], bool]
    outside: Callable[[Secret], bool]
    alive: Callable[[str], int]
    by_name: bool = True
    takes_back: bool = True
    past: frozenset[str] = frozenset()
    attempts: int = 1
    labels: dict[str, str] = field(default_factory=lambda: {"agent_session": str(uuid.uuid4())})
