"""Evidence files of a small log in memory, and what somebody may do to them afterwards."""

import io
import json
import uuid
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from audit.checkpoint import Checkpoint, sign
from audit.evidence import Item, Line, Manifest
from audit.evidence_zip import Around, EvidenceZip, Signed
from audit.merkle import leaf_hash
from audit.note import SigningKey
from audit.tiles import Edge
from audit.verify import Policy

ORIGIN = "drawbridge.test/log"
SESSION = uuid.UUID("01930000-0000-7000-8000-00000000000a")
OTHER = uuid.UUID("01930000-0000-7000-8000-00000000000b")
BEGAN = datetime(2026, 11, 25, 12, tzinfo=UTC)
Files = dict[str, bytes]


def body(seq: int, stream: uuid.UUID = SESSION, **changes: Any) -> bytes:
    moment = (BEGAN + timedelta(seconds=seq)).isoformat(timespec="microseconds").replace("+00:00", "Z")
    content = {
        "v": 1,
        "id": str(uuid.UUID(int=stream.int + seq * 256)),
        "stream": str(stream),
        "seq": seq,
        "kind": "tool.result",
        "outcome": "success",
        "occurred_at": moment,
        "recorded_at": moment,
        "sub": "person:p",
        "act": {"sub": "agent:a"},
        "agent": "agent:a",
        "session": str(stream),
        "data": {"tool": "Read"},
        **changes,
    }
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


@dataclass
class Log:
    """Bodies, signed for by one key."""

    bodies: Sequence[bytes]
    key: SigningKey = field(default_factory=lambda: SigningKey.generate(ORIGIN))

    @property
    def policy(self) -> Policy:
        return Policy(ORIGIN, (self.key.verifier,))

    def signed(self) -> Signed:
        edge, tiles = Edge().grown([leaf_hash(body) for body in self.bodies])
        files = {tile.path: data for tile, data in tiles.items()}
        tree = Checkpoint(ORIGIN, edge.size, edge.root())
        return Signed.of(sign(tree, [self.key]), tree, files.__getitem__)

    def items(self) -> list[Item]:
        return [Item(leaf, body, json.loads(body)) for leaf, body in enumerate(self.bodies)]


def told(items: Sequence[Item]) -> list[Line]:
    return [Line("somebody", "did something", path=str(item.content["data"].get("path", ""))) for item in items]


def manifest(signed: Signed, **changes: Any) -> Manifest:
    facts: dict[str, Any] = {
        "export": str(uuid.UUID(int=1)),
        "origin": ORIGIN,
        "made_at": "2026-11-25T12:00:00Z",
        "size": signed.tree.size,
        "root": signed.tree.root.hex(),
        "selection": {"kind": "session", "title": "A session", "session": str(SESSION), "since": None, "until": None},
    }
    return Manifest(**{**facts, **changes})


def write(
    path: Path,
    log: Log,
    items: Sequence[Item] | None = None,
    narrate: Callable[[Sequence[Item]], Sequence[Line]] = told,
    timestamp: bytes | None = None,
    timestamp_said: Mapping[str, str] | None = None,
    **changes: Any,
) -> Manifest:
    """An evidence file of all items of a log, or of those given."""
    signed = log.signed()
    made = EvidenceZip(
        manifest(signed, timestamp=timestamp_said, **changes),
        signed,
        Around(timestamp, ["log key"]),
        narrate,
        path.parent,
    )
    pages = [log.items() if items is None else list(items)]
    path.write_bytes(b"".join(made.chunks(pages)))
    return made.manifest


def read(path: Path) -> Files:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewrite(path: Path, files: Mapping[str, bytes]) -> None:
    """The ZIP anew, with these files in it."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    path.write_bytes(made.getvalue())


def unpack(path: Path, folder: Path) -> Path:
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    return folder
