"""The promises of a tile store, kept by a folder and by S3 (boto3 and a server that speaks its HTTP)."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

from audit.errors import FormatError, MissingError, MovedError, OverwriteError
from audit.tile_store import FolderStore, S3Store, TileStore, Versioned
from tests.audit.formats.s3_server import Bucket, serving


def s3_store(address: str, attempts: int = 1) -> S3Store:
    client = boto3.client(
        "s3",
        endpoint_url=address,
        region_name="us-east-1",
        aws_access_key_id="id",
        aws_secret_access_key="secret",
        config=Config(retries={"total_max_attempts": attempts}, s3={"addressing_style": "path"}),
    )
    return S3Store(client, "logs", "team/")


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TileStore]:
    if request.param == "folder":
        yield FolderStore(tmp_path / "log")
    else:
        with serving(Bucket()) as address:
            yield s3_store(address)


def test_what_was_written_is_read(store: TileStore) -> None:
    files = {"tile/0/000": b"hashes", "tile/0/x001/000.p/3": b"", "tile/entries/000": b"entries"}
    store.write(files)
    assert {name: store.read(name) for name in files} == files


def test_nothing_written_changes(store: TileStore) -> None:
    store.write({"tile/0/000": b"hashes"})
    store.write({"tile/0/000": b"hashes"})
    with pytest.raises(OverwriteError) as caught:
        store.write({"tile/0/000": b"hasheS"})
    assert (caught.value.name, caught.value.expected, caught.value.found) == ("tile/0/000", b"hasheS", b"hashes")
    assert "from byte 5" in str(caught.value)
    assert store.read("tile/0/000") == b"hashes"


def test_what_is_not_there_is_missing(store: TileStore) -> None:
    with pytest.raises(MissingError) as caught:
        store.read("tile/0/000")
    assert caught.value.name == "tile/0/000"
    assert store.read_versioned("checkpoint") is None


@pytest.mark.parametrize("name", ["", "../x", "/etc/passwd", "tile/../../x", "tile//0", ".lock", "a/.b", "a\x00", "A"])
def test_a_name_that_leaves_the_log_is_refused(store: TileStore, name: str) -> None:
    for attempt in (store.read, lambda name: store.write({name: b""}), lambda name: store.swap(name, None, b"")):
        with pytest.raises(FormatError):
            attempt(name)


def test_a_checkpoint_is_swapped_by_whoever_read_it_last(store: TileStore) -> None:
    first = store.swap("checkpoint", None, b"one")
    assert store.read_versioned("checkpoint") == first
    second = store.swap("checkpoint", first, b"two")
    with pytest.raises(MovedError) as caught:
        store.swap("checkpoint", first, b"three")
    assert (caught.value.expected, caught.value.found) == (b"one", b"two")
    assert store.read_versioned("checkpoint") == second


def test_a_first_checkpoint_replaces_no_other(store: TileStore) -> None:
    store.swap("checkpoint", None, b"one")
    with pytest.raises(MovedError):
        store.swap("checkpoint", None, b"two")
    assert store.read("checkpoint") == b"one"


def test_a_checkpoint_that_vanished_is_not_replaced(store: TileStore) -> None:
    with pytest.raises(MovedError) as caught:
        store.swap("checkpoint", Versioned(b"one", '"tag"'), b"two")
    assert caught.value.found is None


def test_of_many_that_swap_at_once_one_wins(store: TileStore) -> None:
    held = store.swap("checkpoint", None, b"start")
    won: list[int] = []

    def swap(number: int) -> None:
        try:
            store.swap("checkpoint", held, f"by {number}".encode())
        except MovedError:
            return
        won.append(number)

    threads = [threading.Thread(target=swap, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [f"by {number}".encode() for number in won] == [store.read("checkpoint")]


def test_partial_tiles_go_when_the_full_one_is_there(store: TileStore) -> None:
    store.write({"tile/0/000.p/1": b"a", "tile/0/000.p/2": b"ab", "tile/0/001.p/1": b"c"})
    with pytest.raises(MissingError):
        store.drop_partials("tile/0/000")
    assert store.read("tile/0/000.p/2") == b"ab"
    store.write({"tile/0/000": b"abc"})
    store.drop_partials("tile/0/000")
    with pytest.raises(MissingError):
        store.read("tile/0/000.p/2")
    assert (store.read("tile/0/000"), store.read("tile/0/001.p/1")) == (b"abc", b"c")


@pytest.mark.parametrize(("call", "there"), [("fsync", False), ("link", False), ("open", True)])
def test_a_writer_that_dies_leaves_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, there: bool
) -> None:
    """It dies in the sync of the file, in giving it its name, and in the sync of the folder."""
    store = FolderStore(tmp_path)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, call, die)
        with pytest.raises(KeyboardInterrupt):
            store.write({"tile/0/000": b"hashes"})
    assert (tmp_path / "tile/0/000").exists() == there
    store.write({"tile/0/000": b"hashes"})
    assert store.read("tile/0/000") == b"hashes"


def test_what_a_killed_writer_left_is_swept(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    (tmp_path / ".unfinished").mkdir()
    (tmp_path / ".unfinished" / "left").write_bytes(b"half")
    store.sweep()
    store.write({"tile/0/000": b"hashes"})
    assert not list((tmp_path / ".unfinished").iterdir())


def test_files_and_the_folders_that_name_them_are_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = os.fsync

    def record(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    FolderStore(tmp_path).write({"tile/0/000": b"hashes"})
    assert os.path.dirname(synced[0]) == str(tmp_path / ".unfinished")
    assert set(synced[1:]) == {str(tmp_path), str(tmp_path / "tile"), str(tmp_path / "tile/0")}


def test_s3_writes_are_repeated_until_they_are_there() -> None:
    bucket = Bucket()
    with serving(bucket) as address:
        store = s3_store(address, attempts=3)
        bucket.failures = ["before", "after"]
        store.write({"tile/0/000": b"hashes"})
        assert bucket.objects == {"team/tile/0/000": b"hashes"}
        bucket.failures = ["after"]
        held = store.swap("checkpoint", None, b"one")
        bucket.failures = ["after"]
        assert store.swap("checkpoint", held, b"two").data == b"two"


def test_s3_that_fails_is_an_error_and_not_a_lost_race() -> None:
    bucket = Bucket()
    with serving(bucket) as address:
        store = s3_store(address)
        bucket.failures = ["before"]
        with pytest.raises(Exception, match="InternalError"):
            store.swap("checkpoint", None, b"one")
        assert bucket.objects == {}


def test_s3_under_another_conditional_write_says_that_it_moved() -> None:
    bucket = Bucket()
    with serving(bucket) as address:
        store = s3_store(address)
        bucket.failures = ["conflict"]
        with pytest.raises(MovedError):
            store.swap("checkpoint", None, b"one")


def test_a_bundle_is_removed_with_its_partial_ones(store: TileStore) -> None:
    store.write({"tile/entries/000": b"full", "tile/entries/000.p/9": b"part", "tile/entries/001": b"next"})
    store.drop("tile/entries/000")
    store.drop("tile/entries/000")
    for name in ("tile/entries/000", "tile/entries/000.p/9"):
        with pytest.raises(MissingError):
            store.read(name)
    assert store.read("tile/entries/001") == b"next"


@pytest.mark.parametrize(
    "name", ["checkpoint", "tile/0/000", "tile/entries/000.p/9", "tile/entries/../0/000", "tile/entries/"]
)
def test_nothing_but_a_full_bundle_is_removed(store: TileStore, name: str) -> None:
    store.write({"tile/0/000": b"hashes", "tile/entries/000.p/9": b"part"})
    with pytest.raises(FormatError):
        store.drop(name)
    assert (store.read("tile/0/000"), store.read("tile/entries/000.p/9")) == (b"hashes", b"part")
