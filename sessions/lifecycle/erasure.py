"""Erasing a person, and the legal holds that stand against it and against pruning."""

import uuid
from collections.abc import Collection, Mapping

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.models import Session
from django.db import IntegrityError, connection, transaction
from django.db.models import Q

from audit import log, personal
from audit.event import LOG_STREAM, NewEvent, now
from audit.models import Hold
from sessions import policy
from sessions.errors import Invalid, StateConflict
from sessions.lifecycle.changes import demand
from sessions.models import AgentKey, AgentSession, Membership, Person, Team
from sessions.models.runs import LIVE, State
from sessions.parties import viewer

LONGEST_REASON = 500
HOLDS_LOCK = 0x68_6F_6C_64
# A step of pruning keeps holds from being placed while it lasts: a second or two. A hold waits for it.
PATIENCE = "30s"


@transaction.atomic(durable=True)
def erase_person(person: Person, by: Person, reason: str) -> Person:
    """Forgets who somebody was: their key, name, address, words and ways to sign in. What they did stays, by id.

    Raises Invalid while a session of theirs is live or waits, or a legal hold covers what is theirs.
    """
    erased = Person.objects.select_for_update().get(pk=person.pk)
    teams = list(Membership.objects.filter(person=erased, ended_at=None).values_list("team_id", flat=True).distinct())
    demand(policy.may_erase(viewer(by), erased.pk, teams))
    if erased.erased_at is not None:
        raise StateConflict("person", expected=["known"], found="erased")
    _demand_free(erased)
    at = now()
    _forget_sign_ins(erased)
    Membership.objects.filter(person=erased, ended_at=None).update(ended_at=at)
    AgentKey.objects.filter(agent__owner=erased, revoked_at=None).update(revoked_at=at, revoked_by=by)
    erased.name, erased.email = "Erased person", f"{erased.pk}@erased.invalid"
    erased.is_active, erased.erased_at = False, at
    erased.set_unusable_password()
    erased.save()
    with connection.cursor() as cursor:
        cursor.execute("SELECT agent_sessions_erase(%s)", [erased.pk])
    personal.destroy(erased.reference)
    data = {"person": str(erased.pk), "teams": [str(team) for team in sorted(teams)], "reason": _reason(reason)}
    log.append(_event("person.erased", by, data))
    return erased


@transaction.atomic(durable=True)
def place_hold(what: str, value: uuid.UUID, by: Person, reason: str) -> Hold:
    """From now on nothing of a session, a person or a team is pruned or erased. The reason is in the event alone."""
    demand(policy.may_hold(viewer(by), teams_of(what, value)))
    _lock_holds()
    event = _event("hold.placed", by, {"what": what, "value": str(value), "reason": _reason(reason)})
    try:
        with transaction.atomic():
            hold = Hold.objects.create(id=event.id, what=what, value=value, by=by.reference, since=event.occurred_at)
    except IntegrityError as error:
        raise Invalid([f"A hold covers this {what} already."]) from error
    log.append(event)
    return hold


@transaction.atomic(durable=True)
def release_hold(hold_id: uuid.UUID, by: Person, reason: str) -> Hold:
    """What only this hold covered may be pruned and erased again."""
    hold = Hold.objects.get(pk=hold_id)
    demand(policy.may_hold(viewer(by), teams_of(hold.what, hold.value)))
    at = now()
    if not Hold.objects.filter(pk=hold_id, released_at=None).update(released_at=at, released_by=by.reference):
        raise StateConflict("hold", expected=["held"], found="released")
    hold.released_at, hold.released_by = at, by.reference
    data = {"hold": str(hold.pk), "what": hold.what, "value": str(hold.value), "reason": _reason(reason)}
    log.append(_event("hold.released", by, data))
    return hold


def teams_of(what: str, value: uuid.UUID) -> list[uuid.UUID]:
    """The teams that a hold concerns; of a person those too in which they had a role once."""
    if what == Hold.What.TEAM:
        return list(Team.objects.filter(pk=value).values_list("pk", flat=True))
    if what == Hold.What.PERSON:
        return list(Membership.objects.filter(person=value).values_list("team_id", flat=True).distinct())
    return list(AgentSession.objects.filter(pk=value).values_list("team_id", flat=True))


def _demand_free(person: Person) -> None:
    running = AgentSession.objects.filter(person=person, state__in=(*LIVE, State.REQUESTED)).count()
    if running:
        raise Invalid([f"Sessions on their behalf are live, or wait to be decided ({running}): end those first."])
    _lock_holds()
    holds = Hold.objects.filter(value__in=_theirs(person), released_at=None).count()
    if holds:
        raise Invalid([f"Legal holds cover what is theirs ({holds}): nothing of it can be erased until their release."])


def _theirs(person: Person) -> Collection[uuid.UUID]:
    """What a hold that covers something of this person's can be on."""
    runs = AgentSession.objects.filter(Q(person=person) | Q(approvals__person=person)).values_list("pk", "team_id")
    teams = Membership.objects.filter(person=person).values_list("team_id", flat=True)
    return {person.pk, *teams, *(one for pair in runs for one in pair)}


def _forget_sign_ins(person: Person) -> None:
    """Addresses, second steps, tries, and the sessions of browsers, which hold the address too."""
    EmailAddress.objects.filter(user=person).delete()
    Authenticator.objects.filter(user=person).delete()
    for tries in (AccessAttempt, AccessFailureLog, AccessLog):
        tries.objects.filter(username__iexact=person.email).delete()
    for session in Session.objects.iterator():
        if session.get_decoded().get(SESSION_KEY) == str(person.pk):
            session.delete()


def _lock_holds() -> None:
    """Whoever places a hold and whoever erases wait for each other."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [PATIENCE])
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [HOLDS_LOCK])


def _reason(text: str) -> str:
    if not text.strip():
        raise Invalid(["Say why: whoever reads the log later has to know."])
    return text.strip()[:LONGEST_REASON]


def _event(kind: str, by: Person, data: Mapping[str, object]) -> NewEvent:
    return NewEvent(kind=kind, stream=LOG_STREAM, sub=by.reference, act=by.reference, data=data)
