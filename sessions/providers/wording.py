"""Words that several kinds of access use in their sentences."""

import hashlib
from collections.abc import Sequence
from typing import Any

LONGEST_SHOWN = 120
# A slot has 64 characters at most. Of a longer one the head is kept, and a hash of the whole after a colon.
LONGEST_SLOT, HASH_LENGTH = 64, 16


def listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def shown(value: Any) -> str:
    """An untrusted value as printable ASCII, cut short."""
    text = ascii(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def slot_of(location: str) -> str:
    """A location as a slot. Two locations never have the same."""
    if len(location) <= LONGEST_SLOT:
        return location
    digest = hashlib.sha256(location.encode()).hexdigest()[:HASH_LENGTH]
    return f"{location[: LONGEST_SLOT - HASH_LENGTH - 1]}:{digest}"
