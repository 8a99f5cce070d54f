"""Whether an archive still is what was archived: reads all of it again and names what is not. Imports no Django."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from audit import canonical
from audit.archive import AT_ONCE, continued, find
from audit.archive_manifest import File, Manifest, Span
from audit.archive_store import ArchiveStore, HiddenError, Kept
from audit.checkpoint import Checkpoint
from audit.errors import FormatError, LogError, MissingError, UnreachableError
from audit.verify import Policy, verify

Progress = Callable[[int, int], None]


@dataclass(frozen=True, order=True)
class Drift:
    """What is wrong with one file; `name` counts from the top of the archive."""

    name: str
    what: str

    def __str__(self) -> str:
        return f"{self.name} {self.what}"


@dataclass(frozen=True)
class Checked:
    """`drifts` is empty if all is as it was. Segments whose manifest cannot be read do not count."""

    segments: int
    files: int
    drifts: tuple[Drift, ...]


def check(
    store: ArchiveStore, policy: Policy, said: Mapping[Span, str] | None = None, progress: Progress | None = None
) -> Checked:
    """Reads every manifest, every file of it, its hash and its retention, and verifies each segment by its signature.

    `said` are the SHA-256 of manifests that must be there, as the log's own events have them. `progress` gets segments
    done and in all. Raises UnreachableError where nothing can be said.
    """
    store.ready()
    said = said or {}
    spans, strange = find(store)
    drifts = [Drift(name, "is not the name of a manifest") for name in strange]
    drifts += [
        Drift(span.manifest, "is missing, and the log says that it was archived") for span in said.keys() - spans
    ]
    drifts += _gaps(spans, min((span.first for span in said), default=0))
    manifests = []
    for span in spans:
        manifest = _manifest(store, span, said.get(span), drifts)
        if manifest:
            manifests.append(manifest)
    segments = _segments(store, manifests)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done, drifted in enumerate(pool.map(lambda one: one.check(policy), segments), 1):
            drifts += drifted
            if progress:
                progress(done, len(segments))
    return Checked(len(segments), sum(len(one.files) for one in manifests), tuple(sorted(set(drifts))))


def check_segment(store: ArchiveStore, manifest: Manifest, policy: Policy) -> tuple[Drift, ...]:
    """The files of one segment. Raises UnreachableError where nothing can be said."""
    return tuple(sorted(_Segment(store, manifest, None).check(policy)))


def _gaps(spans: Sequence[Span], start: int) -> list[Drift]:
    gaps, end = [], start
    for span in spans:
        if span.first > end:
            gaps.append(Drift(Span(end, span.first).manifest, "is missing: these entries are in no segment"))
        end = max(end, span.end)
    return gaps


def _manifest(store: ArchiveStore, span: Span, said: str | None, drifts: list[Drift]) -> Manifest | None:
    """The manifest, or None if it says nothing that can be checked; what is wrong with it is added to `drifts`."""
    name = span.manifest
    try:
        kept = store.read(name)
        if said and said != canonical.sha256(kept.data):
            drifts.append(Drift(name, "is not the manifest whose hash is in the log"))
        manifest = Manifest.parse(kept.data)
    except MissingError as error:
        drifts.append(_missing(name, error))
        return None
    except FormatError as error:
        drifts.append(Drift(name, f"is damaged: {error}"))
        return None
    if manifest.span != span:
        drifts.append(Drift(name, f"is the manifest of {manifest.span.words}"))
        return None
    drifts += _shortened(name, kept, manifest)
    return manifest


def _missing(name: str, error: MissingError) -> Drift:
    hidden = isinstance(error, HiddenError)
    return Drift(name, "is hidden by a delete marker: remove the marker" if hidden else "is missing")


def _shortened(name: str, kept: Kept, manifest: Manifest) -> list[Drift]:
    if kept.until is not None and kept.until >= manifest.retain_until:
        return []
    return [Drift(name, f"was to be kept until {manifest.retain_until:%Y-%m-%d %H:%M:%S} UTC, and is {kept.words}")]


def _segments(store: ArchiveStore, manifests: Sequence[Manifest]) -> list["_Segment"]:
    """Each has to continue the one before it."""
    segments, before = [], None
    for manifest in manifests:
        segments.append(_Segment(store, manifest, continued(before, manifest.tree)))
        before = manifest.tree
    return segments


class _Segment:
    """A segment as a source of the verifier, which compares each file with the manifest as it is read."""

    def __init__(self, store: ArchiveStore, manifest: Manifest, before: Checkpoint | None) -> None:
        self._store = store
        self._manifest = manifest
        self._before = before
        self._unread = set(manifest.files)
        self._drifts: set[Drift] = set()

    def check(self, policy: Policy) -> set[Drift]:
        span, failed = self._manifest.span, ""
        try:
            verified = verify(self, policy, last=self._before, first=span.first, end=span.end)
        except UnreachableError:
            raise
        except LogError as error:
            failed = f"does not verify: {error}"
        else:
            if verified.opened.checkpoint != self._manifest.tree:
                failed = "was archived under another checkpoint than its manifest says"
        for name in sorted(self._unread):
            self._read(name)
        if failed and not self._drifts:  # where a file differs, it is named, and that says it all
            self._drifts.add(Drift(span.folder, failed))
        return self._drifts

    def read(self, name: str) -> bytes:
        data = self._read(name) if name in self._manifest.files else None
        if data is None:
            raise MissingError(name)
        return data

    def close(self) -> None:
        """Holds nothing open."""

    def _read(self, name: str) -> bytes | None:
        """The bytes that are there, whatever they are; None if there are none."""
        self._unread.discard(name)
        path, expected = self._manifest.span.folder + name, self._manifest.files[name]
        try:
            kept = self._store.read(path)
        except MissingError as error:
            self._drifts.add(_missing(path, error))
            return None
        except FormatError as error:
            self._drifts.add(Drift(path, f"is damaged: {error}"))
            return None
        if (found := File.of(kept.data)) != expected:
            self._drifts.add(Drift(path, f"was changed: {found.length} bytes with the SHA-256 {found.sha256}"))
        self._drifts.update(_shortened(path, kept, self._manifest))
        return kept.data
