"""The writer of a log's files: what it promises when it is killed, overtaken, or held against another history."""

import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from audit import merkle, note, publishing
from audit.checkpoint import Checkpoint
from audit.cosignature import Cosigner
from audit.errors import ForkError, MovedError, ProofError, RollbackError
from audit.note import KeyList, SigningKey
from audit.publishing import Publisher, WitnessAt
from audit.sources import Folder
from audit.tile_store import FolderStore, Versioned
from audit.tiles import CHECKPOINT
from audit.verify import Policy, verify
from audit.witness import Witness, server

ORIGIN = "log.example/test"
KEYS = KeyList((SigningKey.generate(ORIGIN),))
POLICY = Policy(ORIGIN, KEYS.verifiers)


def entries(first: int, end: int) -> list[bytes]:
    return [b'{"n":%d}' % number for number in range(first, end)]


def publisher(folder: Path, keys: KeyList = KEYS, witnesses: Sequence[WitnessAt] = (), quorum: int = 0) -> Publisher:
    made = Publisher(ORIGIN, keys, FolderStore(folder / "head"), FolderStore(folder / "log"), witnesses, quorum)
    made.load()
    return made


def size_of(folder: Path) -> int:
    return verify(Folder(folder / "log"), POLICY).opened.checkpoint.size


@pytest.mark.parametrize("growths", [[1], [255, 1], [256], [257, 255, 1], [3, 70_000, 5]])
def test_a_log_that_grew_verifies(tmp_path: Path, growths: list[int]) -> None:
    writer, size = publisher(tmp_path), 0
    for growth in growths:
        writer.grow(entries(size, size + growth))
        size += growth
        assert size_of(tmp_path) == size


def test_a_log_goes_on_where_another_process_left_it(tmp_path: Path) -> None:
    publisher(tmp_path).grow(entries(0, 300))
    publisher(tmp_path).grow(entries(300, 301))
    assert size_of(tmp_path) == 301


def test_partial_tiles_give_way_to_full_ones(tmp_path: Path) -> None:
    writer = publisher(tmp_path)
    writer.grow(entries(0, 200))
    writer.grow(entries(200, 256))
    assert [path.name for path in sorted((tmp_path / "log" / "tile" / "0").iterdir())] == ["000"]


def test_the_second_of_two_writers_is_told_so(tmp_path: Path) -> None:
    first, second = publisher(tmp_path), publisher(tmp_path)
    first.grow(entries(0, 5))
    with pytest.raises(MovedError):
        second.grow(entries(0, 5))
    second.load()
    second.grow(entries(5, 9))
    assert size_of(tmp_path) == 9


class Broken(FolderStore):
    """Fails at the n-th act, before or after it was done: what a kill looks like to the next process."""

    def __init__(self, folder: Path, when: int, *, after: bool) -> None:
        super().__init__(folder)
        self._left, self._after = when, after

    def _count(self) -> bool:
        self._left -= 1
        return self._left == 0

    def write(self, files: Mapping[str, bytes]) -> None:
        for name, data in files.items():
            if (fails := self._count()) and not self._after:
                raise OSError("cut off")
            super().write({name: data})
            if fails:
                raise OSError("cut off")

    def swap(self, name: str, expected: Versioned | None, data: bytes) -> Versioned:
        if (fails := self._count()) and not self._after:
            raise OSError("cut off")
        swapped = super().swap(name, expected, data)
        if fails:
            raise OSError("cut off")
        return swapped


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("part", "when"), [("log", n) for n in range(1, 9)] + [("head", 1)])
def test_a_growth_that_was_cut_off_is_finished_by_the_next_one(
    tmp_path: Path, part: str, when: int, after: bool
) -> None:
    publisher(tmp_path).grow(entries(0, 250))
    stores = {name: FolderStore(tmp_path / name) for name in ("head", "log")}
    stores[part] = Broken(tmp_path / part, when, after=after)
    cut = Publisher(ORIGIN, KEYS, stores["head"], stores["log"], (), 0)
    cut.load()
    with suppress(OSError):
        cut.grow(entries(250, 600))

    writer = publisher(tmp_path)
    signed = writer.tree.size
    assert signed in (250, 600)
    writer.continues(600, 250, root_of(250), entries)
    writer.publish()
    writer.grow(entries(signed, 600) or entries(600, 601))
    assert size_of(tmp_path) in (600, 601)


def root_of(size: int) -> bytes:
    return merkle.root([merkle.leaf_hash(entry) for entry in entries(0, size)])


@pytest.mark.parametrize(
    ("size", "published", "error"),
    [(9, 9, RollbackError), (20, 11, RollbackError)],
    ids=["the database is older", "the log is older"],
)
def test_an_older_side_is_refused(tmp_path: Path, size: int, published: int, error: type[Exception]) -> None:
    writer = publisher(tmp_path)
    writer.grow(entries(0, 10))
    with pytest.raises(error):
        writer.continues(size, published, root_of(published), entries)


