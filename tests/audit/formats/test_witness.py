"""C2SP tlog-witness: each status that the specification names, and what is durable before an answer."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from audit import merkle, note
from audit.checkpoint import Checkpoint, open_checkpoint, sign
from audit.cosignature import Cosigner, WitnessKey
from audit.errors import MovedError, SignatureError, WitnessError
from audit.note import SigningKey
from audit.tile_store import FolderStore, Versioned
from audit.witness import Request, Witness, server
from audit.witness_client import add_checkpoint
from tests.audit.formats.logs import KEY, ORIGIN, Log, entries_of

REPOSITORY = Path(__file__).resolve().parents[3]
COSIGNER = Cosigner(SigningKey("witness.example/w1", b"\x05" * 32), clock=lambda: 1_700_000_000)
HASH = note.encode64(bytes(32))


@pytest.fixture
def log(tmp_path: Path) -> Log:
    log = Log(tmp_path / "log")
    log.append(entries_of(10))
    return log


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return Witness(FolderStore(tmp_path / "witness"), COSIGNER, [KEY.verifier])


def request(log: Log, old: int) -> bytes:
    return Request(old, tuple(log.consistency(old)), log.signed()).format()


def test_the_first_checkpoint_is_cosigned(log: Log, witness: Witness) -> None:
    answer = witness.add_checkpoint(request(log, 0))
    assert answer.status == 200
    signature = note.parse_signature(answer.body.decode().removesuffix("\n"))
    assert COSIGNER.verifier.verifies(log.checkpoint.body(), signature.data)


def test_a_log_that_grew_is_cosigned_again(log: Log, witness: Witness) -> None:
    witness.add_checkpoint(request(log, 0))
    log.append(entries_of(300))
    assert witness.add_checkpoint(request(log, 10)).status == 200


def test_the_same_checkpoint_is_cosigned_again(log: Log, witness: Witness) -> None:
    witness.add_checkpoint(request(log, 0))
    assert witness.add_checkpoint(request(log, 10)).status == 200


def test_an_empty_log_is_cosigned(tmp_path: Path, witness: Witness) -> None:
    log = Log(tmp_path / "empty")
    assert witness.add_checkpoint(request(log, 0)).status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 0\n",
        b"old 00\n\n",
        b"old -1\n\n",
        b"new 0\n\n",
        b"old 0\n\nnot a note",
        f"old 1\n{HASH[:-1]}\n\n".encode(),
        ("old 1\n" + f"{HASH}\n" * 64 + "\n").encode(),
    ],
)
def test_400_for_what_is_not_a_request(witness: Witness, log: Log, body: bytes) -> None:
    assert witness.add_checkpoint(body + (log.signed() if body.endswith(b"\n\n") else b"")).status == 400


def test_400_for_an_old_size_above_the_checkpoint(witness: Witness, log: Log) -> None:
    assert witness.add_checkpoint(Request(11, (), log.signed()).format()).status == 400


def test_404_for_an_unknown_log(witness: Witness) -> None:
    stranger = SigningKey("log.example/stranger", b"\x06" * 32)
    data = sign(Checkpoint(stranger.name, 0, merkle.EMPTY_ROOT), [stranger])
    assert witness.add_checkpoint(Request(0, (), data).format()).status == 404


def test_403_without_a_known_signature_and_for_a_bad_one(witness: Witness, log: Log) -> None:
    stranger = SigningKey(ORIGIN, b"\x06" * 32)
    unsigned = sign(log.checkpoint, [stranger])
    bad = note.sign(log.checkpoint.body(), [], [note.Signature(ORIGIN, KEY.key_id, bytes(64))])
    assert witness.add_checkpoint(Request(0, (), unsigned).format()).status == 403
    assert witness.add_checkpoint(Request(0, (), bad).format()).status == 403


def test_409_with_the_size_for_another_old_size(witness: Witness, log: Log) -> None:
    first = witness.add_checkpoint(request(log, 3))
    witness.add_checkpoint(request(log, 0))
    later = witness.add_checkpoint(request(log, 3))
    assert [(a.status, a.content_type, a.body) for a in (first, later)] == [
        (409, "text/x.tlog.size", b"0\n"),
        (409, "text/x.tlog.size", b"10\n"),
    ]


def test_422_for_a_fork_of_the_same_size(tmp_path: Path, witness: Witness, log: Log) -> None:
    witness.add_checkpoint(request(log, 0))
    fork = Log(tmp_path / "fork")
    fork.append(entries_of(10, "fork"))
    assert witness.add_checkpoint(request(fork, 10)).status == 422


def test_422_for_a_proof_that_does_not_verify(tmp_path: Path, witness: Witness, log: Log) -> None:
    witness.add_checkpoint(request(log, 0))
    fork = Log(tmp_path / "fork")
    fork.append(entries_of(20, "fork"))
    assert witness.add_checkpoint(request(fork, 10)).status == 422
    log.append(entries_of(5))
    assert witness.add_checkpoint(Request(10, (), log.signed()).format()).status == 422


def test_422_for_a_proof_from_nothing_and_for_an_empty_tree_with_a_root(witness: Witness, log: Log) -> None:
    assert witness.add_checkpoint(Request(0, (bytes(32),), log.signed()).format()).status == 422
    empty = sign(Checkpoint(ORIGIN, 0, bytes(32)), [KEY])
    assert witness.add_checkpoint(Request(0, (), empty).format()).status == 422


def test_a_refusal_changes_nothing(tmp_path: Path, witness: Witness, log: Log) -> None:
    witness.add_checkpoint(request(log, 0))
    before = {path: path.read_bytes() for path in (tmp_path / "witness").rglob("checkpoint")}
    fork = Log(tmp_path / "fork")
    fork.append(entries_of(20, "fork"))
    witness.add_checkpoint(request(fork, 10))
    assert {path: path.read_bytes() for path in (tmp_path / "witness").rglob("checkpoint")} == before


class Failing(FolderStore):
    """Fails in the middle of a swap: before it is durable, or after."""

    after = False

    def swap(self, name: str, expected: Versioned | None, data: bytes) -> Versioned:
        if self.after:
            super().swap(name, expected, data)
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("after", [False, True])
def test_nothing_is_answered_that_may_not_be_durable(tmp_path: Path, log: Log, after: bool) -> None:
    store = Failing(tmp_path / "witness")
    store.after = after
    with pytest.raises(OSError, match="No space"):
        Witness(store, COSIGNER, [KEY.verifier]).add_checkpoint(request(log, 0))
    again = Witness(FolderStore(tmp_path / "witness"), COSIGNER, [KEY.verifier])
    assert again.add_checkpoint(request(log, 10 if after else 0)).status == 200


def test_500_when_it_cannot_keep_what_it_would_cosign(log: Log, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FolderStore, "swap", Failing.swap)
    monkeypatch.setattr(FolderStore, "after", False, raising=False)
    with pytest.raises(WitnessError) as caught:
        add_checkpoint(url, 0, log.consistency, log.signed(), [COSIGNER.verifier])
    assert caught.value.status == 500


class Overtaken(FolderStore):
    """Somebody else swaps between this reader's look and its swap."""

    def swap(self, name: str, expected: Versioned | None, data: bytes) -> Versioned:
        FolderStore.swap(self, name, expected, data)
        raise MovedError(name, None, data)


