"""Live sessions side by side: what each does now, and which of them has to be looked at first."""

import math
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db.models import QuerySet

from audit import alarms, chart, timeline
from audit.alarms import Alarm
from audit.chart import Strip
from audit.event import now
from audit.timeline import Entry
from sessions import narration
from sessions.models import AgentSession
from sessions.narration import Told
from sessions.panel import Verdicts
from sessions.views import lookup
from sessions.views.session_list import verdicts_of

COLUMNS = 60
SHOWN = (
    *("state", "end_reason", "purpose", "approved_at", "ends_at", "ended_at", "killed_at", "team_id"),
    *("agent__name", "person__name"),
)
# Lanes are in the order of how long ago something happened, in classes: those that are all busy keep their places.
AGES_S = (60, 300, 900, 3600)


@dataclass(frozen=True)
class Standing:
    """One session at one moment; `newest` and `told` are None where nothing has happened yet.

    Ages are by when the log wrote an event, and not by when its sender says that it happened.
    """

    agent_session: AgentSession
    verdicts: Verdicts | None
    newest: Entry | None
    told: Told | None
    alarm: Alarm | None

    @property
    def seq(self) -> int:
        return self.newest.seq if self.newest else 0

    def alarmed(self, since: datetime) -> bool:
        return self.alarm is not None and self.alarm.at >= since

    def age_class(self, at: datetime) -> int:
        """0 for what happened within a minute, and so on up to len(AGES_S)."""
        if self.newest is None:
            return len(AGES_S)
        age_s = (at - self.newest.recorded_at).total_seconds()
        return next((place for place, limit in enumerate(AGES_S) if age_s < limit), len(AGES_S))


@dataclass(frozen=True)
class Survey:
    """Standings of one moment, the first approved first; strips by minutes and session, where there are any."""

    at: datetime
    standings: tuple[Standing, ...]
    strips: Mapping[int, Mapping[uuid.UUID, Strip]]

    def since(self, minutes: int) -> datetime:
        return self.at - timedelta(minutes=minutes)


def survey(teams: Collection[uuid.UUID], minutes: Collection[int]) -> Survey:
    """All live sessions of these teams, and those just killed. The number of queries does not depend on how many."""
    at = now()
    live = list(_shown().filter(lookup.live(), team__in=teams).order_by("approved_at", "id"))
    streams = [one.pk for one in live]
    if not streams:
        return Survey(at, (), {})
    return Survey(at, _standings(live), {each: _strips(streams, at, each) for each in minutes})


def one(session_id: uuid.UUID, minutes: int) -> Survey:
    """The same for one session, whatever its state."""
    at, found = now(), _shown().get(pk=session_id)
    return Survey(at, _standings([found]), {minutes: _strips([session_id], at, minutes)})


def most_urgent_first(standings: Sequence[Standing], at: datetime, since: datetime) -> list[Standing]:
    """Those with something refused, or a finding, since then: the newest first. Then the others by their newest event.

    Within a class of age they stay as they came.
    """
    alarmed = [each for each in standings if each.alarmed(since)]
    others = [each for each in standings if not each.alarmed(since)]
    alarmed.sort(key=lambda each: each.alarm.at if each.alarm else since, reverse=True)
    return alarmed + sorted(others, key=lambda each: each.age_class(at))


def _shown() -> QuerySet[AgentSession]:
    """With no more than lanes show: there may be hundreds of them."""
    return AgentSession.objects.select_related("agent", "person").only(*SHOWN)


def _standings(sessions: Sequence[AgentSession]) -> tuple[Standing, ...]:
    streams = [each.pk for each in sessions]
    newest, wrong, verdicts = timeline.newest(streams), alarms.of(streams), verdicts_of(sessions)
    names = narration.names_of({entry.act for entry in newest.values()})
    return tuple(
        Standing(
            agent_session=each,
            verdicts=verdicts.get(each.pk),
            newest=newest.get(each.pk),
            told=narration.tell(newest[each.pk], names) if each.pk in newest else None,
            alarm=wrong.get(each.pk),
        )
        for each in sessions
    )


def _strips(streams: Sequence[uuid.UUID], at: datetime, minutes: int) -> Mapping[uuid.UUID, Strip]:
    """Columns begin at multiples of their width, and the last is the one that is being filled."""
    width_s = minutes * 60 // COLUMNS
    ends = (math.floor(at.timestamp() / width_s) + 1) * width_s
    since = datetime.fromtimestamp(ends - (COLUMNS + 1) * width_s, UTC)
    return chart.strips(streams, since, timedelta(seconds=width_s), COLUMNS + 1)
