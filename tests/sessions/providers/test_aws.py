"""Sessions of AWS: started narrowly, denied by name, called dead only when their own keys are refused."""

import json
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from django.db import connection

from sessions.locks import locked
from sessions.providers import aws_policy
from sessions.providers.aws import Aws
from sessions.providers.aws_api import AwsApi, Role
from sessions.providers.contract import CredentialError, Held, Intent, Minted
from tests.sessions.providers import programs
from tests.sessions.providers.aws_far_end import ACCOUNT, ROLE
from tests.sessions.providers.test_aws_policy import READ

ARN = f"arn:aws:iam::{ACCOUNT}:role/{ROLE}"


@pytest.fixture(scope="module")
def far_end() -> Iterator[str]:
    with programs.running("aws_far_end") as (url, _):
        yield url


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAWORKERWORKER0000")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "worker")


def unlocked(_: str) -> AbstractContextManager[None]:
    return nullcontext()


@pytest.fixture
def api(far_end: str) -> Iterator[AwsApi]:
    made = AwsApi(Role(ARN, "eu-central-1", external_id="drawbridge"), 5, far_end)
    yield made
    made.delete_inline_policy(aws_policy.DENY_POLICY)


@pytest.fixture
def provider(api: AwsApi) -> Aws:
    return Aws("aws", "aws", {"reports": api}, unlocked)


def intent(**labels: str) -> Intent:
    name = f"dbr_{uuid.uuid4().hex}"
    known = {"agent_session": str(uuid.uuid4()), "agent": str(uuid.uuid4()), "grant_hash": "ab" * 32}
    return Intent(name, [READ], 300, {**known, **labels})


def minted(provider: Aws) -> tuple[Held, Minted]:
    recorded: list[Mapping[str, Any]] = []
    asked = intent()
    made = provider.mint(asked, recorded.append)
    assert recorded[0]["session"] == asked.name
    return Held(asked.name, asked.details, made.handle, made.secret), made


def outcomes(provider: Aws, held: Held) -> dict[str, Any]:
    return {step.name: step.run() for step in provider.steps(held)}


def test_a_session_lives_at_least_fifteen_minutes_and_says_who_it_is(provider: Aws) -> None:
    held, made = minted(provider)
    left = made.expires_at - datetime.now(UTC)
    assert timedelta(minutes=14) < left <= timedelta(minutes=15, seconds=5)
    assert made.secret["access_key_id"].startswith("ASIA")
    assert held.handle["user_id"].endswith(f":{held.name}")
    assert held.handle["probe"] == "allowed"


def test_what_is_sent_is_what_was_approved(provider: Aws, api: AwsApi, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, Any]] = []
    assume = api.assume
    monkeypatch.setattr(api, "assume", lambda parameters: sent.append(dict(parameters)) or assume(parameters))
    held, _ = minted(provider)
    [asked] = sent
    assert asked["RoleSessionName"] == asked["SourceIdentity"] == held.name
    assert asked["Policy"] == aws_policy.session_policy([READ])
    assert (asked["DurationSeconds"], asked["ExternalId"]) == (900, "drawbridge")
    assert {tag["Key"] for tag in asked["Tags"]} == {"agent_session", "agent", "grant"}


def test_a_kill_denies_this_session_and_no_other(provider: Aws, api: AwsApi) -> None:
    held, _ = minted(provider)
    other, _ = minted(provider)
    found = outcomes(provider, held)
    assert [one.done for one in found.values()] == [True, True]
    assert found["probe"].evidence == {"call": "ec2:DescribeRegions", "answer": "denied"}
    assert api.probe(other.secret or {}) == "allowed"
    assert [one.done for one in outcomes(provider, held).values()] == [True, True]


