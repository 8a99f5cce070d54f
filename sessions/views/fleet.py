"""All live sessions on one page, a lane for each."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from django.http import HttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.html import format_html_join
from django.views.decorators.http import require_safe

from audit import alarms, chart
from audit.chart import Chart
from sessions import fleet as fleets
from sessions import policy
from sessions.fleet import Standing, Survey
from sessions.models import Agent, Person
from sessions.parties import viewer
from sessions.policy import Viewer
from sessions.reading import noted
from sessions.views import lookup
from sessions.views.lookup import PageRequest
from sessions.views.session_list import uuid_or_nothing

MINUTES = (5, 15, 60)
USUAL = 15
MOST = 250
# The drawing of a strip: a row for each lane of a session's own chart, two units for each column, and what is full.
ROW, ROOM, FULL = 12, 10, 200


@dataclass(frozen=True)
class Wanted:
    """What is to be seen: ?team=&agent=&q=&refused=1&minutes=5&order=started. What makes no sense is ignored."""

    team: str = ""
    agent: str = ""
    q: str = ""
    refused: bool = False
    minutes: int = USUAL
    by_start: bool = False

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> "Wanted":
        asked = query.get("minutes", "")
        return cls(
            team=uuid_or_nothing(query.get("team", "")),
            agent=uuid_or_nothing(query.get("agent", "")),
            q=query.get("q", "").replace("\0", "").strip()[:100],
            refused=query.get("refused") == "1",
            minutes=int(asked) if asked in map(str, MINUTES) else USUAL,
            by_start=query.get("order") == "started",
        )

    @classmethod
    def from_url(cls, url: str) -> "Wanted":
        return cls.from_query(dict(parse_qsl(urlsplit(url).query)))

    @cached_property
    def filters(self) -> dict[str, str]:
        """What narrows the lanes down, without what is empty."""
        chosen = {"team": self.team, "agent": self.agent, "q": self.q, "refused": "1" if self.refused else ""}
        return {name: value for name, value in chosen.items() if value}

    @cached_property
    def parts(self) -> dict[str, str]:
        looks = {"minutes": str(self.minutes)} if self.minutes != USUAL else {}
        return {**self.filters, **looks, **({"order": "started"} if self.by_start else {})}

    @cached_property
    def query(self) -> str:
        return urlencode(self.parts)

    def matches(self, standing: Standing) -> bool:
        agent_session = standing.agent_session
        sought = self.q.casefold()
        return (
            self.team in ("", str(agent_session.team_id))
            and self.agent in ("", str(agent_session.agent_id))
            and (sought in agent_session.purpose.casefold() or sought in agent_session.agent.name.casefold())
            and (not self.refused or standing.alarm is not None)
        )


@dataclass(frozen=True)
class Lanes:
    """Who is in which place. `hidden` are those beyond the last lane of a page; `alarmed` counts all."""

    shown: tuple[Standing, ...]
    hidden: int
    alarmed: int


@require_safe
def fleet(request: PageRequest) -> HttpResponse:
    query = request.GET.dict()
    wanted, watcher = Wanted.from_query(query), viewer(request.user)
    noted(request.user, "fleet", wanted.parts)
    teams = lookup.teams_of(watcher)
    survey = fleets.survey(teams, [wanted.minutes])
    chosen = lanes(survey, wanted, teams)
    token = get_token(request)
    rows = ((render_lane(survey, one, wanted.minutes, may_kill(watcher, one), token),) for one in chosen.shown)
    context = {
        "wanted": wanted,
        "facts": render_facts(chosen, wanted),
        "lanes": format_html_join("", "{}", rows),
        "teams": lookup.teams(watcher),
        "agents": Agent.objects.filter(team__in=teams).order_by("name"),
        "minutes": MINUTES,
        "rows": chart.ORDER,
        "now_ms": round(survey.at.timestamp() * 1000),
    }
    return render(request, "sessions/fleet.html", context)


def lanes(survey: Survey, wanted: Wanted, teams: Collection[uuid.UUID]) -> Lanes:
    """Those of these teams that are wanted, in the order of the page. No query."""
    since = survey.since(wanted.minutes)
    found = [one for one in survey.standings if one.agent_session.team_id in teams and wanted.matches(one)]
    ordered = found if wanted.by_start else fleets.most_urgent_first(found, survey.at, since)
    alarmed = sum(one.alarmed(since) for one in found)
    return Lanes(tuple(ordered[:MOST]), max(len(found) - MOST, 0), alarmed)


def may_kill(watcher: Viewer, standing: Standing) -> bool:
    agent_session = standing.agent_session
    return agent_session.live and bool(policy.may_kill(watcher, agent_session.team_id, agent_session.person_id))


def lane_id(session_id: uuid.UUID) -> str:
    return f"lane-{session_id}"


def render_facts(chosen: Lanes, wanted: Wanted) -> str:
    """The fragment #fleet-facts: how many there are, and the order of the lanes."""
    return render_to_string("sessions/_fleet_facts.html", {"chosen": chosen, "wanted": wanted})


