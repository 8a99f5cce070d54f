"""An evidence file verifies as it was made, and no change of it goes unseen."""

import dataclasses
import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from audit.cosignature import Quorum, WitnessKey
from audit.errors import FormatError, LogError, MissingError, ProofError, UnreachableError, UnsignedError
from audit.evidence import INDEX, MANIFEST, Manifest
from audit.merkle import leaf_hash
from audit.note import SigningKey
from audit.proof import Proof
from audit.verify import Policy, exit_code
from audit.verify_evidence import is_evidence, verify_evidence
from tests.audit.evidence import papers
from tests.audit.evidence.papers import SESSION, Files, Log, body

ENTRY, PROOF = "entries/5.json", "proofs/5.tlog-proof"


def test_file_verifies_as_it_was_made(file: Path, log: Log) -> None:
    found = verify_evidence(file, log.policy)
    assert (found.events, found.unproven, found.stamped_at) == (6, (), None)
    assert (found.opened.checkpoint.size, found.manifest.streams[0].last_seq) == (8, 6)


def test_unpacked_folder_verifies_too(file: Path, log: Log, tmp_path: Path) -> None:
    assert verify_evidence(papers.unpack(file, tmp_path / "unpacked"), log.policy).events == 6


def test_progress_counts_up_to_all_events(file: Path, log: Log) -> None:
    said: list[tuple[int, int]] = []
    verify_evidence(file, log.policy, lambda done, total: said.append((done, total)))
    assert said == [(done, 6) for done in range(1, 7)]


def test_entries_are_the_exact_leaves(file: Path, log: Log) -> None:
    files = papers.read(file)
    assert [files[f"entries/{leaf}.json"] for leaf in (1, 2, 3, 5, 6, 7)] == [log.bodies[i] for i in (1, 2, 3, 5, 6, 7)]


def test_proof_verifies_by_itself(file: Path, log: Log) -> None:
    files = papers.read(file)
    assert Proof.parse(files[PROOF]).verify(files[ENTRY], papers.ORIGIN, log.policy.keys).checkpoint.size == 8


def altered_entry(files: Files) -> None:
    files[ENTRY] = files[ENTRY].replace(b"/file-4", b"/file-9")


def altered_entry_and_index(files: Files) -> None:
    files[ENTRY] = files[ENTRY].replace(b"success", b"failure")
    said = '"5","2026-11-25T12:00:04.000000Z","tool.result","'
    edit_index(files, lambda text: text.replace(f"{said}success", f"{said}failure"))


def entry_gone(files: Files) -> None:
    del files[ENTRY]


def proof_gone(files: Files) -> None:
    del files[PROOF]


def event_gone_from_everywhere(files: Files) -> None:
    """As somebody would who knows the format, and leaves no loose end."""
    del files[ENTRY], files[PROOF]
    edit_index(files, lambda text: "".join(line for line in text.splitlines(True) if not line.startswith('"5"')))
    edit_manifest(files, lambda found: found.update(events=5))


def events_swapped(files: Files) -> None:
    files["entries/5.json"], files["entries/6.json"] = files["entries/6.json"], files["entries/5.json"]


def proof_of_another(files: Files) -> None:
    files[PROOF] = files["proofs/6.tlog-proof"]


def proof_cut(files: Files) -> None:
    files[PROOF] = files[PROOF][:40]


def line_gone_from_index(files: Files) -> None:
    edit_index(files, lambda text: "".join(line for line in text.splitlines(True) if not line.startswith('"7"')))


def line_twice_in_index(files: Files) -> None:
    edit_index(files, lambda text: text + text.splitlines(True)[-1])


def index_lies(files: Files) -> None:
    edit_index(files, lambda text: text.replace("tool.result", "tool.decision", 1))


def index_without_its_hash(files: Files) -> None:
    files[INDEX] = files[INDEX].replace(b"tool.result", b"tool.decision", 1)


def report_rewritten(files: Files) -> None:
    files["report.html"] = files["report.html"].replace(b"did something", b"did nothing")


def readme_gone(files: Files) -> None:
    del files["README.txt"]


def file_added(files: Files) -> None:
    files["entries/4.json"] = body(2, papers.OTHER)


