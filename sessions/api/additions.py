"""More for a session that runs: asking for it, and hearing of the decision."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from django.conf import settings
from ninja import Field, Query, Router, Schema, Status
from pydantic import AfterValidator, ConfigDict, StrictInt

from sessions import lifecycle
from sessions.api.asking import plainly_written
from sessions.api.callers import SessionRequest, reached, session_token
from sessions.api.problems import Code, Problem, Refusal
from sessions.api.waiting import LONGEST_WAIT_S, until
from sessions.lifecycle import additions
from sessions.models import Addition
from sessions.models.additions import AdditionState
from sessions.providers import registry
from sessions.threads import in_thread

router = Router(tags=["sessions"])


class MoreAsked(Schema):
    """What the session needs besides: egress only, within nothing but what a lead approves."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    authorization_details: list[dict[str, Any]] = Field(min_length=1, max_length=registry.MOST_OBJECTS)
    reason: Annotated[str, AfterValidator(plainly_written)] = Field(
        min_length=1, max_length=additions.LONGEST_REASON, description="Why: the lead reads it."
    )
    duration: StrictInt = Field(
        900, ge=additions.SHORTEST_S, le=additions.LONGEST_S, description="Seconds from the approval."
    )


class More(Schema):
    """One request for more, and what became of it."""

    number: int
    state: str
    verification_uri: str
    addition_hash: str
    decide_by: datetime
    ends_at: datetime | None
    denial: str


class Waiting(Schema):
    wait: int = Field(0, ge=0, le=LONGEST_WAIT_S, description="Seconds to wait for a decision.")


ERRORS: dict[int, Any] = dict.fromkeys((400, 401, 404, 409, 413, 422), Problem)


@router.post(
    "/sessions/{uuid:session_id}/additions",
    auth=session_token,
    response={201: More, **ERRORS},
    url_name="additions",
    operation_id="askForMore",
)
async def ask(request: SessionRequest, session_id: uuid.UUID, body: MoreAsked) -> Status[More]:
    """Ask for more in the middle of a session. A lead decides at `verification_uri`; look for the answer meanwhile."""

    def work() -> More:
        reached(request.auth, session_id)
        wish = additions.Wish(body.authorization_details, body.reason, body.duration)
        return _more(lifecycle.request_addition(session_id, wish))

    return Status(201, await in_thread(work)())


@router.get(
    "/sessions/{uuid:session_id}/additions/{int:number}",
    auth=session_token,
    response={200: More, **dict.fromkeys((401, 404, 422), Problem)},
    url_name="addition",
    operation_id="getAddition",
)
async def standing(request: SessionRequest, session_id: uuid.UUID, number: int, waiting: Query[Waiting]) -> More:
    """Say what became of it; with `wait`, as soon as it is decided."""

    @in_thread
    def look() -> More:
        reached(request.auth, session_id)
        found = Addition.objects.filter(agent_session=session_id, number=number).first()
        if found is None:
            raise Refusal(Code.NOT_FOUND, f"The session has not asked for more {number} times.")
        return _more(found)

    return await until(session_id, waiting.wait, look, lambda one: one.state != AdditionState.REQUESTED)


def _more(addition: Addition) -> More:
    return More(
        number=addition.number,
        state=addition.state,
        verification_uri=f"{settings.BASE_URL}/sessions/{addition.agent_session_id}/more",
        addition_hash=addition.sha256,
        decide_by=addition.decide_by,
        ends_at=addition.ends_at,
        denial=addition.denial,
    )
