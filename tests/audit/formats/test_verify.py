"""The verifier: finds every damage, names the first bad entry, and answers with its exit code."""

import gzip
import shutil
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from audit import tiles, verify
from audit.checkpoint import Checkpoint, sign
from audit.cosignature import Cosigner
from audit.errors import ForkError, ProofError
from audit.note import SigningKey
from audit.sources import Folder
from audit.verify import Policy
from audit.verify_log import main
from tests.audit.formats.logs import KEY, ORIGIN, Log, entries_of

SIZE = 1000
VKEY = str(KEY.verifier)
W1, W2 = (Cosigner(SigningKey(f"witness.example/w{n}", bytes([n]) * 32)) for n in (1, 2))


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "log"
    log = Log(folder)
    log.append(entries_of(600))
    log.append(entries_of(400))
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "log"))


def run(folder: Path | str, *options: str) -> int:
    return main([str(folder), "--key", VKEY, *options])


def test_a_whole_log_verifies(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder) == 0
    assert "VERIFIED entries 0 to 999 of 1,000" in capsys.readouterr().out


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 512, 65_536, 65_537, 66_000])
def test_a_log_of_any_size_verifies(tmp_path: Path, size: int) -> None:
    log = Log(tmp_path / "log")
    log.append([b"%d" % index for index in range(size)])
    assert run(tmp_path / "log") == 0


