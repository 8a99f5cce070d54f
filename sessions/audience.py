"""Who watches, and who of them still may: asked in one query for any number of viewers."""

import hashlib
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.contrib.sessions.models import Session
from django.db import connection
from django.http import HttpRequest

from audit.event import now
from sessions import policy
from sessions.models import AgentSession, Person
from sessions.policy import Viewer


class Gone(Exception):
    """The viewer may not see this any more."""


@dataclass(frozen=True)
class SignIn:
    """One sign-in of one person. `password` is a digest of the stored hash: a changed password ends it."""

    session_key: str
    person: str
    password: str

    @classmethod
    def of(cls, request: HttpRequest) -> "SignIn":
        """The sign-in with which a request came through the gate; no query."""
        person, key = request.user, request.session.session_key
        assert isinstance(person, Person)
        assert key is not None
        return cls(key, str(person.id), digest(person.password))


# Each step goes by a key, for each of the asked, so that it takes as long as there are viewers and no longer.
_ALIKE = """
    WITH asked AS (
        SELECT * FROM unnest(string_to_array(%s, ','), string_to_array(%s, ',')::uuid[], string_to_array(%s, ','))
        WITH ORDINALITY AS asked (key, person_id, password, place)
    ), here AS MATERIALIZED (
        SELECT asked.place, asked.person_id, ARRAY(
            SELECT role FROM agent_sessions_membership AS membership
            WHERE team_id = %s AND membership.person_id = asked.person_id AND ended_at IS NULL ORDER BY role
        ) AS roles
        FROM asked
        JOIN django_session AS opened ON opened.session_key = asked.key AND opened.expire_date > now()
        JOIN agent_sessions_person AS person ON person.id = asked.person_id AND person.is_active
            AND encode(sha256(convert_to(person.password, 'UTF8')), 'hex') = asked.password
    )
    SELECT roles, min(person_id::text), array_agg(place) FROM here GROUP BY roles, person_id = %s
"""


_ROLES = """
    SELECT asked.place, membership.team_id, membership.role
    FROM unnest(string_to_array(%s, ','), string_to_array(%s, ',')::uuid[], string_to_array(%s, ','))
        WITH ORDINALITY AS asked (key, person_id, password, place)
    JOIN django_session AS opened ON opened.session_key = asked.key AND opened.expire_date > now()
    JOIN agent_sessions_person AS person ON person.id = asked.person_id AND person.is_active
        AND encode(sha256(convert_to(person.password, 'UTF8')), 'hex') = asked.password
    LEFT JOIN agent_sessions_membership AS membership
        ON membership.person_id = person.id AND membership.ended_at IS NULL
"""


@dataclass(frozen=True)
class Alike:
    """Viewers whom the policy cannot tell apart, by their places among the asked; `viewer` is one of them."""

    viewer: Viewer
    places: list[int]


def signed_in(sign_in: SignIn) -> Person:
    """Raises Gone unless the sign-in holds."""
    person = Person.objects.filter(pk=sign_in.person, is_active=True).first()
    is_open = Session.objects.filter(pk=sign_in.session_key, expire_date__gt=now()).exists()
    if person is None or not is_open or digest(person.password) != sign_in.password:
        raise Gone
    return person


def who_may_see(agent_session: AgentSession, sign_ins: Sequence[SignIn]) -> Iterator[Alike]:
    """Those whose sign-in holds and who have a role in the session's team: by their roles there.

    The person for whom the agent runs is not put together with others.
    """
    team = agent_session.team_id
    with connection.cursor() as cursor:
        cursor.execute(_ALIKE, [*_asked(sign_ins), team, agent_session.person_id])
        rows = cursor.fetchall()
    for roles, person, places in rows:
        viewer = Viewer(uuid.UUID(person), {team: frozenset(roles)})
        if policy.may_see(viewer, team):
            yield Alike(viewer, [place - 1 for place in places])


def viewers(sign_ins: Sequence[SignIn]) -> list[Viewer | None]:
    """Each with the roles that they have now, in the order of the asked; None whose sign-in does not hold."""
    with connection.cursor() as cursor:
        cursor.execute(_ROLES, _asked(sign_ins))
        rows = cursor.fetchall()
    held: dict[int, dict[uuid.UUID, set[str]]] = {}
    for place, team, role in rows:
        roles = held.setdefault(place - 1, {})
        if team is not None:
            roles.setdefault(team, set()).add(role)
    return [
        Viewer(uuid.UUID(one.person), {team: frozenset(roles) for team, roles in held[place].items()})
        if place in held
        else None
        for place, one in enumerate(sign_ins)
    ]


def digest(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()


def _asked(sign_ins: Sequence[SignIn]) -> list[str]:
    """Lists as text: for a thousand viewers that is ten times quicker than as arrays, and no part has a comma."""
    parts = ("session_key", "person", "password")
    return [",".join(getattr(one, part) for one in sign_ins) for part in parts]