def render_one(person: Person, session_id: uuid.UUID, wanted: Wanted, csrf_token: str) -> str:
    """The lane of one session that the person may see, live or not."""
    survey = fleets.one(lookup.agent_session(person, session_id), wanted.minutes)
    [standing] = survey.standings
    return render_lane(survey, standing, wanted.minutes, may_kill(viewer(person), standing), csrf_token)


def render_lane(survey: Survey, standing: Standing, minutes: int, kill: bool, csrf_token: str = "") -> str:
    """One lane, by the id that lane_id() says."""
    agent_session = standing.agent_session
    context = {
        "agent_session": agent_session,
        "lane": lane_id(agent_session.pk),
        "standing": standing,
        "alarmed": standing.alarmed(survey.since(minutes)),
        "many": standing.alarm is not None and standing.alarm.refused == alarms.MOST,
        "kill": kill,
        "csrf_token": csrf_token,
        **_strip(survey, survey.strips.get(minutes, {}).get(agent_session.pk), minutes),
    }
    return render_to_string("sessions/_fleet_lane.html", context)


def _strip(survey: Survey, strip: Chart | None, minutes: int) -> dict[str, Any]:
    """What the drawing needs; `begins_s` is the moment at x = 0, and `column_s` what one column is long."""
    column_s = minutes * 60 // fleets.COLUMNS
    shown = strip.lanes if strip else ()
    begins_s = strip.since.timestamp() if strip else survey.since(minutes).timestamp()
    from_s = survey.since(minutes).timestamp()
    return {
        "bars": _paths(shown, refused=False),
        "refused_bars": _paths(shown, refused=True),
        "begins_s": round(begins_s),
        "column_s": column_s,
        "left": round((from_s - begins_s) / column_s * 2, 2),
        "width": fleets.COLUMNS * 2,
        "height": len(chart.ORDER) * ROW,
        "said": _said(shown, minutes, survey.at),
    }


def _paths(shown: Sequence[chart.Lane], *, refused: bool) -> str:
    """One path for all bars, as high as the logarithm of what they count."""
    rows = {name: (place + 1) * ROW - 1 for place, name in enumerate(chart.ORDER)}
    bars = []
    for lane in shown:
        foot = rows[lane.name]
        for column, cell in enumerate(lane.cells):
            count = cell.refused if refused else cell.events
            if count:
                bars.append(f"M{column * 2 + 1} {foot}v-{chart.height(min(count, FULL), FULL, ROOM):g}")
    return "".join(bars)


def _said(shown: Sequence[chart.Lane], minutes: int, at: datetime) -> str:
    counts = [
        f"{lane.events} {lane.name}{f' ({lane.refused} refused)' if lane.refused else ''}"
        for lane in shown
        if lane.events
    ]
    return f"{minutes} minutes up to {at:%H:%M:%S} UTC: {', '.join(counts) or 'nothing'}"