def test_409_for_the_one_that_comes_second(tmp_path: Path, log: Log) -> None:
    witness = Witness(Overtaken(tmp_path / "witness"), COSIGNER, [KEY.verifier])
    assert witness.add_checkpoint(request(log, 0)).body == b"10\n"


def test_of_two_forks_at_once_one_is_cosigned(tmp_path: Path, witness: Witness) -> None:
    forks = [Log(tmp_path / f"fork{n}") for n in range(8)]
    for number, fork in enumerate(forks):
        fork.append(entries_of(10, str(number)))
    statuses: list[int] = []

    def ask(body: bytes) -> None:
        statuses.append(witness.add_checkpoint(body).status)

    threads = [threading.Thread(target=ask, args=(request(fork, 0),)) for fork in forks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [409] * 7


@pytest.fixture
def url(witness: Witness) -> Iterator[str]:
    with server(witness, ("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_address[1]}/w1"
        listening.shutdown()
        thread.join()


def test_the_client_gets_a_verified_cosignature(log: Log, url: str) -> None:
    found = add_checkpoint(url, 0, log.consistency, log.signed(), [COSIGNER.verifier])
    assert [signature.name for signature in found] == ["witness.example/w1"]


def test_the_client_learns_the_witness_s_size(log: Log, url: str) -> None:
    add_checkpoint(url, 0, log.consistency, log.signed(), [COSIGNER.verifier])
    log.append(entries_of(300))
    assert add_checkpoint(url, 5, log.consistency, log.signed(), [COSIGNER.verifier])


def test_the_client_says_that_its_log_went_back(tmp_path: Path, log: Log, url: str) -> None:
    add_checkpoint(url, 0, log.consistency, log.signed(), [COSIGNER.verifier])
    restored = Log(tmp_path / "restored")
    restored.append(entries_of(5))
    with pytest.raises(WitnessError) as caught:
        add_checkpoint(url, 5, restored.consistency, restored.signed(), [COSIGNER.verifier])
    assert (caught.value.status, caught.value.size) == (409, 10)


def test_the_client_says_that_its_log_forked(tmp_path: Path, log: Log, url: str) -> None:
    add_checkpoint(url, 0, log.consistency, log.signed(), [COSIGNER.verifier])
    fork = Log(tmp_path / "fork")
    fork.append(entries_of(20, "fork"))
    with pytest.raises(WitnessError) as caught:
        add_checkpoint(url, 10, fork.consistency, fork.signed(), [COSIGNER.verifier])
    assert caught.value.status == 422


def test_the_client_believes_known_witnesses_alone(log: Log, url: str) -> None:
    other = WitnessKey("witness.example/w1", bytes(32))
    with pytest.raises(WitnessError, match="none of its cosignatures"):
        add_checkpoint(url, 0, log.consistency, log.signed(), [other])


def test_the_client_refuses_a_bad_cosignature(log: Log, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cosigner, "sign", lambda self, text: bytes(7) + b"\x01" + bytes(64))
    with pytest.raises(SignatureError, match="known witness"):
        add_checkpoint(url, 0, log.consistency, log.signed(), [COSIGNER.verifier])


def test_a_monitor_reads_what_was_cosigned_last(log: Log, url: str, witness: Witness) -> None:
    name = hashlib.sha256(ORIGIN.encode()).hexdigest()
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{url}/{name}/checkpoint", timeout=5)
    assert caught.value.code == 404
    caught.value.close()
    witness.add_checkpoint(request(log, 0))
    with urllib.request.urlopen(f"{url}/{name}/checkpoint", timeout=5) as answer:
        data = answer.read()
    assert open_checkpoint(data, ORIGIN, [KEY.verifier]).checkpoint == log.checkpoint
    assert note.open_note(data, [COSIGNER.verifier]).verified


def test_another_page_and_a_body_without_length_are_refused(url: str) -> None:
    for path, data, code in (("/add-something", b"x", 404), ("/add-checkpoint", b"x" * 300_000, 413)):
        with pytest.raises((urllib.error.HTTPError, ConnectionError, urllib.error.URLError)) as caught:
            urllib.request.urlopen(f"{url}{path}", data=data, timeout=5)
        if isinstance(caught.value, urllib.error.HTTPError):
            assert caught.value.code == code
            caught.value.close()


def test_the_witness_as_a_process_forgets_nothing_when_killed(tmp_path: Path, log: Log) -> None:
    key, command = tmp_path / "key", [sys.executable, "-m", "audit.witness", "--key"]
    made = subprocess.run(
        [*command, key, "--new-key", "witness.example/w2"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    vkey = WitnessKey.parse(made.stdout.strip())
    assert key.stat().st_mode & 0o777 == 0o600
    options = [
        *command,
        str(key),
        "--folder",
        str(tmp_path / "w2"),
        "--log",
        str(KEY.verifier),
        "--listen",
        "127.0.0.1:0",
    ]
    for turn in range(2):
        with subprocess.Popen(options, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            address = process.stdout.readline().split()[-1]
            old = 10 * turn
            assert add_checkpoint(f"http://{address}", old, log.consistency, log.signed(), [vkey], 5)
            os.kill(process.pid, signal.SIGKILL)
        log.append(entries_of(10))