def test_another_history_before_the_last_signature_is_a_fork(tmp_path: Path) -> None:
    writer = publisher(tmp_path)
    writer.grow(entries(0, 10))
    with pytest.raises(ForkError, match="the first 5 entries"):
        writer.continues(10, 5, bytes(32), entries)


def test_another_history_after_the_last_signature_is_a_fork(tmp_path: Path) -> None:
    writer = publisher(tmp_path)
    writer.grow(entries(0, 10))
    with pytest.raises(ForkError, match="entries 5 to 9"):
        writer.continues(12, 5, root_of(5), lambda first, end: entries(first + 1, end + 1))


def test_tiles_that_do_not_lead_to_the_signed_root_are_refused(tmp_path: Path) -> None:
    publisher(tmp_path).grow(entries(0, 10))
    tile = tmp_path / "log/tile/0/000.p/10"
    tile.write_bytes(bytes(32) + tile.read_bytes()[32:])
    with pytest.raises(ProofError, match="do not lead to the root"):
        publisher(tmp_path)


def test_a_last_bundle_that_was_changed_is_refused(tmp_path: Path) -> None:
    publisher(tmp_path).grow(entries(0, 10))
    bundle = tmp_path / "log/tile/entries/000.p/10"
    bundle.write_bytes(bundle.read_bytes().replace(b'"n":3', b'"n":4'))
    with pytest.raises(ProofError, match="does not agree with its tile"):
        publisher(tmp_path)


def test_a_new_key_signs_and_the_old_one_still_verifies(tmp_path: Path) -> None:
    publisher(tmp_path).grow(entries(0, 10))
    newer = KEYS.rotated(SigningKey.generate(ORIGIN))
    publisher(tmp_path, newer).grow(entries(10, 11))
    opened = verify(Folder(tmp_path / "log"), Policy(ORIGIN, newer.verifiers)).opened
    assert [made.key_id for made in opened.note.verified] == [newer.newest.key_id]


def test_a_published_checkpoint_that_was_taken_away_is_told_and_published_again(tmp_path: Path) -> None:
    writer = publisher(tmp_path)
    writer.grow(entries(0, 10))
    (tmp_path / "log" / CHECKPOINT).unlink()
    assert not writer.watch()
    assert writer.publish().problems == (
        "the published checkpoint had been changed or taken away, and was published again",
    )
    assert writer.watch()


def test_a_head_that_somebody_else_wrote_is_noticed(tmp_path: Path) -> None:
    writer = publisher(tmp_path)
    writer.grow(entries(0, 10))
    publisher(tmp_path).grow(entries(10, 11))
    with pytest.raises(MovedError):
        writer.watch()


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[WitnessAt]:
    cosigner = Cosigner(SigningKey.generate("witness.example/w1"))
    listening = server(Witness(FolderStore(tmp_path / "witness"), cosigner, KEYS.verifiers), ("127.0.0.1", 0))
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    yield WitnessAt(f"http://127.0.0.1:{listening.server_address[1]}", cosigner.verifier)
    listening.shutdown()
    thread.join()
    listening.server_close()


def test_a_witness_cosigns_what_is_published(tmp_path: Path, witness: WitnessAt) -> None:
    writer = publisher(tmp_path, witnesses=[witness], quorum=1)
    assert writer.grow(entries(0, 10)).problems == ()
    assert writer.grow(entries(10, 600)).problems == ()
    _, lines = note.parse((tmp_path / "log" / CHECKPOINT).read_bytes())
    assert [line.name for line in lines] == [ORIGIN, "witness.example/w1"]


def test_a_witness_refuses_a_fork_and_readers_are_told(tmp_path: Path, witness: WitnessAt) -> None:
    publisher(tmp_path, witnesses=[witness], quorum=1).grow(entries(0, 10))
    other = publisher(tmp_path / "fork", witnesses=[witness], quorum=1)
    [needed, why] = other.grow(entries(1, 9)).problems
    assert needed == "0 of 1 witnesses that are needed have cosigned"
    assert "it has cosigned 10 leaves, and this checkpoint has 8" in why


def test_a_witness_that_is_away_delays_nothing_and_is_told(tmp_path: Path) -> None:
    away = WitnessAt("http://127.0.0.1:9", Cosigner(SigningKey.generate("witness.example/w1")).verifier)
    writer = publisher(tmp_path, witnesses=[away], quorum=1)
    assert "did not cosign" in writer.grow(entries(0, 10)).problems[1]
    assert "is asked again in 5 s" in writer.grow(entries(10, 11)).problems[1]
    assert writer.tree == Checkpoint(ORIGIN, 11, root_of(11))


def test_a_witness_that_drips_its_answer_holds_nothing_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "PATIENCE_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        key = Cosigner(SigningKey.generate("witness.example/w1")).verifier
        drips = WitnessAt(f"http://127.0.0.1:{silent.getsockname()[1]}", key)
        writer = publisher(tmp_path, witnesses=[drips], quorum=1)
        needed, why = writer.grow(entries(0, 10)).problems
    assert needed == "0 of 1 witnesses that are needed have cosigned"
    assert "did not answer within" in why
