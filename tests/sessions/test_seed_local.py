"""The first people, the rehearsal agent and its profile: made once, found again, private."""

import json
import stat
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from audit.models import Event
from sessions.models import Agent, AgentKey, Gateway, Person, Profile, ProfileVersion, Team
from sessions.tokens import AGENT_KEY, GATEWAY_TOKEN, digest, well_formed


@pytest.fixture
def files(db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    people, key = tmp_path / "people.json", tmp_path / "secrets" / "key"
    monkeypatch.setenv("PEOPLE_FILE", str(people))
    monkeypatch.setenv("DRAWBRIDGE_AGENT_KEY_FILE", str(key))
    monkeypatch.setenv("GATEWAY_TOKEN_FILE", str(tmp_path / "gateway-token"))
    seed(tmp_path)
    return people, key


def seed(tmp_path: Path) -> None:
    with (tmp_path / "said").open("w") as said:
        call_command("seed_local", stdout=said)


def test_everybody_can_sign_in_with_what_the_file_says(files: tuple[Path, Path]) -> None:
    people = json.loads(files[0].read_text())

    assert [one["role"] for one in people] == ["lead", "security", "auditor", "admin", "requester"]
    for one in people:
        assert Person.objects.get(email=one["email"]).check_password(one["password"])
        assert one["name"]


def test_files_are_private(files: tuple[Path, Path]) -> None:
    assert [stat.S_IMODE(path.stat().st_mode) for path in files] == [0o600, 0o600]


def test_the_agent_has_the_key_of_the_file(files: tuple[Path, Path]) -> None:
    key = files[1].read_text()
    agent = Agent.objects.get(name="rehearsal", team__slug="platform")

    assert well_formed(key, AGENT_KEY)
    assert AgentKey.objects.get(agent=agent, revoked_at=None).digest == digest(key)
    assert (agent.owner.email, agent.framework) == ("requester@example.test", "other")


def test_the_profile_is_published_by_another_than_its_author(files: tuple[Path, Path]) -> None:
    version = Profile.objects.get(slug="warehouse-orders", team__slug="platform").current

    assert version is not None
    assert (version.proposed_by.email, version.published_by.email) == ("admin@example.test", "lead@example.test")
    assert version.content["limits"]["credential_ttl"] == 900


def test_a_second_run_changes_nothing(files: tuple[Path, Path], tmp_path: Path) -> None:
    before = [path.read_text() for path in files], Event.objects.count(), Person.objects.count()
    seed(tmp_path)

    assert before == ([path.read_text() for path in files], Event.objects.count(), Person.objects.count())
    counted = Team.objects.filter(slug="platform"), ProfileVersion.objects.filter(profile__team__slug="platform")
    assert [rows.count() for rows in counted] == [1, 2]
    assert Gateway.objects.filter(name__startswith="local").count() == 1


def test_lost_files_are_made_anew(files: tuple[Path, Path], tmp_path: Path) -> None:
    old_key = files[1].read_text()
    for path in files:
        path.unlink()
    seed(tmp_path)

    assert files[1].read_text() != old_key
    assert AgentKey.objects.get(digest=digest(old_key)).revoked_at is not None
    for one in json.loads(files[0].read_text()):
        assert Person.objects.get(email=one["email"]).check_password(one["password"])


def test_the_gateway_has_the_token_of_the_file(files: tuple[Path, Path], tmp_path: Path) -> None:
    token = (tmp_path / "gateway-token").read_text()
    assert well_formed(token, GATEWAY_TOKEN)
    assert Gateway.objects.get(token_digest=digest(token)).name == "local"
    assert stat.S_IMODE((tmp_path / "gateway-token").stat().st_mode) == 0o600


def test_a_lost_token_retires_its_gateway(files: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "gateway-token").unlink()
    seed(tmp_path)
    found = Gateway.objects.filter(name__startswith="local").order_by("created_at")
    assert [(one.name, one.retired_at is None) for one in found] == [("local", False), ("local-2", True)]


def test_the_sandboxed_profile_reaches_the_sample_database_alone(files: tuple[Path, Path]) -> None:
    version = Profile.objects.get(slug="warehouse-sandboxed").current
    assert version is not None
    [forward] = [each for each in version.content["authorization_details"] if each["type"] == "egress"]
    assert forward["locations"] == [f"tcp://127.0.0.1:{settings.TARGETS['warehouse']['port']}"]
    assert version.conditions == {"sandbox": "required", "on_finding": "kill", "verified_within_days": None}


def test_outside_local_mode_it_refuses(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "LOCAL_MODE", False)

    with pytest.raises(CommandError, match="local mode"):
        seed(tmp_path)
