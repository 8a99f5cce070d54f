"""Evidence files that people ask for: what belongs in one, who may have it, and the states it goes through.

The rows are the queue: a worker takes one that waits, or one that its worker left alone. Each change of state is a
compare and swap on the row, and what counts is an event in the log in the same transaction.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from audit import evidence, log
from audit.event import FAILURE, NewEvent, now, timestamp
from audit.models import Export
from audit.notices import sender
from sessions import policy
from sessions.lifecycle.changes import demand
from sessions.models import AgentSession, Membership, Person, Team
from sessions.parties import viewer
from sessions.policy import Verdict, Viewer

KEPT = timedelta(days=1)
# A worker that did not touch its row for so long is gone.
ABANDONED = timedelta(minutes=1)
GIVEN_UP = timedelta(hours=6)
State = Export.State


@dataclass(frozen=True)
class Asked:
    """What an evidence file is to hold. `kind` is evidence.SESSION, PERSON or PERIOD; `about` is the row's id.

    `teams` are those whose events it may show: whoever takes the file needs the right in each of them.
    """

    kind: str
    about: uuid.UUID
    teams: tuple[uuid.UUID, ...]
    since: datetime | None = None
    until: datetime | None = None

    def selection(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            self.kind if self.kind != evidence.PERIOD else "team": str(self.about),
            "teams": [str(team) for team in self.teams],
            "since": timestamp(self.since) if self.since else None,
            "until": timestamp(self.until) if self.until else None,
        }

    @classmethod
    def of(cls, selection: Mapping[str, Any]) -> "Asked":
        kind = selection["kind"]
        since, until = (
            datetime.fromisoformat(selection[name]) if selection[name] else None for name in ("since", "until")
        )
        about = uuid.UUID(selection["team" if kind == evidence.PERIOD else kind])
        return cls(kind, about, tuple(map(uuid.UUID, selection["teams"])), since, until)

    @property
    def title(self) -> str:
        """For people. Not kept: names may have to be forgotten."""
        if self.kind == evidence.SESSION:
            found = AgentSession.objects.select_related("agent").get(pk=self.about)
            return f"Session of {found.agent.name}, asked for on {found.requested_at:%Y-%m-%d at %H:%M:%S} UTC"
        if self.kind == evidence.PERSON:
            return f"Everything of {Person.objects.get(pk=self.about).name}"
        return f"Team {Team.objects.get(pk=self.about).name}"


def of_session(agent_session: AgentSession, since: datetime | None = None, until: datetime | None = None) -> Asked:
    return Asked(evidence.SESSION, agent_session.id, (agent_session.team_id,), since, until)


def of_person(person: Person, by: Viewer, since: datetime | None = None, until: datetime | None = None) -> Asked:
    """All that a person did, or that was done for them, in every team in which the viewer may export."""
    teams = sorted(team for team in by.roles if policy.may_export(by, team))
    return Asked(evidence.PERSON, person.id, tuple(teams), since, until)


def of_period(team: Team, since: datetime | None, until: datetime | None) -> Asked:
    return Asked(evidence.PERIOD, team.id, (team.id,), since, until)


def may_have(person: Viewer, asked: Asked) -> Verdict:
    """Whether somebody may have this file now: the right in each team whose events it shows."""
    if not asked.teams:
        return policy.deny("You have no role that can export evidence.")
    verdicts = [policy.may_export(person, team) for team in asked.teams]
    return next((verdict for verdict in verdicts if not verdict), policy.ALLOW)


def streams_of(asked: Asked) -> list[uuid.UUID]:
    """The streams that may hold what was asked for."""
    if asked.kind == evidence.SESSION:
        return [asked.about]
    sessions = AgentSession.objects.filter(team__in=asked.teams)
    if asked.until:
        sessions = sessions.filter(requested_at__lt=asked.until)
    streams = [*asked.teams, *sessions.values_list("pk", flat=True)]
    if asked.kind == evidence.PERSON and _is_of(asked.about, asked.teams):
        streams.append(asked.about)
    return streams


def _is_of(person: uuid.UUID, teams: Sequence[uuid.UUID]) -> bool:
    """A person's own stream says what they read, in all their teams: only for those who may export from all of them."""
    held = set(Membership.objects.filter(person=person).values_list("team_id", flat=True))
    return bool(held) and held <= set(teams)


