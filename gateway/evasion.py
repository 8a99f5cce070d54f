"""Whether an attempt tries to get round a denial: the same host by another door, another spelling, another name."""

from collections import OrderedDict
from dataclasses import dataclass

from gateway.policy import Code

MOST_REMEMBERED = 512
# Denials whose form alone hides where it goes.
DISGUISES = frozenset({Code.NAMES_DISAGREE, Code.HIDDEN_NAME, Code.NO_NAME, Code.BAD_NAME})


@dataclass(frozen=True)
class Attempt:
    """One denied attempt. `door` is how it came (connect, absolute, socks, dns, inside); `other` the second name, where
    two disagreed.
    """

    host: str
    port: int
    door: str
    code: Code
    other: str = ""
    literal: bool = False


class Memory:
    """What was denied to one session, and by which doors it was tried. Old hosts are forgotten first."""

    def __init__(self) -> None:
        self._denied: OrderedDict[str, set[tuple[str, int]]] = OrderedDict()
        self.evasions = 0

    def note(self, attempt: Attempt) -> bool:
        """Remember it. True if it goes round an earlier denial; the same request again is only stubborn."""
        doors = self._denied.get(attempt.host)
        way = (attempt.door, attempt.port)
        another_door = doors is not None and way not in doors
        another_name = bool(attempt.other) and attempt.other in self._denied
        disguised = bool(self._denied) and (attempt.literal or attempt.code in DISGUISES)
        self._denied.setdefault(attempt.host, set()).add(way)
        self._denied.move_to_end(attempt.host)
        while len(self._denied) > MOST_REMEMBERED:
            self._denied.popitem(last=False)
        evades = another_door or another_name or disguised
        self.evasions += evades
        return evades
