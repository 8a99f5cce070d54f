"""c2sp.org/tlog-proof@v1."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.checkpoint import sign
from audit.cosignature import Cosigner, Quorum
from audit.errors import FormatError, LogError, ProofError, QuorumError, UnsignedError
from audit.note import SigningKey
from audit.proof import Proof
from tests.audit.formats.logs import KEY, ORIGIN, Log, entries_of

KEYS = [KEY.verifier]
WITNESS = Cosigner(SigningKey("witness.example/w", b"\x09" * 32))


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    log = Log(tmp_path_factory.mktemp("log"))
    log.append(entries_of(300))
    return log


@pytest.mark.parametrize("index", [0, 1, 255, 256, 299])
def test_a_proof_verifies_offline(log: Log, index: int) -> None:
    data = log.proof(index).format()
    opened = Proof.parse(data).verify(log.entries[index], ORIGIN, KEYS)
    assert opened.checkpoint == log.checkpoint


def test_the_file_is_laid_out_as_specified(log: Log) -> None:
    proof = replace(log.proof(256), extra=b"\x00\x01")
    lines = proof.format().decode().split("\n")
    assert lines[:3] == ["c2sp.org/tlog-proof@v1", "extra AAE=", "index 256"]
    assert [len(line) for line in lines[3 : 3 + len(proof.hashes)]] == [44] * len(proof.hashes)
    assert lines[3 + len(proof.hashes) : 6 + len(proof.hashes)] == ["", ORIGIN, "300"]
    assert Proof.parse(proof.format()) == proof


def test_a_log_of_one_entry_needs_no_hashes(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.append([b"only"])
    proof = Proof.parse(log.proof(0).format())
    assert proof.hashes == ()
    proof.verify(b"only", ORIGIN, KEYS)


@pytest.mark.parametrize("entry", [b"", b"another", b'{"seq":8,"of":""}'])
def test_another_entry_is_not_proven(log: Log, entry: bytes) -> None:
    with pytest.raises(ProofError) as caught:
        log.proof(7).verify(entry, ORIGIN, KEYS)
    assert caught.value.index == 7


@pytest.mark.parametrize("index", [6, 8, 300, 2**62])
def test_another_index_is_not_proven(log: Log, index: int) -> None:
    with pytest.raises(ProofError):
        replace(log.proof(7), index=index).verify(log.entries[7], ORIGIN, KEYS)


def test_another_key_and_another_origin_are_not_believed(log: Log) -> None:
    stranger = SigningKey(ORIGIN, b"\x0a" * 32)
    with pytest.raises(UnsignedError):
        log.proof(7).verify(log.entries[7], ORIGIN, [stranger.verifier])
    with pytest.raises(FormatError):
        log.proof(7).verify(log.entries[7], "log.example/other", KEYS)


def test_witnesses_are_asked_for_by_policy(log: Log) -> None:
    quorum = Quorum((WITNESS.verifier,), 1)
    with pytest.raises(QuorumError):
        log.proof(7).verify(log.entries[7], ORIGIN, KEYS, quorum)
    cosigned = replace(log.proof(7), checkpoint=sign(log.checkpoint, [KEY, WITNESS]))
    cosigned.verify(log.entries[7], ORIGIN, KEYS, quorum)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_every_flipped_bit_of_a_proof_is_noticed(log: Log, data: st.DataObject) -> None:
    damaged = bytearray(log.proof(7).format())
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(LogError):
        Proof.parse(bytes(damaged)).verify(log.entries[7], ORIGIN, KEYS)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"c2sp.org/tlog-proof@v1\n", b"c2sp.org/tlog-proof@v2\n"),
        (b"c2sp.org/tlog-proof@v1\n", b"\nc2sp.org/tlog-proof@v1\n"),
        (b"index 7\n", b""),
        (b"index 7\n", b"index 07\n"),
        (b"index 7\n", b"index -7\n"),
        (b"index 7\n", b"index 7\nextra AAE=\n"),
        (b"index 7\n", b"extra A\nindex 7\n"),
        (b"index 7\n", b"index 7\nAAE=\n"),
        (b"index 7\n", b"index 7\r\n"),
        (b"index 7\n", b"index 7\n" + (b"A" * 43 + b"=\n") * 64),
        (b"\n\n", b"\n"),
    ],
)
def test_what_is_not_a_proof_is_refused(log: Log, old: bytes, new: bytes) -> None:
    with pytest.raises(FormatError):
        Proof.parse(log.proof(7).format().replace(old, new))
