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
from django.utils.html import escape, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.http import require_safe

from audit import alarms, chart
from audit.chart import Mark, Strip
from sessions import fleet as fleets
from sessions import policy
from sessions.fleet import Standing, Survey
from sessions.models import Agent, AgentSession, Person
from sessions.parties import viewer
from sessions.policy import Viewer
from sessions.reading import noted
from sessions.views import lookup
from sessions.views.lookup import PageRequest
from sessions.views.session_list import uuid_or_nothing

MINUTES = (5, 15, 60)
USUAL = 15
MOST = 250
MOST_RENDERED = 3_000
# The drawing of a strip: a row for each lane of a session's own chart, two units for each column, and what is full.
ROW, ROOM, FULL = 12, 10, 60
# What a page puts into a lane that was rendered for all: where its strip begins, and the token of its form.
LEFT, TOKEN = 'viewBox="0 ', 'name="csrfmiddlewaretoken" value=""'
HEIGHTS = [chart.height(count, FULL, ROOM) for count in range(FULL + 1)]


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
    """Who is in which place. `hidden` are those beyond the last lane of a page; the others count all of `found`."""

    shown: tuple[Standing, ...]
    hidden: int
    alarmed: int
    found: tuple[Standing, ...]

    @property
    def live(self) -> int:
        return sum(one.agent_session.live for one in self.found)

    @property
    def dying(self) -> int:
        """Credentials of those just killed that are not known to be dead."""
        return sum(one.verdicts.dying for one in self.found if one.verdicts)

    @property
    def held(self) -> int:
        """All credentials of those just killed."""
        return sum(one.verdicts.credentials for one in self.found if one.verdicts)

    @property
    def dead(self) -> int:
        return self.held - self.dying

    @property
    def over(self) -> int:
        """Those just killed, which are still shown."""
        return len(self.found) - self.live


