"""Time-stamps of a real authority, `openssl ts`: asked for, checked, and refused."""

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from audit.errors import FormatError, ProofError, UnreachableError
from audit.timestamping import request_timestamp, verify_timestamp
from audit.verify_evidence import verify_evidence
from tests.audit.evidence import papers
from tests.audit.evidence.authority import Authority, served
from tests.audit.evidence.papers import Log

MESSAGE = b"a checkpoint"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("tsa") / "authority")


@pytest.fixture
def authority(made: Authority) -> Iterator[Authority]:
    with served(Authority(made.folder)) as one:
        yield one


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("tsa") / "stranger")


def test_stamp_verifies_under_the_authoritys_root(authority: Authority) -> None:
    answer = request_timestamp(MESSAGE, authority.url)
    at = verify_timestamp(answer, MESSAGE, authority.roots)
    assert abs(at - datetime.now(UTC)) < timedelta(minutes=1)
    assert authority.asked == ["application/timestamp-query"]


def test_openssl_agrees(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.tsr").write_bytes(request_timestamp(MESSAGE, authority.url))
    (tmp_path / "checkpoint").write_bytes(MESSAGE)
    command = ["openssl", "ts", "-verify", "-in", "checkpoint.tsr", "-data", "checkpoint"]
    command += ["-CAfile", str(authority.folder / "ca.pem")]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert (ended.returncode, "Verification: OK" in ended.stdout + ended.stderr) == (0, True)


def test_stamp_of_other_bytes_is_refused(authority: Authority) -> None:
    answer = request_timestamp(MESSAGE, authority.url)
    with pytest.raises(ProofError, match="the time-stamp does not verify"):
        verify_timestamp(answer, b"another checkpoint", authority.roots)


def test_stamp_of_another_authority_is_refused(authority: Authority, stranger: Authority) -> None:
    answer = request_timestamp(MESSAGE, authority.url)
    with pytest.raises(ProofError, match="the time-stamp does not verify"):
        verify_timestamp(answer, MESSAGE, stranger.roots)


@pytest.mark.parametrize("at", [40, -40])
def test_altered_stamp_is_refused(authority: Authority, at: int) -> None:
    answer = bytearray(request_timestamp(MESSAGE, authority.url))
    answer[at] ^= 1
    with pytest.raises(ProofError):
        verify_timestamp(bytes(answer), MESSAGE, authority.roots)


def test_answer_to_an_earlier_question_is_refused(authority: Authority) -> None:
    """The same bytes: the nonce tells."""
    authority.answer = request_timestamp(MESSAGE, authority.url)
    with pytest.raises(FormatError, match="answered another question"):
        request_timestamp(MESSAGE, authority.url)


@pytest.mark.parametrize("answer", [b"", b"<html>", b"0" * 70_000])
def test_answer_that_is_no_stamp_is_refused(authority: Authority, answer: bytes) -> None:
    authority.answer = answer
    with pytest.raises(FormatError):
        request_timestamp(MESSAGE, authority.url)


def test_refusal_of_the_authority_is_said(authority: Authority) -> None:
    """openssl refuses what is no question, with an answer in the right form."""
    authority.answer = authority.stamp(b"nonsense")
    with pytest.raises(FormatError, match="the time-stamp authority refused"):
        request_timestamp(MESSAGE, authority.url)


def test_status_that_is_no_answer_is_said(authority: Authority) -> None:
    authority.status = 503
    with pytest.raises(UnreachableError, match="answered 503"):
        request_timestamp(MESSAGE, authority.url)


def test_authority_that_is_away_is_said(authority: Authority) -> None:
    with pytest.raises(UnreachableError, match=r"http://127.0.0.1:1/ did not answer"):
        request_timestamp(MESSAGE, "http://127.0.0.1:1/")


def test_certificates_that_are_none_are_refused(authority: Authority) -> None:
    with pytest.raises(FormatError, match="not certificates"):
        verify_timestamp(request_timestamp(MESSAGE, authority.url), MESSAGE, b"nothing")


def test_evidence_with_a_stamp_says_when(authority: Authority, log: Log, tmp_path: Path) -> None:
    path, stamped = tmp_path / "stamped.zip", {"authority": authority.url}
    answer = request_timestamp(log.signed().data, authority.url)
    papers.write(path, log, log.items()[1:4], timestamp=answer, timestamp_said=stamped)
    found = verify_evidence(path, log.policy, authorities=authority.roots)
    assert found.stamped_at is not None
    assert b"openssl ts -verify -in checkpoint.tsr" in papers.read(path)["README.txt"]


def test_evidence_without_a_stamp_is_refused_where_one_is_wanted(authority: Authority, file: Path, log: Log) -> None:
    with pytest.raises(ProofError, match="no time-stamp"):
        verify_evidence(file, log.policy, authorities=authority.roots)


def test_evidence_with_the_stamp_of_another_checkpoint_is_refused(
    authority: Authority, log: Log, tmp_path: Path
) -> None:
    path = tmp_path / "stamped.zip"
    papers.write(path, log, log.items()[1:4], timestamp=request_timestamp(MESSAGE, authority.url))
    with pytest.raises(ProofError, match="the time-stamp does not verify"):
        verify_evidence(path, log.policy, authorities=authority.roots)
