"""Makes the evidence file of an Export row: waits for a checkpoint, reads, proves, writes, and says so in the log."""

import hashlib
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog
from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings

from audit import evidence_source, personal
from audit.cosignature import WitnessKey
from audit.errors import LogError, UnreachableError
from audit.event import now, timestamp
from audit.evidence import PERSON, Item, Line, Manifest
from audit.evidence_source import Bounds, Selection
from audit.evidence_zip import Around, EvidenceZip, Signed
from audit.note import VerifierKey
from audit.proofs import Prover
from audit.stores import tile_store
from audit.timeline import Entry
from audit.timestamping import request_timestamp
from sessions import exports, narration
from sessions.exports import Asked, Claim, Overtaken

logger = structlog.get_logger()

# A checkpoint covers what is committed within a second or two, where the integrator runs.
PATIENCE_S = 20.0
PAUSE_S = 0.5
SAY_EVERY_S = 0.5
# What a ZIP's directory needs of so many events is 300 MB of this worker's memory.
MOST_EVENTS = 250_000


class TooManyError(LogError):
    def __init__(self) -> None:
        super().__init__(f"it would hold more than {MOST_EVENTS:,} events. Ask for a shorter period, and for the rest")


def run(export_id: uuid.UUID, patience_s: float = PATIENCE_S) -> None:
    """Make the file, if nobody else is at it. What fails is said on its page and in the log."""
    claim = Claim.take(export_id)
    if claim is None:
        return
    try:
        _make(claim, patience_s)
    except Overtaken as error:
        logger.warning("export_overtaken", error=str(error))
    except (LogError, OSError, BotoCoreError, ClientError) as error:
        claim.failed(str(error)[:500])
    except Exception:  # whatever it is, the page must not wait for ever; it is raised again
        claim.failed("an error that Drawbridge does not know; its operator finds it in the worker's log")
        raise


def _make(claim: Claim, patience_s: float) -> None:
    asked = Asked.of(claim.export.selection)
    person = f"person:{asked.about}" if asked.kind == PERSON else None
    selection = Selection(exports.streams_of(asked), person, asked.since, asked.until)
    within = evidence_source.bounds(selection)
    claim.touch(total=within.total)
    prover = _covering(within, claim, patience_s)
    if prover.tree is None:
        raise UnreachableError("the log has no checkpoint yet. Its integrator must run before anything can be proven")
    store = tile_store(settings.LOG_STORE)
    stamp, stamped = _stamp(prover.checkpoint)
    manifest = Manifest(
        export=str(claim.export.id),
        origin=prover.tree.origin,
        made_at=timestamp(now()),
        size=prover.tree.size,
        root=prover.tree.root.hex(),
        selection={"title": asked.title, **claim.export.selection},
        timestamp=stamped,
    )
    folder = _folder()
    signed = Signed.of(prover.checkpoint, prover.tree, store.read)
    made = EvidenceZip(manifest, signed, Around(stamp, key_lines()), narrate, folder)
    _write(claim, made, _counted(claim, selection, within))


def _covering(within: Bounds, claim: Claim, patience_s: float) -> Prover:
    """The newest checkpoint, once it covers what was committed when the export began, or the time is over."""
    ends = time.monotonic() + patience_s
    while True:
        prover = Prover()
        size = prover.tree.size if prover.tree else 0
        if not evidence_source.unsigned(within, size) or time.monotonic() > ends:
            return prover
        claim.touch()
        time.sleep(PAUSE_S)


def _stamp(checkpoint: bytes) -> tuple[bytes | None, dict[str, str] | None]:
    """The authority's answer, and what the file says of it. An authority that fails never stops an export."""
    url = settings.TIMESTAMP_URL
    if not url:
        return None, None
    try:
        return request_timestamp(checkpoint, url), {"authority": url}
    except LogError as error:
        logger.warning("timestamp_failed", error=str(error))
        return None, {"authority": url, "problem": str(error)}


def key_lines() -> list[str]:
    """The keys with their fingerprints: SHA-256 of the 32 bytes of each public key."""
    log_keys = [VerifierKey.parse(line) for line in settings.LOG_VERIFIER_KEYS]
    witnesses = [WitnessKey.parse(one["key"]) for one in settings.LOG_WITNESSES]
    named = [("log", key) for key in log_keys] + [("witness", key) for key in witnesses]
    return [f"{who} {key} sha256:{hashlib.sha256(key.public).hexdigest()}" for who, key in named]


def _counted(claim: Claim, selection: Selection, within: Bounds) -> Iterator[Sequence[Item]]:
    """The pages, each after its progress was said. Raises TooManyError, Overtaken."""
    said_at, events = time.monotonic(), 0
    for found in evidence_source.read(selection, within):
        events += len(found.items)
        if events > MOST_EVENTS:
            raise TooManyError
        yield found.items
        if time.monotonic() - said_at > SAY_EVERY_S:
            claim.touch(done=found.looked, events=events)
            said_at = time.monotonic()


def _folder() -> Path:
    folder = Path(settings.EXPORT_FOLDER)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _write(claim: Claim, made: EvidenceZip, pages: Iterator[Sequence[Item]]) -> None:
    path = exports.file_of(claim.export)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}-{time.monotonic_ns()}")
    digest, size = hashlib.sha256(), 0
    try:
        with unfinished.open("xb") as file:
            for chunk in made.chunks(pages):
                digest.update(chunk)
                size += file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    manifest = made.manifest
    facts = {"events": manifest.events, "unproven": manifest.unproven, "sha256": digest.hexdigest()}
    tree = {"checkpoint": manifest.size, "root": manifest.root}
    claim.ready({**facts, **tree, "bytes": size}, **facts, size=size, done=claim.export.total)


def narrate(items: Sequence[Item]) -> list[Line]:
    """What a reader is told of each event, with personal fields readable where their key lives."""
    contents = personal.reveal([dict(item.content) for item in items])
    entries = [_entry(item, content) for item, content in zip(items, contents, strict=True)]
    names = narration.names_of(entry.act for entry in entries)
    lines = []
    for entry in entries:
        told = narration.tell(entry, names)
        lines.append(Line(told.actor, told.text, told.quote, told.note, entry.host or "", entry.path or ""))
    return lines


def _entry(item: Item, content: Mapping[str, Any]) -> Entry:
    """The event as pages know it."""
    data = content["data"]
    host, path = (value if isinstance(value := data.get(name), str) else None for name in ("host", "path"))
    return Entry(
        id=uuid.UUID(content["id"]),
        stream=uuid.UUID(item.stream),
        seq=item.seq,
        kind=content["kind"],
        outcome=content["outcome"],
        occurred_at=datetime.fromisoformat(content["occurred_at"]),
        recorded_at=datetime.fromisoformat(content["recorded_at"]),
        actor=None if content["act"]["sub"] == content["agent"] else content["act"]["sub"],
        host=host,
        path=path,
        body=item.body.decode(),
        content=content,
    )
