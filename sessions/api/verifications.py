"""What the probes said of the sandbox in which an agent works."""

import uuid
from typing import Annotated, Literal

from ninja import Field, Router, Schema, Status
from pydantic import AfterValidator, ConfigDict

from sessions import lifecycle
from sessions.api.callers import AgentRequest, agent_key
from sessions.api.problems import Problem
from sessions.threads import in_thread
from sessions.words import plain

router = Router(tags=["agents"])

MOST_PROBES = 500
# A probe may have seen any bytes, and PostgreSQL keeps no NUL.
Text = Annotated[str, AfterValidator(plain)]
WORD, PLAIN = r"^[A-Za-z0-9._-]{1,64}$", r"^[ -~]*$"


class Tried(Schema):
    """One probe: what it tried, what was seen, and whether the same crossed where there was no boundary."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=WORD)
    title: Text = Field(max_length=200)
    tries: Text = Field("", max_length=200)
    source: Text = Field("", max_length=200)
    outcome: Literal["held", "crossed", "skipped", "invalid"]
    control: Literal["held", "crossed", "skipped", "invalid"]
    saw: Text = Field("", max_length=500)
    why: Text = Field("", max_length=500)


class Verified(Schema):
    """The report of `drawbridge verify`. `crossed` and `skipped` are counted anew from `report`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sandbox: str = Field(pattern=WORD, max_length=32)
    version: str = Field(max_length=64, pattern=PLAIN)
    framework: str = Field("", max_length=64, pattern=PLAIN)
    framework_version: str = Field("", max_length=64, pattern=PLAIN)
    host: str = Field("", max_length=200, pattern=PLAIN)
    probes: int = Field(ge=1, le=MOST_PROBES)
    crossed: list[str] = Field(max_length=MOST_PROBES)
    skipped: list[str] = Field(max_length=MOST_PROBES)
    report: list[Tried] = Field(min_length=1, max_length=MOST_PROBES)


class Kept(Schema):
    id: uuid.UUID
    held: int
    crossed: int
    unknown: int


@router.post(
    "/agent/verifications",
    auth=agent_key,
    response={201: Kept, **dict.fromkeys((400, 401, 413, 422), Problem)},
    url_name="verifications",
    operation_id="reportVerification",
)
async def report(request: AgentRequest, body: Verified) -> Status[Kept]:
    """Keep what the probes said. Profiles may demand that a sandbox withstood them lately."""
    made = await in_thread(lifecycle.record_verification)(request.auth.agent, body.model_dump())
    return Status(201, Kept(id=made.id, held=made.held, crossed=made.crossed, unknown=made.unknown))
