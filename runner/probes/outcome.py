"""What became of a probe."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

HELD, CROSSED, SKIPPED, INVALID = "held", "crossed", "skipped", "invalid"


@dataclass(frozen=True)
class Outcome:
    """`outcome` is HELD only where `control` is CROSSED: where the same succeeds without a boundary. INVALID: it did
    not, and then nothing is known. `saw` is what was seen, `why` what follows from it.
    """

    id: str
    title: str
    tries: str
    source: str
    outcome: str
    control: str = SKIPPED
    saw: str = ""
    why: str = ""

    def content(self) -> dict[str, str]:
        return asdict(self)

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> "Outcome":
        return cls(**raw)
