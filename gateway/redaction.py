"""Finds the known secrets of a session in streams and texts, in every encoding of gateway/encodings.py.

Two stages: RE2 looks for the first eight bytes of all patterns at once, and only where it finds some the Aho-Corasick
automaton, which is built at the first such find, says what they are. An idle session then costs some tens of KiB.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import ahocorasick
import re2

from gateway.encodings import encodings
from gateway.known_secrets import KnownSecrets

REDACTED = b"[redacted by Drawbridge]"
_ANCHOR = 8
_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Hit:
    """A secret that was seen, and how it was encoded. Where several slots hold one value, the first is named."""

    slot: str
    encoding: str


@dataclass(frozen=True)
class _Pattern:
    text: bytes
    encoding: str
    slots: tuple[str, ...]

    @property
    def hit(self) -> Hit:
        return Hit(self.slots[0], self.encoding)


@dataclass(frozen=True)
class _Match:
    start: int
    end: int
    pattern: _Pattern


class Patterns:
    """What to look for; built once for a session, shared by all its scanners. repr shows only how many."""

    def __init__(self, patterns: list[_Pattern]) -> None:
        self._patterns = sorted(patterns, key=lambda pattern: pattern.text)
        self._texts = [pattern.text for pattern in self._patterns]
        self.longest = max(map(len, self._texts), default=0)
        options = re2.Options()
        options.encoding = re2.Options.Encoding.LATIN1
        options.never_capture = True
        anchors = sorted({text[:_ANCHOR] for text in self._texts})
        self._anchors = re2.compile(b"|".join(map(re.escape, anchors)), options) if anchors else None

    @classmethod
    def of(cls, secrets: KnownSecrets) -> "Patterns":
        """The patterns of all secrets; those under eight bytes are not looked for (known_secrets.SHORTEST)."""
        found: dict[bytes, _Pattern] = {}
        for slot, values in secrets.values.items():
            for value in values:
                for text, encoding in encodings(value).items():
                    known = found.get(text, _Pattern(text, encoding, ()))
                    if slot not in known.slots:
                        found[text] = _Pattern(text, known.encoding, (*known.slots, slot))
        return cls(list(found.values()))

    def __repr__(self) -> str:
        return f"<Patterns: {len(self._texts)}>"

    @cached_property
    def _automaton(self) -> ahocorasick.Automaton:
        automaton = ahocorasick.Automaton()
        for pattern in self._patterns:
            automaton.add_word(pattern.text.decode("latin-1"), pattern)
        automaton.make_automaton()
        return automaton

    def may_be_in(self, data: bytes) -> bool:
        """False where certainly nothing of what is looked for is in it."""
        return self._anchors is not None and self._anchors.search(data) is not None

    def matches(self, data: bytes, bound: frozenset[str] = _NONE) -> Iterator[_Match]:
        """Every match, by its start; none of a secret that one of the slots in `bound` holds."""
        if not self.may_be_in(data):
            return
        found = []
        for last, pattern in self._automaton.iter(data.decode("latin-1")):
            if bound.isdisjoint(pattern.slots):
                found.append(_Match(last + 1 - len(pattern.text), last + 1, pattern))
        yield from sorted(found, key=lambda match: (match.start, -match.end))

    def unfinished(self, data: bytes) -> int:
        """Where the longest end of `data` starts that is the beginning of a pattern; its length if there is none."""
        at = max(0, len(data) - self.longest + 1)
        while self._anchors is not None and (anchor := self._anchors.search(data, at)):
            if self._begins(data[anchor.start() :]):
                return int(anchor.start())
            at = anchor.start() + 1
        ends = range(max(at, len(data) - _ANCHOR + 1), len(data))
        return next((start for start in ends if self._begins(data[start:])), len(data))

    def _begins(self, text: bytes) -> bool:
        """Whether some pattern is longer than this and starts with it."""
        at = bisect_left(self._texts, text)
        if at < len(self._texts) and self._texts[at] == text:
            at += 1
        return at < len(self._texts) and self._texts[at].startswith(text)


class Scanner:
    """Cleans one stream. What it gives back does not depend on how the stream was cut into chunks.

    `same_length` puts as many `*` in a secret's place as it had bytes, so that a Content-Length stays true; else the
    place is taken by REDACTED. `bound` names the slots whose secrets may pass. `hits` grows in the order of the stream.
    """

    def __init__(self, patterns: Patterns, *, same_length: bool = True, bound: frozenset[str] = _NONE) -> None:
        self.hits: list[Hit] = []
        self._patterns, self._same_length, self._bound = patterns, same_length, bound
        self._held = b""
        # How many of the held bytes belong to a match that started before them.
        self._covered = 0

    def feed(self, chunk: bytes) -> bytes:
        """The cleaned bytes that may go on; only what may be the beginning of a secret is held back."""
        data = self._held + chunk if self._held else chunk
        return self._release(data, self._patterns.unfinished(data))

    def finish(self) -> bytes:
        """The rest, at the end of the stream."""
        return self._release(self._held, len(self._held))

    def _release(self, data: bytes, until: int) -> bytes:
        """Clean data[:until]. A match counts, and its replacement is written, with its first byte."""
        parts: list[bytes] = []
        covered = self._covered
        parts.append(self._cover(min(covered, until)))
        for match in self._patterns.matches(data, self._bound):
            if match.start >= until:
                break
            self.hits.append(match.pattern.hit)
            if match.start >= covered:
                parts.append(data[covered : match.start])
                parts.append(b"" if self._same_length else REDACTED)
                covered = match.start
            parts.append(self._cover(min(match.end, until) - min(covered, until)))
            covered = max(covered, match.end)
        parts.append(data[covered:until])
        self._held, self._covered = data[until:], max(0, covered - until)
        return b"".join(parts)

    def _cover(self, count: int) -> bytes:
        return b"*" * max(0, count) if self._same_length else b""


def scan_text(patterns: Patterns, text: str | bytes, bound: frozenset[str] = _NONE) -> list[Hit]:
    """The secrets in a request line, a header's value or another short text."""
    data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    return [match.pattern.hit for match in patterns.matches(data, bound)]


def clean_text(patterns: Patterns, text: str) -> str:
    """The text as it may be logged: every secret in it, bound or not, replaced by REDACTED."""
    data = text.encode("utf-8", "surrogateescape")
    if not patterns.may_be_in(data):
        return data.decode("utf-8", "replace")
    scanner = Scanner(patterns, same_length=False)
    clean = scanner.feed(data) + scanner.finish()
    return clean.decode("utf-8", "replace")
