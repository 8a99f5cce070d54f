"""Closes segments of a log and archives them; finds what is in an archive. Imports no Django."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from audit.archive_manifest import MANIFESTS, File, Manifest, Span
from audit.archive_store import ArchiveStore, RetentionError
from audit.checkpoint import Checkpoint, open_checkpoint
from audit.errors import FormatError, MissingError, ProofError, RollbackError
from audit.event import now
from audit.tiles import CHECKPOINT, ENTRIES, WIDTH, Fetch, Tile
from audit.verify import Policy, verify

LONGEST = 64 * WIDTH
LEAST = 16 * WIDTH
AT_ONCE = 8


class Found(NamedTuple):
    """What lies under `manifest/`: the spans of archived segments, in order, and the names that are no manifest's."""

    spans: tuple[Span, ...]
    strange: tuple[str, ...]


def find(store: ArchiveStore) -> Found:
    spans, strange = [], []
    for name in store.names(MANIFESTS):
        try:
            spans.append(Span.of_manifest(name))
        except FormatError:
            strange.append(name)
    return Found(tuple(sorted(spans)), tuple(strange))


def read_manifest(store: ArchiveStore, span: Span) -> Manifest:
    """Raises MissingError and FormatError."""
    manifest = Manifest.parse(store.read(span.manifest).data)
    if manifest.span != span:
        raise FormatError(f"{span.manifest} is the manifest of another segment", str(manifest.span))
    return manifest


class Reach(NamedTuple):
    """Up to where an archive has no gap, the segment that ends there, and where it goes on after a gap."""

    end: int
    last: Span | None
    resumes: int | None


def reach(spans: Sequence[Span]) -> Reach:
    """From the first segment that is left: those before it may have been deleted after their date."""
    end, last = spans[0].first if spans else 0, None
    for span in spans:
        if span.first > end:
            return Reach(end, last, span.first)
        if span.end > end:
            end, last = span.end, span
    return Reach(end, last, None)


class Recorder:
    """Reads a log for the verifier, and remembers what it asked for: that, and no more, is what a segment holds.

    Keeps the bytes of all but full bundles, which are large and can be read again.
    """

    def __init__(self, fetch: Fetch, checkpoint: bytes) -> None:
        self.files = {CHECKPOINT: File.of(checkpoint)}
        self._fetch = fetch
        self._kept = {CHECKPOINT: checkpoint}

    def read(self, name: str) -> bytes:
        if name in self._kept:
            return self._kept[name]
        data = self._fetch(name)
        self.files[name] = File.of(data)
        tile = Tile.parse(name)
        if tile.level != ENTRIES or tile.width < WIDTH:
            self._kept[name] = data
        return data

    def again(self, name: str) -> bytes:
        """The bytes that were verified. Raises ProofError if the log has others by now."""
        data = self._kept[name] if name in self._kept else self._fetch(name)
        if File.of(data) != self.files[name]:
            raise ProofError(f"{name} changed after it was verified, and before it was archived")
        return data

    def close(self) -> None:
        """Holds nothing open."""


@dataclass(frozen=True)
class _Plan:
    """A segment to archive, the checkpoint that it is archived under, and the one before it."""

    span: Span
    checkpoint: bytes
    before: Checkpoint | None


class Archiver:
    """Archives a log under the checkpoints that it signed. One at a time: two would do the same work twice.

    A segment is archived when its manifest is there, which is written last. Whatever interrupts the work, the next
    run finishes the segment that was begun, under the checkpoint that it was begun with.
    """

    def __init__(
        self,
        store: ArchiveStore,
        fetch: Fetch,
        policy: Policy,
        keep: timedelta,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._store = store
        self._fetch = fetch
        self._policy = policy
        self._keep = keep
        self._clock = clock

    def run(self, *, force: bool = False) -> Iterator[Manifest]:
        """Archives what is closed and yields each segment then: full bundles, once LEAST entries wait.

        With `force`, all entries under the last checkpoint. Each segment is verified before it is written, and
        compared with what was written before it counts. Raises what `verify` raises for a log that is not whole or
        does not continue what was archived, and what an ArchiveStore raises.
        """
        self._store.ready()
        while plan := self._next(force):
            yield self._archive(plan)

    def _next(self, force: bool) -> _Plan | None:
        so_far = reach(find(self._store).spans)
        before = read_manifest(self._store, so_far.last).tree if so_far.last else None
        if begun := self._begun(so_far.end):
            checkpoint = self._store.read(begun.folder + CHECKPOINT).data
            return _Plan(begun, checkpoint, before)
        try:
            checkpoint = self._fetch(CHECKPOINT)
        except MissingError:
            if before is None:
                return None  # a log that has not begun
            raise
        size = open_checkpoint(checkpoint, self._policy.origin, self._policy.keys).checkpoint.size
        if before and before.size > size:
            raise RollbackError(before.size, size)
        closed = size if force else size // WIDTH * WIDTH
        end = min(so_far.end + LONGEST, closed if so_far.resumes is None else so_far.resumes)
        least = LEAST if so_far.resumes is None and not force else 1
        return _Plan(Span(so_far.end, end), checkpoint, before) if end - so_far.end >= least else None

    def _begun(self, first: int) -> Span | None:
        """A segment that has its checkpoint, which is written first, and no manifest."""
        for name in self._store.names(Span.prefix(first)):
            if name.endswith(f"/{CHECKPOINT}"):
                return Span.of_folder(name.removesuffix(CHECKPOINT))
        return None

    def _archive(self, plan: _Plan) -> Manifest:
        span, recorder = plan.span, Recorder(self._fetch, plan.checkpoint)
        tree = open_checkpoint(plan.checkpoint, self._policy.origin, self._policy.keys).checkpoint
        verify(recorder, self._policy, last=continued(plan.before, tree), first=span.first, end=span.end)
        archived_at = self._clock().replace(microsecond=0)
        until = archived_at + self._keep
        self._copy(span.folder, recorder, until)
        manifest = Manifest(span, tree, archived_at, until, dict(recorder.files))
        self._store.write(span.manifest, manifest.encode(), until)
        self._compare(span.manifest, File.of(manifest.encode()), until)
        return manifest

    def _copy(self, folder: str, recorder: Recorder, until: datetime) -> None:
        def write(name: str) -> None:
            self._store.write(folder + name, recorder.again(name), until)

        def compare(name: str) -> None:
            self._compare(folder + name, recorder.files[name], until)

        begin, *rest = recorder.files  # the checkpoint first, and alone: it says which segment was begun
        write(begin)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(write, rest))
            list(pool.map(compare, recorder.files))

    def _compare(self, name: str, written: File, until: datetime) -> None:
        """That the archive gives back what was written, and will for as long as it should."""
        kept = self._store.read(name)
        if (found := File.of(kept.data)) != written:
            what = f"{name} was archived, and other bytes came back"
            raise ProofError(what, expected=bytes.fromhex(written.sha256), found=bytes.fromhex(found.sha256))
        if kept.until is None or kept.until < until:
            raise RetentionError(f"{name} was written, but is kept {kept.words} and not until {until:%Y-%m-%d}")


def continued(before: Checkpoint | None, tree: Checkpoint) -> Checkpoint | None:
    """The checkpoint that `tree` has to continue. Where a gap was filled later, the one before may be the younger."""
    return before if before and before.size <= tree.size else None
