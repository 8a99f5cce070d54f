"""Words that several kinds of access use in their sentences."""

from collections.abc import Sequence
from typing import Any

LONGEST_SHOWN = 120


def listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def shown(value: Any) -> str:
    """An untrusted value as printable ASCII, cut short."""
    text = ascii(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."
