"""Approving less of an egress rule: fewer places, fewer methods; the rest stays as it was asked for."""

import pytest

from sessions import grant, lifecycle, sweep
from sessions.errors import Invalid
from sessions.forms import ApproveLess
from sessions.models import AgentSession
from tests import factories
from tests.factories import GITHUB, TO_DATABASE, TO_GITHUB

ALL = {"type": "egress", "locations": ["https://a.example/", "https://b.example/"], "actions": ["*"]}


@pytest.mark.parametrize(
    "narrow",
    [
        ALL,
        {**ALL, "locations": ["https://a.example/"]},
        {**ALL, "actions": ["GET"]},
        {**ALL, "actions": ["GET", "DELETE"], "locations": ["https://b.example/"]},
    ],
)
def test_less_is_within(narrow: dict[str, object]) -> None:
    assert list(grant.excess([narrow], [ALL])) == []


@pytest.mark.parametrize(
    "wider",
    [
        {**TO_GITHUB, "actions": ["*"]},
        {**TO_GITHUB, "actions": ["DELETE"]},
        {**TO_GITHUB, "locations": ["https://api.github.com/"]},
        {**TO_GITHUB, "inject": {"slot": "secret:github", "as": "sigv4"}},
        {name: value for name, value in TO_GITHUB.items() if name != "inject"},
        {**TO_GITHUB, "network": "10.0.0.0/8"},
        {**TO_GITHUB, "type": "secret"},
    ],
)
def test_more_or_other_is_not_within(wider: dict[str, object]) -> None:
    [problem] = grant.excess([wider], [TO_GITHUB])
    assert problem.startswith("The profile does not offer ")


def test_form_keeps_what_is_ticked_and_how_it_is_injected() -> None:
    content = {"authorization_details": [TO_GITHUB, TO_DATABASE, GITHUB], "limits": {"duration": 900}}
    form = ApproveLess(content, {"grant_hash": "0" * 64, "keep": ["0:0:GET", "2:0:inject"], "duration_s": "300"})
    assert form.is_valid(), form.errors
    assert form.narrower().details == [{**TO_GITHUB, "actions": ["GET"]}, GITHUB]
    assert [place.name for place in form.places()] == [
        "https://api.github.com/repos/acme/",
        "tcp://db.corp.example:5432",
        "kv:github",
    ]


def test_rule_is_not_granted_without_the_credential_that_it_injects(db: None) -> None:
    world = factories.world({**factories.CONTENT, "authorization_details": [TO_GITHUB, GITHUB]})
    asked = world.request().agent_session
    less = lifecycle.Narrower([TO_GITHUB], 300)
    with pytest.raises(Invalid, match="inject needs the credential secret:github"):
        lifecycle.approve(asked.id, world.lead, asked.grant_hash, less)


@pytest.mark.usefixtures("committed")
def test_session_without_credentials_starts_with_its_approval() -> None:
    world = factories.world(factories.egress_only())
    agent_session = AgentSession.objects.get(pk=world.approved().pk)
    assert (agent_session.state, agent_session.policy_serial) == ("active", 1)
    assert factories.kinds_of(agent_session.pk)[-2:] == ["session.approved", "session.active"]


def test_sweep_starts_what_a_crash_left_approved(db: None) -> None:
    agent_session = factories.world(factories.egress_only()).approved()
    assert agent_session.state == "approved"
    sweep._activate()
    agent_session.refresh_from_db()
    assert agent_session.state == "active"


def test_sweep_leaves_a_session_that_waits_for_its_credentials(db: None) -> None:
    agent_session = factories.world().approved()
    sweep._activate()
    agent_session.refresh_from_db()
    assert agent_session.state == "approved"
