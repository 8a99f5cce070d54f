"""What every page's frame needs."""

from typing import Any

from django.http import HttpRequest

from audit import health
from sessions import canary, policy
from sessions.gateways import holds
from sessions.models import Person
from sessions.parties import viewer
from sessions.views import lookup


def chrome(request: HttpRequest) -> dict[str, Any]:
    """How many requests wait for the viewer, where the people of their first team are, what is wrong with the log."""
    person = getattr(request, "user", None)
    if not isinstance(person, Person):
        return {}
    watcher = viewer(person)
    return {
        "to_decide": lookup.to_decide(watcher).count(),
        "first_team": lookup.teams(watcher).first(),
        "log_problems": health.problems(),
        "switch_problem": canary.problem(),
        "shut_off": holds.shut_off(watcher.roles),
        "sees_gateways": bool(policy.may_see_gateways(watcher)),
    }
