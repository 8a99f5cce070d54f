"""A log that says that it was pruned verifies as far as it is there; one that does not say so has a gap."""

import json
from pathlib import Path
from typing import Any

import pytest

from audit import pruned, verify, verify_log
from audit.errors import ProofError
from audit.sources import Folder
from audit.tiles import ENTRIES, Tile
from audit.verify import Policy, Verified
from tests.audit.formats.logs import KEY, ORIGIN, Log, entries_of

SAYS = {"kind": pruned.KIND, "stream": pruned.STREAM, "data": {"minimum": 512}}


def entry(**changes: Any) -> bytes:
    return json.dumps({**SAYS, **changes}, separators=(",", ":"), sort_keys=True).encode()


def log_with(folder: Path, *entries: bytes, gone: int = 2) -> Log:
    """A log of 700 entries, these ones, and ten more; its first `gone` bundles are not there any more."""
    log = Log(folder)
    log.append(entries_of(700))
    log.append([*entries, *entries_of(10, "after")])
    for index in range(gone):
        log.store.drop(Tile(ENTRIES, index).path)
    return log


def verified(log: Log, **asked: Any) -> Verified:
    return verify.verify(Folder(log.folder), Policy(ORIGIN, (KEY.verifier,)), **asked)


def test_log_that_says_so_is_verified_above_what_is_gone(tmp_path: Path) -> None:
    found = verified(log_with(tmp_path, entry()))
    assert (found.gaps.entries, found.gaps.minimum, found.gaps.said_by, found.entries) == (512, 512, 700, 711 - 512)


def test_log_that_is_whole_has_no_gaps(tmp_path: Path) -> None:
    found = verified(log_with(tmp_path, entry(), gone=0))
    assert (found.gaps.entries, found.entries) == (0, 711)


def test_report_says_what_is_gone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = log_with(tmp_path, entry())
    assert verify_log.main([str(log.folder), "--key", str(KEY.verifier)]) == 0
    assert "PRUNED 512 of them, all below 512: entry 700 says so" in capsys.readouterr().out


@pytest.mark.parametrize(
    "said",
    [
        b"{}",
        entry(kind="agent.prompt", data={"minimum": 512, "text": '"kind":"log.pruned"'}),
        entry(kind="agent.prompt", data={"minimum": 512, "more": {"kind": "log.pruned"}}),
        entry(stream="01990000-0000-7000-8000-000000000000"),
        entry(data={"minimum": "512"}),
        entry(data={"minimum": True}),
        entry(data={}),
        entry(data={"minimum": 256}),
        entry(data={"minimum": 701}),
        b'{"kind":"log.pruned"',
    ],
    ids=repr,
)
def test_gap_that_no_entry_speaks_of_fails(tmp_path: Path, said: bytes) -> None:
    log = log_with(tmp_path, said)
    with pytest.raises(ProofError, match="a gap: tile/entries/00[01] is missing, and no entry says") as caught:
        verified(log)
    assert caught.value.index in (0, 256)


def test_gap_above_the_minimum_index_fails(tmp_path: Path) -> None:
    log = log_with(tmp_path, entry(data={"minimum": 256}))
    with pytest.raises(ProofError) as caught:
        verified(log)
    assert (caught.value.index, "tile/entries/001" in str(caught.value)) == (256, True) or caught.value.index == 0


def test_part_that_does_not_reach_what_says_so_fails(tmp_path: Path) -> None:
    log = log_with(tmp_path, entry())
    with pytest.raises(ProofError, match="no entry says"):
        verified(log, first=0, end=512)


def test_part_above_what_is_gone_needs_nobody_to_say_so(tmp_path: Path) -> None:
    assert verified(log_with(tmp_path, b"{}"), first=512).gaps.entries == 0


def test_forged_entry_is_not_believed(tmp_path: Path) -> None:
    """An entry that the signed root does not cover says nothing."""
    log = log_with(tmp_path, entry(data={"minimum": 256}))
    path = log.folder / Tile(ENTRIES, 2, 711 - 512).path
    path.write_bytes(path.read_bytes().replace(b'"minimum":256', b'"minimum":512'))
    with pytest.raises(ProofError, match="entry 700 is not what the log committed to"):
        verified(log)


def test_hash_tiles_of_what_is_gone_are_still_needed(tmp_path: Path) -> None:
    log = log_with(tmp_path, entry())
    (log.folder / "tile/0/000").unlink()
    with pytest.raises(ProofError, match="a gap: tile/0/000 is missing"):
        verified(log)


def test_proof_of_an_entry_that_is_gone_verifies(tmp_path: Path) -> None:
    log = log_with(tmp_path, entry())
    log.proof(3).verify(entries_of(4)[3], ORIGIN, [KEY.verifier])


def test_newest_word_counts(tmp_path: Path) -> None:
    found = verified(log_with(tmp_path, entry(data={"minimum": 256}), entry()))
    assert (found.gaps.minimum, found.gaps.said_by) == (512, 701)
