"""Secrets of AWS: the current version is read, gateways alone get it, and rotated means that another one is current."""

import json
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import httpx
import pytest

from sessions.models import Credential
from sessions.providers.aws_secrets import AwsSecrets
from sessions.providers.aws_secrets_api import Account, SecretsApi, Versions
from sessions.providers.contract import CredentialError, Held, Intent
from tests.sessions.providers import programs
from tests.sessions.providers.secrets_far_end import ACCOUNT, REGION

CANARY = "canary-pg-5b1e77"
INJECT = {"type": "aws-secret", "locations": ["aws-secret:prod/shop-db"], "actions": ["inject"]}
ROLE = f"arn:aws:iam::{ACCOUNT}:role/drawbridge"


class FarEnd:
    """The program, and a client of it that is not the provider's."""

    def __init__(self, url: str, function: str) -> None:
        self.url, self.function = url, function
        keys = {"aws_access_key_id": "AKIATESTTESTTEST0000", "aws_secret_access_key": "test"}
        self.client = boto3.client("secretsmanager", region_name=REGION, endpoint_url=self.url, **keys)

    def secret(self, value: str = CANARY, rotates: bool = False) -> str:
        """The name of a new one."""
        name = f"prod/{uuid.uuid4().hex}"
        self.client.create_secret(Name=name, SecretString=value)
        if rotates:
            self.client.rotate_secret(SecretId=name, RotationLambdaARN=self.function, RotateImmediately=False)
        return name

    def end_rotation(self, name: str) -> None:
        """What the function does last."""
        stages = self.client.describe_secret(SecretId=name)["VersionIdsToStages"]
        [pending] = [version for version, its in stages.items() if its == ["AWSPENDING"]]
        [current] = [version for version, its in stages.items() if "AWSCURRENT" in its]
        self.client.put_secret_value(
            SecretId=name, ClientRequestToken=pending, SecretString="the next", VersionStages=["AWSPENDING"]
        )
        self.client.update_secret_version_stage(
            SecretId=name, VersionStage="AWSCURRENT", MoveToVersionId=pending, RemoveFromVersionId=current
        )

    def fail(self, *faults: tuple[int, str]) -> None:
        httpx.post(f"{self.url}/faults", json=faults, trust_env=False)

    def seen(self, operation: str) -> list[str]:
        """The keys that signed it."""
        return [key for name, key in httpx.get(f"{self.url}/seen", trust_env=False).json() if name == operation]


@pytest.fixture(scope="module")
def running() -> Iterator[FarEnd]:
    with programs.running("secrets_far_end") as (url, printed):
        yield FarEnd(url, printed["function"])


@pytest.fixture
def far(running: FarEnd) -> Iterator[FarEnd]:
    yield running
    running.fail()


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAWORKERWORKER0000")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "worker")


def made(url: str, secret: str, left: list[str] | None = None, role_arn: str = "", **changed: Any) -> AwsSecrets:
    """A provider with one secret, `left` the gateways that still pass it on."""
    entry = {"region": REGION, "role_arn": role_arn, "secrets": {"shop-db": {"id": secret, **changed}}}
    return AwsSecrets({"prod": SecretsApi(Account.of(entry), 2, url)}, lambda session: left or [])


def intent() -> Intent:
    return Intent(f"dbr_{uuid.uuid4().hex}", [INJECT], 900, {"agent_session": str(uuid.uuid4())})


def minted(provider: AwsSecrets) -> Held:
    asked = intent()
    recorded: list[Mapping[str, Any]] = []
    got = provider.mint(asked, recorded.append)
    assert recorded[0]["agent_session"] == asked.labels["agent_session"]
    assert recorded[1] == got.handle
    return Held(asked.name, asked.details, got.handle, got.secret)