def event_invented(files: Files) -> None:
    """Beside the log, without a proof."""
    files["unproven/01930000-0000-7000-8000-00000000070a.json"] = body(7)
    line = '"","t","tool.result","success","","","","01930000-0000-7000-8000-00000000070a","s","7","t","agent:a"\r\n'
    edit_index(files, lambda text: text + line)


def manifest_of_another_checkpoint(files: Files) -> None:
    edit_manifest(files, lambda found: found.update(size=9))


def entry_too_long(files: Files) -> None:
    files[ENTRY] = b"x" * 70_000


def leaf_that_is_none(files: Files) -> None:
    edit_index(files, lambda text: text.replace('"5"', '"../5"'))


def index_of_another_file(files: Files) -> None:
    edit_index(files, lambda text: "a,b\r\n")


TAMPERED: dict[Callable[[Files], None], tuple[int | None, str]] = {
    altered_entry: (5, "leaf 5 is not under this root"),
    altered_entry_and_index: (5, "leaf 5 is not under this root"),
    entry_gone: (5, "entry 5 is missing"),
    proof_gone: (5, "the proof of entry 5 is missing"),
    event_gone_from_everywhere: (6, f"event 4 of {SESSION} is missing: 5 comes in its place"),
    events_swapped: (5, "leaf 5 is not under this root"),
    proof_of_another: (5, "is of another entry"),
    proof_cut: (5, "the proof of entry 5 is none"),
    line_gone_from_index: (None, "entries/7.json is in the file, and in neither"),
    line_twice_in_index: (7, "entry 7 is named twice"),
    index_lies: (1, f"says something else of event 1 of {SESSION}"),
    index_without_its_hash: (None, "index.csv is not what was written"),
    report_rewritten: (None, "report.html is not what was written"),
    readme_gone: (None, "README.txt cannot be read: README.txt is missing"),
    file_added: (None, "entries/4.json is in the file, and in neither"),
    event_invented: (None, "says something else of event 7"),
    manifest_of_another_checkpoint: (None, "is of another checkpoint"),
    entry_too_long: (5, "has more than 65,535 bytes"),
    leaf_that_is_none: (None, "names a leaf that is none"),
    index_of_another_file: (None, "does not begin with the names of its columns"),
}


@pytest.mark.parametrize("tamper", TAMPERED, ids=lambda tamper: tamper.__name__)
def test_tampered_file_is_refused(file: Path, log: Log, tamper: Callable[[Files], None]) -> None:
    files = papers.read(file)
    tamper(files)
    papers.rewrite(file, files)
    with pytest.raises(ProofError) as raised:
        verify_evidence(file, log.policy)
    index, what = TAMPERED[tamper]
    assert (raised.value.index, exit_code(raised.value)) == (index, 1)
    assert what in str(raised.value)


def test_tampered_folder_is_refused(file: Path, log: Log, tmp_path: Path) -> None:
    folder = papers.unpack(file, tmp_path / "unpacked")
    (folder / ENTRY).write_bytes(body(4))
    with pytest.raises(ProofError, match="leaf 5 is not under this root"):
        verify_evidence(folder, log.policy)


def test_checkpoint_of_another_key_is_refused(file: Path, log: Log) -> None:
    stranger = Policy(papers.ORIGIN, (SigningKey.generate(papers.ORIGIN).verifier,))
    with pytest.raises(UnsignedError) as raised:
        verify_evidence(file, stranger)
    assert exit_code(raised.value) == 3


def test_whole_file_forged_with_another_key_is_refused(log: Log, tmp_path: Path) -> None:
    forged = tmp_path / "forged.zip"
    papers.write(forged, Log([body(1, outcome="denied")]))
    with pytest.raises(UnsignedError):
        verify_evidence(forged, log.policy)


def test_missing_checkpoint_is_refused(file: Path, log: Log) -> None:
    files = papers.read(file)
    del files["checkpoint"]
    papers.rewrite(file, files)
    with pytest.raises(MissingError) as raised:
        verify_evidence(file, log.policy)
    assert exit_code(raised.value) == 3


def test_too_few_witnesses_are_refused(file: Path, log: Log) -> None:
    witness = WitnessKey("witness.test", SigningKey.generate("witness.test").verifier.public)
    with pytest.raises(LogError) as raised:
        verify_evidence(file, dataclasses.replace(log.policy, quorum=Quorum((witness,), 1)))
    assert exit_code(raised.value) == 5


