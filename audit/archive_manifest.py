"""The format of an archive: where a segment's files lie, and the manifest that says it is archived. No Django.

    segment/<first>-<end>/checkpoint, tile/...    all that `python -m audit.verify` needs for entries [first, end)
    manifest/<first>-<end>.json                   written last

`first` and `end` have 12 digits or more; `end` is the entry after the segment's last.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from audit import canonical
from audit.checkpoint import Checkpoint
from audit.errors import FormatError
from audit.tile_store import checked

VERSION = 1
MANIFESTS = "manifest/"
SEGMENTS = "segment/"

_SPAN = re.compile(r"(?P<first>[0-9]{12,})-(?P<end>[0-9]{12,})")
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FIELDS = {"v", "first", "end", "origin", "size", "root", "archived_at", "retain_until", "files"}


@dataclass(frozen=True, order=True)
class Span:
    """Entries [first, end)."""

    first: int
    end: int

    @classmethod
    def parse(cls, text: str) -> "Span":
        match = _SPAN.fullmatch(text)
        span = cls(int(match["first"]), int(match["end"])) if match else None
        if span is None or str(span) != text or span.first >= span.end:
            raise FormatError("not the span of a segment", text)
        return span

    @classmethod
    def of_manifest(cls, name: str) -> "Span":
        return cls._named(name, MANIFESTS, ".json")

    @classmethod
    def of_folder(cls, name: str) -> "Span":
        return cls._named(name, SEGMENTS, "/")

    @classmethod
    def _named(cls, name: str, start: str, end: str) -> "Span":
        """Raises FormatError."""
        if not (name.startswith(start) and name.endswith(end)):
            raise FormatError("not a name in an archive", name)
        return cls.parse(name.removeprefix(start).removesuffix(end))

    @staticmethod
    def prefix(first: int) -> str:
        """How the folders begin of segments that begin so."""
        return f"{SEGMENTS}{first:012}-"

    def __str__(self) -> str:
        return f"{self.first:012}-{self.end:012}"

    @property
    def folder(self) -> str:
        return f"{SEGMENTS}{self}/"

    @property
    def manifest(self) -> str:
        return f"{MANIFESTS}{self}.json"

    @property
    def words(self) -> str:
        return f"entries {self.first:,} to {self.end - 1:,}"


@dataclass(frozen=True)
class File:
    """`sha256` in hex, `length` in bytes."""

    sha256: str
    length: int

    @classmethod
    def of(cls, data: bytes) -> "File":
        return cls(canonical.sha256(data), len(data))


@dataclass(frozen=True)
class Manifest:
    """What was archived of a log: `tree` is the checkpoint that all of it leads to; `files` by name in the folder."""

    span: Span
    tree: Checkpoint
    archived_at: datetime
    retain_until: datetime
    files: Mapping[str, File]

    def encode(self) -> bytes:
        return canonical.dumps(
            {
                "v": VERSION,
                "first": self.span.first,
                "end": self.span.end,
                "origin": self.tree.origin,
                "size": self.tree.size,
                "root": self.tree.root.hex(),
                "archived_at": _text(self.archived_at),
                "retain_until": _text(self.retain_until),
                "files": {name: {"sha256": it.sha256, "length": it.length} for name, it in self.files.items()},
            }
        )

    @classmethod
    def parse(cls, data: bytes) -> "Manifest":
        """Exactly what `encode` writes, and nothing else. Raises FormatError."""
        try:
            manifest = cls._read(canonical.loads(data))
            same = manifest.encode() == data
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FormatError(f"not a manifest: {error}") from error
        if not same:
            raise FormatError("not a manifest, or not in canonical JSON", data)
        return manifest

    @classmethod
    def _read(cls, content: Any) -> "Manifest":
        if content["v"] != VERSION or set(content) != _FIELDS:
            raise FormatError("a manifest of another version, or with other fields", sorted(content))
        files = {checked(name): _file(it) for name, it in content["files"].items()}
        tree = Checkpoint(content["origin"], content["size"], bytes.fromhex(content["root"]))
        tree.body()  # raises FormatError for what no checkpoint says
        span = Span.parse(str(Span(content["first"], content["end"])))
        return cls(span, tree, _moment(content["archived_at"]), _moment(content["retain_until"]), files)


def _file(content: Mapping[str, Any]) -> File:
    file = File(content["sha256"], content["length"])
    if not _SHA256.fullmatch(file.sha256) or type(file.length) is not int or file.length < 0:
        raise FormatError("not a file's hash and length", content)
    return file


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _moment(text: str) -> datetime:
    if not _MOMENT.fullmatch(text):
        raise FormatError("not a moment", text)
    return datetime.fromisoformat(text)