def outcomes(provider: AwsSecrets, held: Held) -> dict[str, Any]:
    return {step.name: step.run() for step in provider.steps(held)}


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"limits": {}}, "An aws-secret object has no field 'limits'."),
        ({"locations": []}, "locations must be a list of 1 to 20 secrets."),
        (
            {"locations": ["aws-secret:prod/x"]},
            "'aws-secret:prod/x' is not a secret that is offered; there is aws-secret:prod/shop-db.",
        ),
        (
            {"locations": ["aws-secret:prod/shop-db\n"]},
            "'aws-secret:prod/shop-db\\n' is not a secret that is offered; there is aws-secret:prod/shop-db.",
        ),
        ({"locations": [5]}, "5 is not a secret that is offered; there is aws-secret:prod/shop-db."),
        ({"locations": INJECT["locations"] * 2}, "locations names a secret twice."),
        ({"actions": ["read"]}, 'actions must be ["inject"]: a secret is never handed over.'),
    ],
)
def test_problem_is_said_in_a_sentence(changed: dict[str, object], problem: str) -> None:
    assert list(made("", "shop").problems({**INJECT, **changed})) == [problem]


def test_without_settings_there_is_none() -> None:
    [problem] = AwsSecrets({}, lambda session: []).problems(INJECT)
    assert problem == "'aws-secret:prod/shop-db' is not a secret that is offered; there is none."


def test_the_lead_reads_whether_it_lives_on() -> None:
    kept, rotated = made("", "shop"), made("", "shop", rotate=True)
    [sentence] = kept.sentences(INJECT)
    assert sentence == (
        "The gateway may add the secret prod/shop-db of AWS Secrets Manager where a rule says so. "
        "The agent never gets it; it was not made for this session and lives on after it."
    )
    assert (kept.life([INJECT]).dies, kept.life([INJECT]).left) == ("at once", "The secret lives on.")
    [sentence] = rotated.sentences(INJECT)
    assert sentence.endswith("when the session ends, AWS is made to rotate it, for everybody who uses it.")
    assert rotated.life([INJECT]).dies == "at once at gateways, then by a rotation"


def test_each_secret_is_a_credential_of_its_own_whose_name_fits() -> None:
    longest = f"aws-secret:{'a' * 21}/{'b' * 31}"
    two = {**INJECT, "locations": ["aws-secret:prod/shop-db", longest]}
    slots = made("", "shop").slots([two])
    assert list(slots) == two["locations"]
    assert len(longest) == Credential._meta.get_field("slot").max_length
    assert slots[longest] == [{**INJECT, "locations": [longest]}]


def test_what_is_relied_on_is_in_the_model_of_the_service() -> None:
    model = botocore.session.get_session().get_service_model("secretsmanager")
    get, look, rotate = (model.operation_model(one) for one in ("GetSecretValue", "DescribeSecret", "RotateSecret"))
    assert {"SecretId", "VersionStage"} <= set(get.input_shape.members)
    assert {"ARN", "Name", "VersionId", "SecretString", "VersionStages", "CreatedDate"} <= set(get.output_shape.members)
    assert look.output_shape.members["VersionIdsToStages"].value.type_name == "list"
    assert rotate.input_shape.required_members == ["SecretId"]


def test_the_current_version_is_read_and_named(far: FarEnd) -> None:
    name = far.secret("an older one")
    far.client.put_secret_value(SecretId=name, SecretString=CANARY)
    got = made(far.url, name).mint(intent(), lambda handle: None)
    current = far.client.get_secret_value(SecretId=name)
    assert got.secret == {"type": "aws-secret", "value": CANARY}
    assert (got.handle["arn"], got.handle["version"]) == (current["ARN"], current["VersionId"])
    assert timedelta(hours=25) < got.expires_at - datetime.now(UTC) <= timedelta(hours=26)
    assert CANARY not in repr(got)


def test_age_is_that_of_the_last_change_without_reading_it(far: FarEnd) -> None:
    provider = made(far.url, far.secret())
    before = len(far.seen("GetSecretValue"))
    assert timedelta() <= datetime.now(UTC) - provider.since([INJECT]) < timedelta(minutes=5)
    assert len(far.seen("GetSecretValue")) == before


def test_a_secret_is_named_by_its_arn_too(far: FarEnd) -> None:
    arn = far.client.describe_secret(SecretId=far.secret())["ARN"]
    assert minted(made(far.url, arn)).secret == {"type": "aws-secret", "value": CANARY}


def test_one_field_of_it_is_given(far: FarEnd) -> None:
    name = far.secret(json.dumps({"username": "shop", "password": CANARY}))
    assert minted(made(far.url, name, field="password")).secret == {"type": "aws-secret", "value": CANARY}


