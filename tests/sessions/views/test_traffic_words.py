"""What gateways report, in sentences: who saw it, where it went, and what came of it."""

import pytest

from audit.event import NewEvent
from audit.timeline import Filters, page
from sessions import lifecycle, narration
from sessions.api import events, gateway_events
from tests import factories
from tests.factories import cut, issue
from tests.gateway_actor import event

SENT = [
    ("egress.request", {"injected": "secret:github"}, "lets through", "GET api.github.com:443/repos/acme/"),
    ("egress.denied", {"code": "no_rule"}, "refused", "GET api.github.com:443/repos/acme/"),
    ("egress.closed", {"method": None, "path": None, "why": "killed"}, "closed a connection", "api.github.com:443"),
    ("finding.leak", {"slot": "secret:github"}, "found a secret on its way out, and stopped it", "GET api.github.com"),
    ("egress.response", {"host": None, "status": 200}, "got the answer", ""),
]


@pytest.fixture
def told(committed):
    """The sentence of one event that a gateway reported."""
    agent_session = issue(factories.world().approved()).agent_session
    gateway, _ = factories.gateway()

    def tell(kind, data):
        sent = event(agent_session.id, kind)
        raw = {**sent, "data": {name: value for name, value in {**sent["data"], **data}.items() if value is not None}}
        reporter = gateway_events.reporter_of(gateway, agent_session)
        [receipt] = events.take(reporter, [gateway_events._without_session(raw)], sent_at())
        assert receipt["answer"] == "stored"
        newest = page(agent_session.id, Filters()).entries[0]
        return narration.tell(newest, narration.names_of([newest.act])), gateway.name

    return tell


def sent_at():
    return NewEvent(kind="x.y", stream=None, sub="", act="").occurred_at


@pytest.mark.parametrize(("kind", "data", "text", "quote"), SENT, ids=lambda value: str(value)[:30])
def test_traffic_is_told_in_the_name_of_its_gateway(told, kind, data, text, quote):
    one, name = told(kind, data)
    assert (one.actor, one.text, one.reported) == (f"The gateway {name}", text, False)
    assert one.quote.startswith(quote)


def test_data_of_a_strange_shape_is_told_too(told):
    one, _ = told("egress.opened", {"host": 5, "port": [], "rule": {"a": 1}})
    assert one.text == "opens a connection"


def test_kind_without_a_sentence_is_told_by_its_name(told):
    one, name = told("dns.denied", {})
    assert (one.actor, one.text) == (f"The gateway {name}", "dns denied")


def test_hold_and_cut_are_told(world):
    agent_session = issue(world.approved()).agent_session
    gateway, _ = factories.gateway()
    lifecycle.record_hold(gateway, agent_session.id)
    lifecycle.record_cuts(gateway, [cut(agent_session.id)])
    entries = page(agent_session.id, Filters()).entries
    names = narration.names_of(entry.act for entry in entries)
    found = {entry.kind: narration.tell(entry, names) for entry in entries}
    assert found["gateway.holds"].text == "took the session's policy"
    assert found["gateway.cut"].note == "connections closed: 2, in 1.5 ms"
