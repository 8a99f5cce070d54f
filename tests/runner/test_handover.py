"""The service file and the password file: what libpq reads from them."""

import json
import os
import stat
import subprocess
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from runner.errors import RunnerError
from runner.handover import Handover
from runner.shapes import Credential

SECRET = {"host": "127.0.0.1", "port": 5432, "dbname": "warehouse", "username": "dbr_1", "password": "p"}


def credential(generation: int = 1, slot: str = "postgresql:warehouse", **secret: Any) -> Credential:
    return Credential("id", slot, generation, "postgresql", datetime.now(UTC), {**SECRET, **secret})


def test_files_and_folder_are_private() -> None:
    with Handover() as handover:
        handover.take([credential()])
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in handover.folder.iterdir()}

        assert stat.S_IMODE(handover.folder.stat().st_mode) == 0o700
    assert modes == {"pg_service.conf": 0o600, "pgpass": 0o600}
    assert not handover.folder.exists()


def test_passwords_are_escaped_as_libpq_wants_it() -> None:
    with Handover() as handover:
        handover.take([credential(password="a:b\\c")])

        assert (handover.folder / "pgpass").read_text() == "127.0.0.1:5432:warehouse:dbr_1:a\\:b\\\\c\n"


def test_the_service_names_the_newest_and_both_passwords_stay() -> None:
    with Handover() as handover:
        handover.take([credential()])
        handover.take([credential(2, username="dbr_2")])

        assert "user=dbr_2\n" in (handover.folder / "pg_service.conf").read_text()
        assert [line.split(":")[3] for line in (handover.folder / "pgpass").read_text().splitlines()] == [
            "dbr_2",
            "dbr_1",
        ]


def test_each_slot_is_a_service() -> None:
    with Handover() as handover:
        handover.take([credential(), credential(slot="postgresql:archive", dbname="archive")])
        environment = handover.environment({}, "session")

        assert (handover.folder / "pg_service.conf").read_text().count("[") == 2
        assert environment["PGSERVICE"] == "warehouse"


def test_what_would_win_over_the_files_is_left_out() -> None:
    with Handover() as handover:
        handover.take([credential()])
        base = {"PGPASSWORD": "x", "PGHOST": "x", "DRAWBRIDGE_AGENT_KEY": "x", "DRAWBRIDGE_URL": "u", "HOME": "/h"}

        assert set(handover.environment(base, "session")) == {
            "HOME",
            "DRAWBRIDGE_URL",
            "DRAWBRIDGE_SESSION_ID",
            "PGSERVICE",
            "PGSERVICEFILE",
            "PGPASSFILE",
        }


def test_nothing_is_written_after_the_folder_was_left() -> None:
    with Handover() as handover:
        handover.take([credential()])
    handover.take([credential(2)])

    assert not handover.folder.exists()


def test_a_line_end_in_a_secret_is_refused() -> None:
    with Handover() as handover, pytest.raises(RunnerError):
        handover.take([credential(host="a\nuser=postgres")])


def test_what_no_tool_reads_by_itself_is_files() -> None:
    secret = {"type": "ssh", "private_key": "key\n", "certificate": "signed"}
    slots = ("ssh:servers", "pki:services/../shop")
    with Handover() as handover:
        handover.take([Credential("id", slot, 1, "ssh", datetime.now(UTC), secret) for slot in slots])
        folder = Path(handover.environment({}, "session")["DRAWBRIDGE_CREDENTIALS"])
        assert (folder / "ssh_servers.private_key").read_text() == "key\n\n"
        assert json.loads((folder / "ssh_servers.json").read_text())["certificate"] == "signed"
        names = {each.name.partition(".")[0] for each in folder.iterdir()}
        assert names == {"ssh_servers", "pki_services_", "pg_service", "pgpass"}
        assert {each.stat().st_mode & 0o777 for each in folder.iterdir()} == {0o600}


def test_a_secret_does_not_show_in_a_repr() -> None:
    assert "hidden" not in repr(credential(password="hidden"))


KEYS = {"access_key_id": "ASIA1", "secret_access_key": "s", "session_token": "t", "region": "eu-central-1"}