@pytest.mark.parametrize("value", ['{"username": "x"}', '{"password": 5}', '{"password": ""}', "[]", "not JSON"])
def test_a_field_that_is_not_there_is_said_without_the_others(far: FarEnd, value: str) -> None:
    name = far.secret(value)
    with pytest.raises(CredentialError) as refused:
        minted(made(far.url, name, field="password"))
    assert str(refused.value) == f"The secret {name} of AWS holds no field password that holds text."
    assert (refused.value.permanent, refused.value.untouched) == (True, True)


def test_bytes_are_refused(far: FarEnd) -> None:
    name = f"prod/{uuid.uuid4().hex}"
    far.client.create_secret(Name=name, SecretBinary=b"\x00\x01")
    with pytest.raises(CredentialError, match="holds no text"):
        minted(made(far.url, name))


def test_a_role_is_assumed_for_each_call(far: FarEnd) -> None:
    minted(made(far.url, far.secret(), role_arn=ROLE))
    assert far.seen("GetSecretValue")[-1].startswith("ASIA")
    assert far.seen("Action=AssumeRole")[-1] == "AKIAWORKERWORKER0000"
    minted(made(far.url, far.secret()))
    assert far.seen("GetSecretValue")[-1] == "AKIAWORKERWORKER0000"


def test_a_secret_that_is_not_there_is_said(far: FarEnd) -> None:
    with pytest.raises(CredentialError, match="AWS has no such secret, or no current version") as refused:
        minted(made(far.url, "nowhere"))
    assert (refused.value.permanent, refused.value.untouched) == (True, True)


TOLD = {"ARN": "arn:aws:x:secret:shop-abcdef", "Name": "shop", "VersionId": "a" * 32, "VersionStages": ["AWSCURRENT"]}


@pytest.mark.parametrize("lie", [{"Name": "other", "ARN": "arn:aws:x:secret:other-abcdef"}, {"VersionStages": []}])
def test_another_secret_or_version_than_was_asked_for_is_not_taken(far: FarEnd, lie: dict[str, Any]) -> None:
    far.fail((200, json.dumps({**TOLD, "SecretString": CANARY, **lie})))
    with pytest.raises(CredentialError, match="another secret, or another version") as refused:
        minted(made(far.url, "shop"))
    assert refused.value.permanent


def test_what_a_far_end_says_in_full_is_taken(far: FarEnd) -> None:
    far.fail((200, json.dumps({**TOLD, "SecretString": CANARY})))
    assert minted(made(far.url, "shop")).handle["version"] == "a" * 32


@pytest.mark.parametrize(
    ("status", "text", "permanent", "said"),
    [
        (500, '{"__type": "InternalServiceError"}', False, "busy or failing (500)"),
        (503, "<html>", False, "busy or failing (503)"),
        (429, "", False, "busy or failing (429)"),
        (400, '{"__type": "ThrottlingException"}', False, "busy or failing (400)"),
        (400, '{"__type": "AccessDeniedException", "message": "canary"}', True, "does not let the worker read"),
        (400, '{"__type": "DecryptionFailure", "message": "canary"}', True, "AWS refused (DecryptionFailure)"),
        (400, '{"__type": "<script>canary"}', True, "AWS refused (400)"),
        (200, "<html>canary", False, "cannot be understood"),
        (200, "[]", False, "cannot be understood"),
        (200, '{"ARN": 5, "Name": "shop", "SecretString": "canary"}', False, "cannot be understood"),
        (200, '{"Name": "shop", "SecretString": "canary", "CreatedDate": "canary"}', False, "cannot be understood"),
    ],
)
def test_faults_are_told_apart(far: FarEnd, status: int, text: str, permanent: bool, said: str) -> None:
    far.fail(*[(status, text)] * 2)
    with pytest.raises(CredentialError) as refused:
        minted(made(far.url, "shop"))
    assert said in str(refused.value)
    assert (refused.value.permanent, refused.value.untouched) == (permanent, True)
    assert "canary" not in str(refused.value)


def test_silence_is_said() -> None:
    with pytest.raises(CredentialError, match="AWS does not answer") as away:
        minted(made("http://127.0.0.1:9", "shop"))
    assert (away.value.silent, away.value.untouched) == (True, True)


