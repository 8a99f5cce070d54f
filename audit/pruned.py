"""What a log's own entries say of its pruning: below which entry bundles may be missing. Imports no Django.

C2SP tlog-tiles calls it the minimum index. It has no place in a checkpoint; so whoever prunes says it in an entry of
kind log.pruned, above what was pruned, and it is believed only from an entry that the signed root covers.
"""

import json
from collections.abc import Iterable

from audit.tiles import decode_bundle

KIND = "log.pruned"
STREAM = "00000000-0000-7000-8000-000000000109"
_MARK = b'"kind":"log.pruned"'


class Gaps:
    """The bundles that a verifier did not find, and the minimum index that the entries it verified speak of."""

    def __init__(self) -> None:
        self.minimum = 0
        self.said_by: int | None = None
        self.missing: list[range] = []

    @property
    def entries(self) -> int:
        return sum(map(len, self.missing))

    def missed(self, entries: range) -> None:
        self.missing.append(entries)

    def read(self, first: int, bundle: bytes) -> None:
        """A bundle whose entries were held against their tile; `first` is the index of its first entry."""
        if _MARK in bundle:
            self._read(first, decode_bundle(bundle))

    def _read(self, first: int, entries: Iterable[bytes]) -> None:
        for index, entry in enumerate(entries, first):
            minimum = minimum_of(entry)
            if minimum is not None and self.minimum < minimum <= index:
                self.minimum, self.said_by = minimum, index

    def unsaid(self) -> range | None:
        """The first missing entries that no entry says were pruned."""
        return next((entries for entries in self.missing if entries.stop > self.minimum), None)


def minimum_of(entry: bytes) -> int | None:
    """The minimum index that an entry sets, if it is one of kind log.pruned in the stream of the log itself."""
    if _MARK not in entry:
        return None
    try:
        content = json.loads(entry)
        minimum = content["data"]["minimum"]
    except (ValueError, KeyError, TypeError):
        return None
    if (content.get("kind"), content.get("stream")) != (KIND, STREAM) or type(minimum) is not int:
        return None
    return minimum