def role(slot: str = "aws:reports", minutes: int = 15, **changed: str) -> Credential:
    expires_at = datetime.now(UTC) + timedelta(minutes=minutes)
    return Credential("id", slot, 1, "aws", expires_at, {**KEYS, **changed})


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Callable[[Handover], None]:
    """Gives this process the environment of a command."""

    def tell(handover: Handover) -> None:
        before = {"PATH": os.environ["PATH"], "AWS_ACCESS_KEY_ID": "somebody else's", "AWS_PROFILE": "theirs"}
        environment = handover.environment(before, "session")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

    return tell


def test_boto3_finds_the_keys_of_a_role_and_those_that_come_after_them(told: Callable[[Handover], None]) -> None:
    with Handover() as handover:
        handover.take([role(minutes=5)])
        told(handover)
        session = boto3.Session()
        found = session.get_credentials()
        assert found is not None
        assert found.get_frozen_credentials()[:3] == ("ASIA1", "s", "t")
        assert session.region_name == "eu-central-1"
        # What is about to expire is asked for again.
        handover.take([role(access_key_id="ASIA2")])
        assert found.get_frozen_credentials().access_key == "ASIA2"


def test_each_role_is_a_profile_and_the_first_is_the_default(told: Callable[[Handover], None]) -> None:
    with Handover() as handover:
        handover.take([role(), role("aws:other", access_key_id="ASIA9")])
        told(handover)
        names = {name: boto3.Session(profile_name=name).get_credentials() for name in ("default", "reports", "other")}
        keys = {name: found.access_key for name, found in names.items() if found is not None}
        assert keys == {"default": "ASIA1", "reports": "ASIA1", "other": "ASIA9"}
        assert "PGSERVICE" not in handover.environment({}, "session")


def token(owner: str, value: str) -> Credential:
    secret = {"token": value, "owner": owner}
    return Credential("id", f"github:{owner}", 1, "github", datetime.now(UTC) + timedelta(hours=1), secret)


def project(path: str, value: str) -> Credential:
    secret = {"token": value, "host": "git.example:8443", "project": path, "username": "oauth2"}
    return Credential("id", f"gitlab:corp/{path}", 1, "gitlab", datetime.now(UTC) + timedelta(hours=1), secret)


def filled(environment: Mapping[str, str], path: str, host: str = "github.com") -> str:
    """The password that git would use."""
    asked = f"protocol=https\nhost={host}\npath={path}\n\n"
    ran = subprocess.run(["git", "credential", "fill"], input=asked, env=environment, capture_output=True, text=True)
    return dict(line.partition("=")[::2] for line in ran.stdout.splitlines()).get("password", "")


def test_git_uses_the_newest_token_of_the_owner(tmp_path: Path) -> None:
    with Handover() as handover:
        handover.take([token("acme", "ghs_one"), token("other", "ghs_two")])
        before = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GIT_ASKPASS": "true"}
        environment = handover.environment(before, "session")
        assert filled(environment, "acme/shop.git") == "ghs_one"
        assert filled(environment, "other/site.git") == "ghs_two"
        assert filled(environment, "acme-evil/shop.git") == ""
        handover.take([token("acme", "ghs_three")])
        assert filled(environment, "acme/shop.git") == "ghs_three"
        assert "ghs_" not in str(environment)


def test_git_uses_the_token_of_the_project(tmp_path: Path) -> None:
    with Handover() as handover:
        handover.take([project("acme/shop", "glpat-one"), project("acme/site", "glpat-two"), token("acme", "ghs")])
        before = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GIT_ASKPASS": "true"}
        environment = handover.environment(before, "session")
        got = {
            path: filled(environment, path, "git.example:8443")
            for path in ("acme/shop", "acme/shop.git", "acme/shop.git/info/lfs", "acme/site.git", "acme/shopper.git")
        }
        assert list(got.values()) == ["glpat-one"] * 3 + ["glpat-two", ""]
        assert filled(environment, "acme/shop.git", "git.example") == ""
        assert filled(environment, "acme/shop.git") == "ghs"
        handover.take([project("acme/shop", "glpat-three")])
        assert filled(environment, "acme/shop.git", "git.example:8443") == "glpat-three"
        assert "glpat" not in str(environment)


@pytest.mark.parametrize("path", ["acme/$(id)", "acme/a b", "acme/a\nb", ""])
def test_a_project_that_a_shell_would_read_is_not_told_to_git(path: str) -> None:
    with Handover() as handover:
        handover.take([project(path, "glpat-one")])
        with pytest.raises(RunnerError):
            handover.variables()