def test_a_worker_without_keys_is_told(far: FarEnd, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(Path("/nonexistent")))
    with pytest.raises(CredentialError, match="The worker has no keys of AWS"):
        minted(made(far.url, "shop"))


@pytest.mark.parametrize(("left", "done"), [([], True), (["gw-1", "gw-2"], False)])
def test_without_rotation_the_gateways_cut_is_all(far: FarEnd, left: list[str], done: bool) -> None:
    provider = made(far.url, far.secret(), left)
    [step] = provider.steps(minted(provider))
    assert (step.name, step.kind, step.run().done) == ("gateways", "revoke", done)
    assert step.run().evidence == {"still_passing": ", ".join(left) or "no gateway"}


def test_a_rotation_is_started_once_and_done_when_another_version_is_current(far: FarEnd) -> None:
    name = far.secret(rotates=True)
    provider = made(far.url, name, rotate=True)
    held = minted(provider)
    rotations = len(far.seen("RotateSecret"))
    first, second = outcomes(provider, held), outcomes(provider, held)
    assert [list(each) for each in (first, second)] == [["gateways", "rotate"]] * 2
    assert (first["rotate"].evidence["answer"], first["rotate"].done) == ("a rotation was started", False)
    assert (second["rotate"].evidence["answer"], second["rotate"].done) == ("a rotation is under way", False)
    far.end_rotation(name)
    third = outcomes(provider, held)
    assert [one.done for one in third.values()] == [True, True]
    assert third["rotate"].evidence["current"] != held.handle["version"]
    assert len(far.seen("RotateSecret")) == rotations + 1


def test_two_sessions_of_one_version_rotate_it_once(far: FarEnd) -> None:
    name = far.secret(rotates=True)
    provider = made(far.url, name, rotate=True)
    one, other = minted(provider), minted(provider)
    outcomes(provider, one)
    far.end_rotation(name)
    rotations = len(far.seen("RotateSecret"))
    assert all(each.done for each in outcomes(provider, other).values())
    assert len(far.seen("RotateSecret")) == rotations


def test_a_rotation_that_is_over_is_not_called_under_way() -> None:
    assert [Versions("a", pending).under_way for pending in ("", "a", "b")] == [False, False, True]
    assert [Versions(current, "").replaced("a") for current in ("", "a", "b")] == [False, False, True]


def test_a_secret_that_cannot_be_rotated_is_never_called_rotated(far: FarEnd) -> None:
    provider = made(far.url, far.secret(), rotate=True)
    steps = {step.name: step for step in provider.steps(minted(provider))}
    with pytest.raises(CredentialError, match=r"AWS refused .InvalidRequestException.: we could not rotate"):
        steps["rotate"].run()
    assert steps["gateways"].run().done


@pytest.mark.parametrize("answer", ["{}", '{"VersionIdsToStages": []}', "<html>"])
def test_versions_that_cannot_be_understood_prove_nothing(far: FarEnd, answer: str) -> None:
    provider = made(far.url, far.secret(), rotate=True)
    held = minted(provider)
    for step in provider.steps(held)[1:]:
        far.fail((200, answer))
        with pytest.raises(CredentialError, match="cannot be understood"):
            step.run()


def test_a_version_that_was_never_kept_is_not_rotated(far: FarEnd) -> None:
    provider = made(far.url, far.secret(rotates=True), rotate=True)
    asked = intent()
    crashed = Held(asked.name, asked.details, {"agent_session": str(uuid.uuid4()), "rotate": True}, None)
    assert list(outcomes(provider, crashed)) == ["gateways"]
    assert list(outcomes(provider, Held(asked.name, asked.details, {}, None))) == ["gateways"]


def test_what_was_promised_is_held_when_the_settings_change(far: FarEnd) -> None:
    name = far.secret(rotates=True)
    held = minted(made(far.url, name, rotate=True))
    assert "rotate" in outcomes(made(far.url, name), held)
    steps = {step.name: step for step in AwsSecrets({}, lambda session: []).steps(held)}
    assert steps["gateways"].run().done
    with pytest.raises(CredentialError, match="not in AWS_SECRETS any more") as gone:
        steps["rotate"].run()
    assert not gone.value.permanent
    with pytest.raises(CredentialError, match="not in AWS_SECRETS any more"):
        AwsSecrets({}, lambda session: []).mint(intent(), lambda handle: None)
