"""The layout of an evidence file: a ZIP, or the folder that it was unpacked to. Imports no Django.

    README.txt                  how to verify it
    checkpoint                  the signed tree head that every proof leads to
    checkpoint.tsr              an RFC 3161 time-stamp of it, where an authority is configured
    keys.txt                    the log's and the witnesses' verifier keys
    entries/<leaf>.json         an event, byte for byte as the log committed to it
    proofs/<leaf>.tlog-proof    its proof (c2sp.org/tlog-proof)
    unproven/<id>.json          an event that no checkpoint covered yet
    index.csv                   one line for each event
    report.html                 the same for reading
    manifest.json               what was asked for and what is in the file; written last

The manifest is not signed. The log's own `log.exported` event has the SHA-256 of the whole file.
"""

import json
import unicodedata
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from audit.errors import FormatError

VERSION = 1
README, CHECKPOINT, TIMESTAMP, KEYS = "README.txt", "checkpoint", "checkpoint.tsr", "keys.txt"
INDEX, REPORT, MANIFEST = "index.csv", "report.html", "manifest.json"
ENTRIES, PROOFS, UNPROVEN = "entries/", "proofs/", "unproven/"
SESSION, PERSON, PERIOD = "session", "person", "period"
COLUMNS = ("leaf", "time", "kind", "outcome", "who", "host", "path", "id", "stream", "seq", "recorded", "act")
# What a reader's copy may say otherwise than the bytes: names, and what is sealed in them.
READABLE = frozenset({"who", "host", "path"})
# OWASP, CSV Injection: with these a cell begins a formula in some spreadsheet, the full-width ones included.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_UNSEEN = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})


@dataclass(frozen=True)
class Item:
    """One event. `leaf` is None where it has no place in the tree yet; `content` is its parsed body."""

    leaf: int | None
    body: bytes
    content: Mapping[str, Any]

    @property
    def stream(self) -> str:
        return str(self.content["stream"])

    @property
    def seq(self) -> int:
        return int(self.content["seq"])


@dataclass(frozen=True)
class Line:
    """What a reader is told of an event: `who` did `what`; `quote` is somebody else's words, `note` what came of it."""

    who: str
    what: str
    quote: str = ""
    note: str = ""
    host: str = ""
    path: str = ""


@dataclass
class Span:
    """The events of one stream: how many, and the numbers of the first and the last."""

    stream: str
    first_seq: int
    last_seq: int
    events: int = 0


@dataclass
class Manifest:
    """`selection` is what was asked for: `kind` (session, person, period) and `title`, and what else names it.

    `timestamp` says which authority was asked, and its `problem` where it gave none; None where none is configured.
    """

    export: str
    origin: str
    made_at: str
    size: int
    root: str
    selection: Mapping[str, Any]
    timestamp: Mapping[str, str] | None = None
    events: int = 0
    unproven: int = 0
    streams: list[Span] = field(default_factory=list)
    missing: list[Span] = field(default_factory=list)
    sha256: dict[str, str] = field(default_factory=dict)

    def encode(self) -> bytes:
        return json.dumps({"v": VERSION, **asdict(self)}, indent=1, sort_keys=True).encode() + b"\n"

    @classmethod
    def parse(cls, data: bytes) -> "Manifest":
        """Raises FormatError."""
        try:
            found = json.loads(data)
            if found.pop("v") != VERSION:
                raise FormatError(f"not a manifest of version {VERSION}")
            for name in ("streams", "missing"):
                found[name] = [Span(**span) for span in found[name]]
            return cls(**found)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise FormatError(f"{MANIFEST} is not a manifest", str(error)) from error

    @property
    def whole_streams(self) -> bool:
        """Whether every number between a stream's first and last must be there."""
        return self.selection.get("kind") == SESSION

    @property
    def from_first(self) -> bool:
        """Whether the numbers begin at 1."""
        return self.whole_streams and not self.selection.get("since")

    def count(self, item: Item, *, proven: bool) -> None:
        """Items of a stream come together, in their order; what is missing between two of them is noted."""
        self.events += 1
        self.unproven += not proven
        if not self.streams or self.streams[-1].stream != item.stream:
            self.streams.append(Span(item.stream, item.seq, item.seq))
            expected = 1 if self.from_first else item.seq
        else:
            expected = self.streams[-1].last_seq + 1
        if self.whole_streams and item.seq > expected:
            self.missing.append(Span(item.stream, expected, item.seq - 1, item.seq - expected))
        self.streams[-1].last_seq = item.seq
        self.streams[-1].events += 1


def entry_name(leaf: int) -> str:
    return f"{ENTRIES}{leaf}.json"


def proof_name(leaf: int) -> str:
    return f"{PROOFS}{leaf}.tlog-proof"


def unproven_name(item: Item) -> str:
    return f"{UNPROVEN}{uuid.UUID(item.content['id'])}.json"


def visible(text: str) -> str:
    """Somebody else's text on one line, with nothing in it that hides or reorders: such characters become U+FFFD."""
    spaced = text.replace("\r\n", " ").replace("\n", " ")
    return "".join("\ufffd" if unicodedata.category(each) in _UNSEEN else each for each in spaced)


def cell(text: str) -> str:
    """Text for a spreadsheet's cell: on one line, and never a formula."""
    formula = text.lstrip(" \n\xa0\u3000").startswith(_FORMULA)
    shown = visible(text)
    return f"'{shown}" if formula else shown


def index_row(item: Item, line: Line | None = None) -> list[str]:
    """The cells of an event, in the order of COLUMNS. Without `line` those that are READABLE are empty."""
    content = item.content
    told = line or Line("", "")
    cells: Iterable[object] = (
        "" if item.leaf is None else item.leaf,
        content["occurred_at"],
        content["kind"],
        content["outcome"],
        told.who,
        told.host,
        told.path,
        content["id"],
        content["stream"],
        content["seq"],
        content["recorded_at"],
        content["act"]["sub"],
    )
    return [cell(str(each)) for each in cells]


def same_row(found: Sequence[str], item: Item) -> bool:
    """Whether a line of the index says of an event what its bytes say."""
    expected = zip(COLUMNS, index_row(item), strict=True)
    return len(found) == len(COLUMNS) and all(
        name in READABLE or value == given for (name, value), given in zip(expected, found, strict=True)
    )
