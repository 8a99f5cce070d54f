"""The first people, the rehearsal agent and its profile: made once, found again, private."""

import json
import stat
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from audit.models import Event
from sessions.models import Agent, AgentKey, Person, Profile, ProfileVersion, Team
from sessions.tokens import AGENT_KEY, digest, well_formed


@pytest.fixture
def files(db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    people, key = tmp_path / "people.json", tmp_path / "secrets" / "key"
    monkeypatch.setenv("PEOPLE_FILE", str(people))
    monkeypatch.setenv("DRAWBRIDGE_AGENT_KEY_FILE", str(key))
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
    assert (
        Team.objects.filter(slug="platform").count()
        == ProfileVersion.objects.filter(profile__team__slug="platform").count()
    )


def test_lost_files_are_made_anew(files: tuple[Path, Path], tmp_path: Path) -> None:
    old_key = files[1].read_text()
    for path in files:
        path.unlink()
    seed(tmp_path)

    assert files[1].read_text() != old_key
    assert AgentKey.objects.get(digest=digest(old_key)).revoked_at is not None
    for one in json.loads(files[0].read_text()):
        assert Person.objects.get(email=one["email"]).check_password(one["password"])


def test_outside_local_mode_it_refuses(files: tuple[Path, Path], settings, tmp_path: Path) -> None:
    settings.LOCAL_MODE = False

    with pytest.raises(CommandError, match="local mode"):
        seed(tmp_path)
