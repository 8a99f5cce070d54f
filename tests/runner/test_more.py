"""drawbridge more: asked for while the command runs, decided by a lead, and passing from then on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.errors import Usage
from runner.more import objects
from sessions import lifecycle
from sessions.models import Addition
from tests import factories
from tests.gateway.bed.far_end import FarEnd
from tests.runner.conftest import Runner
from tests.runner.gateways import gateway
from tests.runner.running import begun
from tests.waiting import eventually

TRIES = """
for i in $(seq 200); do
    test "$(curl -s -o /dev/null -w '%{{http_code}}' {there}/elsewhere)" = 200 && exit 0
    sleep 0.1
done
exit 1
"""


@pytest.fixture
def world(committed: None, far_end: FarEnd) -> factories.World:
    there = {"type": "egress", "locations": [f"http://api.example:{far_end.port}/ok/"], "actions": ["GET"]}
    details = [{**there, "network": "127.0.0.0/8"}]
    return factories.world({**factories.CONTENT, "authorization_details": details, "sandbox": "required"})


@pytest.fixture
def way_out(server: str, world: factories.World, stack_environment: dict[str, str], tmp_path: Path) -> Iterator[None]:
    with gateway(server, stack_environment, tmp_path / "gateway", "127.0.0.1 api.example\n"):
        yield


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


@pytest.fixture
def asked(runner: Runner, far_end: FarEnd) -> list[str]:
    place = f"GET http://api.example:{far_end.port}/elsewhere"
    return ["more", "--allow", place, "--network", "127.0.0.0/8", "--reason", "The schema lies there"]


def test_what_was_denied_passes_once_a_lead_has_approved_it(
    runner: Runner, way_out: None, world: factories.World, far_end: FarEnd, asked: list[str], workspace: Path
) -> None:
    process = begun(runner, workspace, "sh", "-c", TRIES.format(there=f"http://api.example:{far_end.port}"))
    eventually(lambda: "egress.denied" in process.kinds())
    more = runner.start(*asked)
    row = eventually(lambda: Addition.objects.filter(agent_session=process.session_id).first())
    lifecycle.approve_addition(row.pk, world.lead, row.sha256)
    out, err = more.communicate(timeout=30)
    assert (more.returncode, "Approved until" in out) == (0, True), err
    assert process.ended()[0] == 0


def test_a_denial_is_told_with_its_reason(
    runner: Runner, way_out: None, world: factories.World, asked: list[str], workspace: Path
) -> None:
    process = begun(runner, workspace, "sleep", "20")
    more = runner.start(*asked)
    row = eventually(lambda: Addition.objects.filter(agent_session=process.session_id).first())
    lifecycle.deny_addition(row.pk, world.lead, row.sha256, "Use the copy in the repository.")
    _, err = more.communicate(timeout=30)
    assert more.returncode == 3
    assert "Use the copy in the repository." in err


@pytest.mark.parametrize("text", ["https://host/", "GET", "GET host/path", ""])
def test_what_cannot_be_understood_is_said(text: str) -> None:
    with pytest.raises(Usage, match="is not like"):
        objects([text])


def test_each_becomes_an_object() -> None:
    assert objects(["GET,HEAD https://a.example/x/", "forward tcp://db.example:5432"], "10.0.0.0/8") == [
        {"type": "egress", "locations": ["https://a.example/x/"], "actions": ["GET", "HEAD"], "network": "10.0.0.0/8"},
        {"type": "egress", "locations": ["tcp://db.example:5432"], "actions": ["forward"], "network": "10.0.0.0/8"},
    ]