def test_it_is_not_called_revoked_while_its_keys_still_work(
    provider: Aws, api: AwsApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, _ = minted(provider)
    monkeypatch.setattr(api, "put_inline_policy", lambda name, document: None)
    assert [one.done for one in outcomes(provider, held).values()] == [False, False]


def test_what_cannot_be_tried_is_left_to_die_by_itself(provider: Aws, api: AwsApi) -> None:
    held, _ = minted(provider)
    without = Held(held.name, held.details, {**held.handle, "probe": "denied"}, held.secret)
    assert outcomes(provider, without)["deny"].done is False
    assert held.handle["user_id"] in json.dumps(api.inline_policy(aws_policy.DENY_POLICY))


def test_a_crash_before_the_answer_leaves_a_name_by_which_it_is_denied(provider: Aws, api: AwsApi) -> None:
    held, made = minted(provider)
    lost = Held(held.name, held.details, {}, made.secret)
    [deny, _] = outcomes(provider, lost).values()
    assert deny.evidence["denied"] == held.handle["user_id"]
    assert api.probe(made.secret) == "denied"


def test_denies_are_forgotten_when_their_sessions_are_over(provider: Aws, api: AwsApi) -> None:
    held, _ = minted(provider)
    outcomes(provider, held)
    assert provider.tidy(datetime.now(UTC)) == 0
    assert provider.tidy(datetime.now(UTC) + timedelta(hours=2)) == 1
    assert api.inline_policy(aws_policy.DENY_POLICY) is None


def test_a_policy_that_is_full_is_said_and_tried_again(
    provider: Aws, api: AwsApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, _ = minted(provider)
    monkeypatch.setattr(aws_policy, "LONGEST_INLINE", 10)
    with pytest.raises(CredentialError, match="is full") as refused:
        outcomes(provider, held)
    assert not refused.value.permanent


def test_what_fails_for_a_moment_is_tried_again_and_what_cannot_help_is_not(provider: Aws, far_end: str) -> None:
    httpx.post(f"{far_end}/faults/1", trust_env=False)
    with pytest.raises(CredentialError, match="AWS cannot be asked") as passing:
        minted(provider)
    assert not passing.value.permanent
    silent = Aws("aws", "aws", {"reports": AwsApi(Role(ARN, "eu-central-1"), 1, "http://127.0.0.1:9")}, unlocked)
    with pytest.raises(CredentialError, match="does not answer") as away:
        minted(silent)
    assert away.value.silent


def test_a_worker_without_keys_is_told(far_end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    with pytest.raises(CredentialError, match="The worker has no keys of AWS"):
        minted(Aws("aws", "aws", {"reports": AwsApi(Role(ARN, "eu-central-1"), 5, far_end)}, unlocked))


def test_a_role_that_was_taken_out_is_said(provider: Aws) -> None:
    held, _ = minted(provider)
    empty = Aws("aws", "aws", {}, unlocked)
    with pytest.raises(CredentialError, match="not in AWS_ROLES any more"):
        empty.steps(held)


def test_the_worker_may_show_a_token_of_its_platform(far_end: str, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("eyJ.platform.token\n")
    role = Role(ARN, "eu-central-1", web_identity_token_file=str(tmp_path / "token"))
    _, made = minted(Aws("aws", "aws", {"reports": AwsApi(role, 5, far_end)}, unlocked))
    assert made.secret["session_token"]


def test_each_region_has_its_own_endpoint() -> None:
    client = AwsApi(Role(ARN, "eu-central-1"), 5)._client("sts")
    assert client.meta.endpoint_url == "https://sts.eu-central-1.amazonaws.com"


def test_two_workers_do_not_change_one_policy_at_once(committed: None) -> None:
    order: list[str] = []

    @contextmanager
    def noted(name: str) -> Iterator[None]:
        with locked(name):
            order.append("in")
            yield
            order.append("out")

    def other() -> None:
        with noted("role"):
            pass
        connection.close()

    with noted("role"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(0.3)
        assert order == ["in"]
    thread.join(5)
    assert order == ["in", "out", "in", "out"]