def rewrite(folder: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    (folder / name).write_bytes(change((folder / name).read_bytes()))


def with_entries(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[bytes], bytes]:
    return lambda bundle: tiles.encode_bundle(change(tiles.decode_bundle(bundle)))


def flip(at: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


ALTER = with_entries(lambda found: [*found[:44], b"altered", *found[45:]])
DELETE = with_entries(lambda found: [*found[:44], *found[45:]])
REORDER = with_entries(lambda found: [*found[:44], found[45], found[44], *found[46:]])
INSERT = with_entries(lambda found: [*found[:44], b"inserted", *found[44:]])


@pytest.mark.parametrize(
    ("name", "change", "index", "says"),
    [
        ("tile/entries/001", ALTER, 300, "entry 300 is not what the log committed to"),
        ("tile/entries/001", DELETE, 300, "entry 300 is not what the log committed to"),
        ("tile/entries/001", REORDER, 300, "entry 300 is not what the log committed to"),
        ("tile/entries/001", INSERT, 300, "entry 300 is not what the log committed to"),
        ("tile/entries/001", lambda data: data + b"\x00\x01x", 512, "goes on after entry 511"),
        ("tile/entries/001", lambda data: data[:-1], 511, "entry 511 is missing"),
        ("tile/entries/003.p/232", with_entries(lambda found: found[:-1]), 999, "entry 999 is missing"),
        ("tile/entries/003.p/232", lambda data: b"", 768, "entry 768 is missing"),
        ("tile/0/001", flip(44 * 32), 300, "entry 300 is not what the log committed to"),
        ("tile/0/001", lambda data: data[:-32], 256, "has 8160 bytes, not 8192"),
        ("tile/0/003.p/232", flip(0), 768, "entry 768 is not what the log committed to"),
        ("tile/1/000.p/3", flip(32), 256, "entry 256 and those after it agree with tile/0/001"),
        ("tile/1/000.p/3", lambda data: data[:64], 0, "has 64 bytes, not 96"),
    ],
)
def test_damage_is_found_and_the_first_bad_entry_named(
    folder: Path,
    name: str,
    change: Callable[[bytes], bytes],
    index: int,
    says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rewrite(folder, name, change)
    assert run(folder) == 1
    message = capsys.readouterr().err
    assert f"FAILED at entry {index}:" in message
    assert says in message


@pytest.mark.parametrize(
    ("name", "index"),
    [("tile/entries/002", 512), ("tile/0/002", 512), ("tile/1/000.p/3", 0), ("tile/entries/003.p/232", 768)],
)
def test_a_gap_fails(folder: Path, name: str, index: int, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / name).unlink()
    assert run(folder) == 1
    assert f"FAILED at entry {index}: a gap: {name} is missing" in capsys.readouterr().err


def test_swapped_tiles_are_found(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind in ("0", "entries"):
        one, other = folder / f"tile/{kind}/000", folder / f"tile/{kind}/001"
        data = one.read_bytes()
        one.write_bytes(other.read_bytes())
        other.write_bytes(data)
    assert run(folder) == 1
    assert "FAILED at entry 0: entry 0 and those after it agree with tile/0/000, which tile/1/000.p/3 contradicts" in (
        capsys.readouterr().err
    )


def test_an_entry_and_its_tile_altered_together_are_found(tmp_path: Path, folder: Path) -> None:
    other = Log(tmp_path / "other")
    other.append([*entries_of(300), b"altered", *entries_of(600)[301:]])
    for name in ("tile/0/001", "tile/entries/001"):
        (folder / name).write_bytes((tmp_path / "other" / name).read_bytes())
    with pytest.raises(ProofError, match="contradicts") as caught:
        verify.verify(Folder(folder), Policy(ORIGIN, (KEY.verifier,)))
    assert caught.value.index == 256


def rehash(tmp_path: Path, folder: Path) -> None:
    """Everything made anew with one entry altered, but for the checkpoint, whose key they do not have."""
    checkpoint = (folder / "checkpoint").read_bytes()
    shutil.rmtree(folder)
    forged = Log(folder)
    forged.append([*entries_of(600), *entries_of(300), b"altered", *entries_of(400)[301:]])
    (folder / "checkpoint").write_bytes(checkpoint)


def test_a_log_hashed_anew_is_found(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rehash(tmp_path, folder)
    assert run(folder) == 1
    assert "not with the signed root" in capsys.readouterr().err


def test_a_log_hashed_anew_is_narrowed_down_by_what_was_seen(tmp_path: Path, folder: Path) -> None:
    before = Log(tmp_path / "before")
    before.append(entries_of(600))
    rehash(tmp_path, folder)
    with pytest.raises(ProofError, match="the first 600 are as they were at the last checkpoint"):
        verify.verify(Folder(folder), Policy(ORIGIN, (KEY.verifier,)), last=before.checkpoint)


@pytest.mark.parametrize(
    "change",
    [
        flip(0),
        lambda data: b"",
        lambda data: data.replace(b"\n1000\n", b"\n999\n"),
        lambda data: sign(Checkpoint.parse(data.partition(b"\n\n")[0] + b"\n"), [SigningKey(ORIGIN, b"\x66" * 32)]),
    ],
)
def test_a_checkpoint_that_no_known_key_signed_is_refused(folder: Path, change: Callable[[bytes], bytes]) -> None:
    rewrite(folder, "checkpoint", change)
    assert run(folder) == 3


def test_a_log_without_a_checkpoint_is_refused(folder: Path) -> None:
    (folder / "checkpoint").unlink()
    assert run(folder) == 3


def test_the_log_of_another_origin_is_refused(folder: Path) -> None:
    assert run(folder, "--origin", "log.example/other") == 3


def test_a_key_that_was_rotated_still_verifies(tmp_path: Path, folder: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"{VKEY}\n{SigningKey(ORIGIN, bytes(32)).verifier}\n")
    assert main([str(folder), "--key", str(keys)]) == 0


def test_a_log_that_grew_continues_what_was_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log, state = Log(tmp_path / "log"), tmp_path / "seen"
    for batch in (300, 300, 0):
        log.append(entries_of(batch))
        assert run(log.folder, "--state", str(state)) == 0
    assert "continues the 600 seen last" in capsys.readouterr().out
    assert state.read_bytes() == log.signed()


def test_a_state_that_is_not_one_is_not_taken_for_a_first_time(tmp_path: Path, folder: Path) -> None:
    state = tmp_path / "deep" / "seen"
    assert run(folder, "--state", str(state)) == 0
    state.write_bytes(b"")
    assert run(folder, "--state", str(state)) == 6
    state.unlink()
    state.mkdir()
    assert run(folder, "--state", str(state)) == 6


def test_a_deleted_tail_with_an_old_checkpoint_is_found(tmp_path: Path, folder: Path) -> None:
    """A backup restored: every file of it is good, and signed."""
    state = tmp_path / "seen"
    assert run(folder, "--state", str(state)) == 0
    old = Log(tmp_path / "old")
    old.append(entries_of(600))
    seen = state.read_bytes()
    assert run(old.folder, "--state", str(state)) == 4
    assert state.read_bytes() == seen


@pytest.mark.parametrize("size", [600, 1000, 1300])
def test_a_fork_with_the_right_key_is_found(tmp_path: Path, size: int, capsys: pytest.CaptureFixture[str]) -> None:
    state = tmp_path / "seen"
    log, fork = Log(tmp_path / "one"), Log(tmp_path / "other")
    log.append(entries_of(600))
    assert run(log.folder, "--state", str(state)) == 0
    fork.append([b"other", *entries_of(size)[1:]])
    assert run(fork.folder, "--state", str(state)) == 4
    assert "the first 600 entries are not those that were signed before" in capsys.readouterr().err


def test_a_fork_carries_both_roots(tmp_path: Path) -> None:
    log, fork = Log(tmp_path / "one"), Log(tmp_path / "other")
    log.append(entries_of(600))
    fork.append([b"other", *entries_of(600)[1:]])
    with pytest.raises(ForkError) as caught:
        verify.verify(Folder(fork.folder), Policy(ORIGIN, (KEY.verifier,)), last=log.checkpoint)
    assert (caught.value.expected, caught.value.found) == (log.checkpoint.root, fork.checkpoint.root)


@pytest.mark.parametrize(("quorum", "code"), [(["--quorum", "1"], 0), (["--quorum", "2"], 5), ([], 5)])
def test_witnesses_by_quorum(folder: Path, quorum: list[str], code: int) -> None:
    tree = Checkpoint.parse((folder / "checkpoint").read_bytes().partition(b"\n\n")[0] + b"\n")
    (folder / "checkpoint").write_bytes(sign(tree, [KEY, W1]))
    witnesses = ["--witness", str(W1.verifier), "--witness", str(W2.verifier)]
    assert run(folder, *witnesses, *quorum) == code


@pytest.mark.parametrize(("first", "last", "code"), [(0, 255, 0), (256, 400, 1), (300, 300, 1), (512, 999, 0)])
def test_a_range_is_verified_up_to_the_root_and_nothing_beside_it(
    folder: Path, first: int, last: int, code: int
) -> None:
    rewrite(folder, "tile/entries/001", ALTER)
    assert run(folder, "--from", str(first), "--to", str(last)) == code


def test_a_pruned_log_verifies_from_where_it_begins(folder: Path) -> None:
    """tlog-tiles, 'Pruning': what ends below the minimum index may be gone."""
    for name in ("tile/entries/000", "tile/entries/001", "tile/0/000", "tile/0/001"):
        (folder / name).unlink()
    assert run(folder, "--from", "512") == 0
    assert run(folder) == 1


def test_a_range_beyond_the_end_fails(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "--to", "1000") == 1
    assert "the log ends before entry 1000: it has 1000" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options", [["--from", "-1"], ["--from", "5", "--to", "4"], ["--key", "nonsense"], ["--quorum", "1"]]
)
def test_wrong_usage(folder: Path, options: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(folder, *options)
    assert caught.value.code == 2


def test_progress_is_told_by_the_bundle(folder: Path) -> None:
    told: list[tuple[int, int]] = []
    policy = Policy(ORIGIN, (KEY.verifier,))
    verify.verify(Folder(folder), policy, progress=lambda done, total: told.append((done, total)))
    assert told == [(256, 1000), (512, 1000), (768, 1000), (1000, 1000)]
    told.clear()
    verify.verify(Folder(folder), policy, first=300, end=301, progress=lambda done, total: told.append((done, total)))
    assert told == [(256, 256)]


class Zipping(SimpleHTTPRequestHandler):
    """Serves a folder as tlog-tiles allows: gzip without asking."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            return self.send_error(404)
        body = gzip.compress(path.read_bytes(), 1)
        self.send_response(200)
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        return None

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def url(folder: Path) -> Iterator[str]:
    handler = partial(Zipping, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_log_is_verified_over_http(folder: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(url) == 0
    rewrite(folder, "tile/entries/001", ALTER)
    assert run(url) == 1
    (folder / "tile/entries/001").unlink()
    assert run(url) == 1
    assert "a gap: tile/entries/001 is missing" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["http://127.0.0.1:1/log", "/nowhere/at/all", "http://"])
def test_a_place_that_cannot_be_read_says_nothing_about_the_log(place: str) -> None:
    assert run(place) == 6