def test_name_that_is_there_twice_is_refused(file: Path, log: Log) -> None:
    with zipfile.ZipFile(file, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr(ENTRY, body(4))
    with pytest.raises(FormatError, match="there twice"):
        verify_evidence(file, log.policy)


@pytest.mark.parametrize("keep", [0, 100, 2_000])
def test_cut_file_cannot_be_read(file: Path, log: Log, keep: int) -> None:
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(UnreachableError) as raised:
        verify_evidence(file, log.policy)
    assert exit_code(raised.value) == 6


def test_every_flipped_byte_of_an_entry_is_found(file: Path, log: Log) -> None:
    """In the compressed bytes, as a bad disk would: the ZIP's own check says so, or ours does."""
    data = file.read_bytes()
    with zipfile.ZipFile(file) as archive:
        start = archive.getinfo(ENTRY).header_offset + 60
    for at in range(start, start + 60):
        file.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(LogError):
            verify_evidence(file, log.policy)


def test_unproven_event_is_an_error_unless_it_is_allowed(log: Log, tmp_path: Path) -> None:
    path, late = tmp_path / "late.zip", body(2)
    known = Log([body(1)], log.key)
    papers.write(path, known, [*known.items(), papers.Item(None, late, json.loads(late))])
    with pytest.raises(ProofError, match=f"1 events have no proof.*event 2 of {SESSION}"):
        verify_evidence(path, log.policy)
    assert verify_evidence(path, log.policy, unproven=True).unproven == (f"event 2 of {SESSION}",)


def test_period_of_a_team_may_have_gaps(log: Log, tmp_path: Path) -> None:
    path = tmp_path / "period.zip"
    papers.write(path, log, [log.items()[leaf] for leaf in (0, 2, 6)][1:], selection={"kind": "period", "title": ""})
    assert verify_evidence(path, log.policy).events == 2


def test_session_that_begins_later_was_bounded(log: Log, tmp_path: Path) -> None:
    path = tmp_path / "later.zip"
    bounded = {"kind": "session", "title": "", "since": "2026-11-25T12:00:03Z"}
    papers.write(path, log, [log.items()[leaf] for leaf in (3, 5)], selection=bounded)
    assert verify_evidence(path, log.policy).events == 2


def test_gap_that_was_there_when_it_was_made_is_named(log: Log, tmp_path: Path) -> None:
    path = tmp_path / "gap.zip"
    made = papers.write(path, log, [log.items()[leaf] for leaf in (3, 5)])
    assert [(span.first_seq, span.last_seq) for span in made.missing] == [(1, 2)]
    with pytest.raises(ProofError, match="event 1 of .* is missing: 3 comes in its place"):
        verify_evidence(path, log.policy)


def test_empty_export_verifies(log: Log, tmp_path: Path) -> None:
    path = tmp_path / "empty.zip"
    papers.write(path, log, [])
    assert verify_evidence(path, log.policy).events == 0


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"v":2}', b'{"v":1,"streams":[{}],"missing":[]}', b"\xff"])
def test_manifest_that_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        Manifest.parse(data)


def test_evidence_is_told_from_a_log(file: Path, tmp_path: Path) -> None:
    assert is_evidence(file)
    assert is_evidence(papers.unpack(file, tmp_path / "unpacked"))
    assert not is_evidence(tmp_path)


def test_readme_tells_how_a_leaf_is_hashed(file: Path, log: Log) -> None:
    files = papers.read(file)
    assert "SHA-256 of a zero byte and entries/<leaf>.json" in files["README.txt"].decode()
    assert hashlib.sha256(b"\0" + files[ENTRY]).digest() == leaf_hash(log.bodies[5])


def edit_index(files: Files, edit: Callable[[str], str]) -> None:
    """With the manifest made to fit."""
    files[INDEX] = edit(files[INDEX].decode()).encode()
    edit_manifest(files, lambda found: found["sha256"].update({INDEX: hashlib.sha256(files[INDEX]).hexdigest()}))


def edit_manifest(files: Files, edit: Callable[[dict[str, object]], object]) -> None:
    found = json.loads(files[MANIFEST])
    edit(found)
    files[MANIFEST] = json.dumps(found).encode()