@transaction.atomic(durable=True)
def ask(by: Person, asked: Asked) -> Export:
    """Queues the file; the worker that makes it says so in the log. Raises Forbidden."""
    demand(may_have(viewer(by), asked))
    at = now()
    export = Export.objects.create(by=by.id, selection=asked.selection(), made_at=at, touched_at=at)
    transaction.on_commit(partial(wake, export.id))
    return export


def wake(export_id: uuid.UUID) -> None:
    """A wake-up that is lost costs the time until the next look at the rows."""
    from sessions import export_tasks

    sender.submit(partial(export_tasks.make.apply_async, (str(export_id),)))


def file_of(export: Export) -> Path:
    return Path(settings.EXPORT_FOLDER) / f"{export.id}.zip"


@dataclass
class Claim:
    """A worker's hold on a row: it ends when another one took the row, because this one was silent for too long."""

    export: Export

    @classmethod
    def take(cls, export_id: uuid.UUID) -> "Claim | None":
        at = now()
        free = Q(state=State.WAITING) | Q(state=State.RUNNING, touched_at__lt=at - ABANDONED)
        if not Export.objects.filter(free, pk=export_id).update(state=State.RUNNING, touched_at=at, done=0):
            return None
        return cls(Export.objects.get(pk=export_id))

    def touch(self, **progress: int) -> None:
        """Says that the worker lives, and how far it is. Raises Overtaken."""
        self._move(touched_at=now(), **progress)

    @transaction.atomic(durable=True)
    def ready(self, data: Mapping[str, Any], **facts: Any) -> None:
        at = now()
        self._move(state=State.READY, touched_at=at, expires_at=at + KEPT, **facts)
        log.append(event_of(self.export, "log.exported", data))

    @transaction.atomic(durable=True)
    def failed(self, why: str) -> None:
        self._move(state=State.FAILED, touched_at=now(), error=why)
        log.append(event_of(self.export, "log.exported", {"problem": why}, outcome=FAILURE))

    def _move(self, **changes: Any) -> None:
        held = Export.objects.filter(pk=self.export.pk, state=State.RUNNING, touched_at=self.export.touched_at)
        if not held.update(**changes):
            raise Overtaken(f"export {self.export.pk} is not this worker's any more")
        for name, value in changes.items():
            setattr(self.export, name, value)


class Overtaken(Exception):
    """Another worker took the row."""


@transaction.atomic(durable=True)
def note_download(export: Export, by: Person) -> None:
    """Before the first byte leaves."""
    log.append(event_of(export, "log.export_downloaded", {"sha256": export.sha256, "bytes": export.size}, by=by))


def event_of(
    export: Export, kind: str, data: Mapping[str, Any], *, by: Person | None = None, outcome: str = "success"
) -> NewEvent:
    """In the team's stream; what concerns a person goes into that of whoever exports."""
    asked = Asked.of(export.selection)
    stream = export.by if asked.kind == evidence.PERSON else asked.teams[0]
    act = f"person:{by.id if by else export.by}"
    named = {name: value for name, value in export.selection.items() if value is not None}
    return NewEvent(kind, stream, act, act, {"export": str(export.id), "selection": named, **data}, outcome=outcome)


def tidy() -> None:
    """Removes files whose day is over, and wakes a worker for rows that nobody is at."""
    at = now()
    for export in Export.objects.filter(state=State.READY, expires_at__lt=at):
        file_of(export).unlink(missing_ok=True)
        Export.objects.filter(pk=export.pk, state=State.READY).update(state=State.EXPIRED)
    due = Export.objects.filter(state__in=[State.WAITING, State.RUNNING], touched_at__lt=at - ABANDONED)
    for export in due:
        if export.made_at > at - GIVEN_UP:
            wake(export.id)
        elif claim := Claim.take(export.id):
            claim.failed("no worker could finish it within six hours; ask for a shorter period")