@require_safe
def fleet(request: PageRequest) -> HttpResponse:
    query = request.GET.dict()
    wanted, watcher = Wanted.from_query(query), viewer(request.user)
    noted(request.user, "fleet", wanted.parts)
    teams = lookup.teams_of(watcher)
    survey = fleets.survey(teams, [wanted.minutes])
    chosen = lanes(survey, wanted, teams)
    token = get_token(request)
    rows = (
        (render_lane(survey, one, wanted.minutes, may_kill(watcher, one)).html(survey, token),) for one in chosen.shown
    )
    context = {
        "wanted": wanted,
        "facts": render_facts(chosen, wanted, watcher, token),
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
    return Lanes(tuple(ordered[:MOST]), max(len(found) - MOST, 0), alarmed, tuple(found))


def may_kill(watcher: Viewer, standing: Standing) -> bool:
    agent_session = standing.agent_session
    return agent_session.live and bool(policy.may_kill(watcher, agent_session.team_id, agent_session.person_id))


def lane_id(session_id: uuid.UUID) -> str:
    return f"lane-{session_id}"


def render_facts(chosen: Lanes, wanted: Wanted, watcher: Viewer, csrf_token: str = "") -> str:
    """The fragment #fleet-facts: how many there are, the switch for all of them, and the order of the lanes."""
    killable = sum(may_kill(watcher, one) for one in chosen.found)
    context = {"chosen": chosen, "wanted": wanted, "killable": killable, "csrf_token": csrf_token}
    return render_to_string("sessions/_fleet_facts.html", context)


def killable(watcher: Viewer, wanted: Wanted) -> list[uuid.UUID]:
    """The live sessions that are wanted and that the viewer may kill, shown or not."""
    teams = lookup.teams_of(watcher)
    chosen = lanes(fleets.survey(teams, []), wanted, teams)
    return [one.agent_session.pk for one in chosen.found if may_kill(watcher, one)]


def of_several_teams(session_ids: Collection[uuid.UUID]) -> bool:
    return AgentSession.objects.filter(pk__in=session_ids).values("team").distinct().count() > 1


def render_one(person: Person, session_id: uuid.UUID, wanted: Wanted, csrf_token: str) -> str:
    """The lane of one session that the person may see, live or not."""
    survey = fleets.one(lookup.agent_session(person, session_id).pk, wanted.minutes)
    [standing] = survey.standings
    return render_lane(survey, standing, wanted.minutes, may_kill(viewer(person), standing)).html(survey, csrf_token)


@dataclass(frozen=True)
class Lane:
    """A rendered lane. Two of the same version show the same; `begins_s` is the moment at x = 0 of its strip."""

    session_id: uuid.UUID
    version: tuple[object, ...]
    minutes: int
    begins_s: float
    fragment: str

    def html(self, survey: Survey, csrf_token: str) -> SafeString:
        """For a page: with its strip where it is now, and the token that a form needs."""
        column_s = self.minutes * 60 / fleets.COLUMNS
        left = (survey.since(self.minutes).timestamp() - self.begins_s) / column_s * 2
        html = self.fragment.replace(LEFT, f'viewBox="{left:.2f} ', 1)
        return mark_safe(html.replace(TOKEN, f'{TOKEN[:-1]}{escape(csrf_token)}"', 1))  # noqa: S308 - our own template


# The last rendering of each lane, for all pages and streams of this process: most lanes have not changed since.
_rendered: dict[tuple[uuid.UUID, int, bool], Lane] = {}


def render_lane(survey: Survey, standing: Standing, minutes: int, kill: bool) -> Lane:
    """One lane, by the id that lane_id() says; rendered anew only if it has changed."""
    session_id = standing.agent_session.pk
    key, version = (session_id, minutes, kill), _version(survey, standing, minutes)
    known = _rendered.get(key)
    if known is not None and known.version == version:
        return known
    if len(_rendered) > MOST_RENDERED:
        _rendered.clear()
    strip = survey.strips[minutes].get(session_id)
    begins_s = strip.since.timestamp() if strip else survey.since(minutes).timestamp()
    context = {
        "agent_session": standing.agent_session,
        "lane": lane_id(session_id),
        "standing": standing,
        "alarmed": standing.alarmed(survey.since(minutes)),
        "many": standing.alarm is not None and standing.alarm.refused == alarms.MOST,
        "kill": kill,
        **_strip(strip, minutes, survey.at, begins_s),
    }
    made = Lane(session_id, version, minutes, begins_s, render_to_string("sessions/_fleet_lane.html", context))
    _rendered[key] = made
    return made


def _version(survey: Survey, standing: Standing, minutes: int) -> tuple[object, ...]:
    """All that a lane shows, but for what only time moves: the page itself moves the strip."""
    agent_session = standing.agent_session
    strip = survey.strips[minutes].get(agent_session.pk)
    return (
        agent_session.state,
        agent_session.end_reason,
        agent_session.ends_at,
        standing.verdicts,
        standing.seq,
        standing.alarm,
        standing.alarmed(survey.since(minutes)),
        strip.last_seq if strip else 0,
    )


def _strip(strip: Strip | None, minutes: int, at: datetime, begins_s: float) -> dict[str, Any]:
    """What the drawing needs; `column_s` is what one column is long."""
    marks = strip.marks if strip else ()
    return {
        "bars": "".join(_bar(mark, mark.events) for mark in marks),
        "refused_bars": "".join(_bar(mark, mark.refused) for mark in marks if mark.refused),
        "begins_s": round(begins_s),
        "column_s": minutes * 60 // fleets.COLUMNS,
        "width": fleets.COLUMNS * 2,
        "height": len(chart.ORDER) * ROW,
        "said": _said(marks, minutes, at),
    }


def _bar(mark: Mark, count: int) -> str:
    """A stroke as high as the logarithm of what it counts, as a part of a path."""
    return f"M{mark.column * 2 + 1} {(mark.row + 1) * ROW - 1}v-{HEIGHTS[min(count, FULL)]:g}"


def _said(marks: Sequence[Mark], minutes: int, at: datetime) -> str:
    events, refused = [0] * len(chart.ORDER), [0] * len(chart.ORDER)
    for mark in marks:
        events[mark.row] += mark.events
        refused[mark.row] += mark.refused
    counts = [
        f"{count} {name}{f' ({wrong} refused)' if wrong else ''}"
        for name, count, wrong in zip(chart.ORDER, events, refused, strict=True)
        if count
    ]
    return f"{minutes} minutes up to {at:%H:%M:%S} UTC: {', '.join(counts) or 'nothing'}"
