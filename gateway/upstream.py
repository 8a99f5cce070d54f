"""Connections to far ends, kept for the next request of the same session to the same place."""

import time
from collections.abc import Collection
from dataclasses import dataclass

from gateway.addresses import Address
from gateway.wire import Stream

IDLE_S, MOST_IDLE = 30.0, 64

Place = tuple[str, str, int]


@dataclass(frozen=True)
class Upstream:
    wire: Stream
    address: Address
    used: bool = False


class Pool:
    """The idle connections of one session: never another's, which may have signed in on them."""

    def __init__(self) -> None:
        self._idle: dict[Place, list[tuple[float, Upstream]]] = {}

    def take(self, place: Place, allowed: Collection[Address]) -> Upstream | None:
        """One whose address is still among those that were checked just now."""
        idle = self._idle.get(place, [])
        while idle:
            since, upstream = idle.pop()
            if upstream.wire.quiet and upstream.address in allowed and time.monotonic() - since < IDLE_S:
                return upstream
            upstream.wire.abort()
        self._idle.pop(place, None)
        return None

    def give(self, place: Place, upstream: Upstream) -> None:
        if not upstream.wire.quiet or sum(map(len, self._idle.values())) >= MOST_IDLE:
            upstream.wire.close()
            return
        kept = Upstream(upstream.wire, upstream.address, used=True)
        self._idle.setdefault(place, []).append((time.monotonic(), kept))

    def sweep(self) -> None:
        """Let go of what nobody wanted for a while."""
        oldest = time.monotonic() - IDLE_S
        for place, idle in list(self._idle.items()):
            for _, upstream in (one for one in idle if one[0] < oldest or not one[1].wire.quiet):
                upstream.wire.close()
            self._idle[place] = [one for one in idle if one[0] >= oldest and one[1].wire.quiet]
            if not self._idle[place]:
                del self._idle[place]

    def abort(self) -> None:
        for idle in self._idle.values():
            for _, upstream in idle:
                upstream.wire.abort()
        self._idle.clear()
