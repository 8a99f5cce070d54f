"""What gateways speak to (docs/gateway.md): their lease, what happens to sessions, policies, events, and cuts."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

from django.http import HttpResponse, StreamingHttpResponse
from ninja import Field, Router, Schema, Status
from pydantic import AwareDatetime, ConfigDict, StrictInt

from sessions import lifecycle
from sessions.api import gateway_events
from sessions.api.batches import LARGEST_BATCH, NDJSON
from sessions.api.callers import GatewayRequest, gateway_token
from sessions.api.events import Receipts
from sessions.api.problems import Code, Problem, Refusal
from sessions.errors import StateConflict
from sessions.gateways import holds, policy_document, secrets
from sessions.gateways.holds import LEASE_S, Renewal
from sessions.gateways.switchboard import switchboard
from sessions.models import AgentSession, Gateway
from sessions.models.runs import State
from sessions.threads import in_thread

router = Router(tags=["gateways"])

MOST_SESSIONS, MOST_ACKS = 20_000, 5_000
BEAT_S = 1.0
BIGGEST_SERIAL = 2**31 - 1


class Lease(Schema):
    """What a gateway says of itself: the serials are those of the policies that it has, by session."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: str = Field(max_length=64, pattern=r"^[ -~]*$")
    address: str = Field(max_length=200, pattern=r"^[ -~]*$", description="Where sandboxes reach it: host:port.")
    started_at: AwareDatetime
    sessions: dict[uuid.UUID, StrictInt] = Field(max_length=MOST_SESSIONS)


class Leased(Schema):
    """It may pass things on for `lease_s` seconds more, counted from when it asked."""

    gateway: str
    lease_s: int
    over: list[uuid.UUID]
    changed: list[uuid.UUID]


class Passage(Schema):
    """All that a gateway needs to pass something on for a session. `policy` is a DSSE envelope."""

    session: uuid.UUID
    state: str
    serial: int
    policy: dict[str, Any]
    proxy_sha256: str
    secrets: dict[str, dict[str, Any]]
    redact: list[str]


class Ack(Schema):
    """This gateway passes nothing more for the session; `connections` were open, and closing them took `elapsed_us`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    session: uuid.UUID
    cut_at: AwareDatetime
    connections: StrictInt = Field(ge=0, le=BIGGEST_SERIAL)
    elapsed_us: StrictInt = Field(ge=0, le=2**53)


class Acks(Schema):
    model_config = ConfigDict(extra="forbid", frozen=True)

    acks: list[Ack] = Field(max_length=MOST_ACKS)


@router.post(
    "/lease",
    auth=gateway_token,
    response={200: Leased, **dict.fromkeys((400, 401, 413, 422), Problem)},
    url_name="gateway-lease",
    operation_id="renewLease",
)
async def lease(request: GatewayRequest, body: Lease) -> Leased:
    """Go on for ten seconds more, and hear which of the sessions are over or have changed."""
    gateway = request.auth
    said = Renewal(body.version, body.address, body.started_at, body.sessions)
    news = await in_thread(holds.renew)(gateway.id, said)
    return Leased(gateway=gateway.name, lease_s=LEASE_S, over=list(news.over), changed=list(news.changed))


@router.get(
    "/stream",
    auth=gateway_token,
    response={200: Any, 401: Problem},
    url_name="gateway-stream",
    operation_id="hearOfSessions",
    openapi_extra={"responses": {200: {"content": {NDJSON: {"schema": {"type": "string"}}}}}},
)
async def stream(request: GatewayRequest) -> StreamingHttpResponse:
    """Hear as it happens which sessions are over or have changed; a beat each second says that the line stands."""
    from sessions.streams import give_back

    await give_back()
    answer = StreamingHttpResponse(_lines(request.auth), content_type=NDJSON)
    answer["X-Accel-Buffering"] = "no"
    return answer


async def _lines(gateway: Gateway) -> AsyncIterator[bytes]:
    """Until the gateway hangs up, or is retired."""
    from sessions.streams import leave_thread

    await leave_thread()
    clock = asyncio.get_running_loop().time
    beat, next_beat = 0, clock()
    with switchboard().connected(gateway.id) as line:
        while not line.cut:
            for news in line.take():
                yield _line(news)
            if clock() >= next_beat:
                beat, next_beat = beat + 1, clock() + BEAT_S
                yield _line({"beat": beat})
            try:
                async with asyncio.timeout_at(next_beat):
                    await line.woken.wait()
            except TimeoutError:
                continue


def _line(content: object) -> bytes:
    return json.dumps(content).encode() + b"\n"


@router.get(
    "/sessions/{uuid:session_id}",
    auth=gateway_token,
    response={200: Passage, **dict.fromkeys((401, 404, 410), Problem)},
    url_name="gateway-session",
    operation_id="getPassage",
)
async def passage(request: GatewayRequest, session_id: uuid.UUID) -> HttpResponse:
    """The policy of a session, and the secrets that it needs: from now on this gateway has to acknowledge its cut."""
    found = await in_thread(_passage)(request.auth, session_id)
    return HttpResponse(found.model_dump_json(), content_type="application/json")


@router.post(
    "/events",
    auth=gateway_token,
    response={200: Receipts, **dict.fromkeys((400, 401, 413, 415, 429, 503), Problem)},
    url_name="gateway-events",
    operation_id="reportTraffic",
    openapi_extra=gateway_events.DOCUMENT,
)
async def events(request: GatewayRequest) -> HttpResponse:
    """Store what passed and what was refused. As for agents, but that each event names its session."""
    body = request.read(LARGEST_BATCH + 1)
    kind, encoding = request.headers.get("Content-Type", ""), request.headers.get("Content-Encoding", "")
    with gateway_events.at_work(request.auth):
        receipts = await in_thread(gateway_events.take)(request.auth, body, kind, encoding)
    return HttpResponse(receipts, content_type="application/json")


@router.post(
    "/acks",
    auth=gateway_token,
    response={204: None, **dict.fromkeys((400, 401, 413, 422), Problem)},
    url_name="gateway-acks",
    operation_id="acknowledgeCuts",
)
async def acks(request: GatewayRequest, body: Acks) -> Status[None]:
    """This gateway passes nothing more for these sessions. Saying it again is safe."""
    cuts = [lifecycle.Cut(one.session, one.cut_at, one.connections, one.elapsed_us) for one in body.acks]
    await in_thread(lifecycle.record_cuts)(request.auth, cuts)
    return Status(204, None)


def _passage(gateway: Gateway, session_id: uuid.UUID) -> Passage:
    """The hold is noted first: whatever ends the session after that has to wait for this gateway's word."""
    if not AgentSession.objects.filter(pk=session_id).exists():
        raise Refusal(Code.NOT_FOUND, "There is no such session.")
    try:
        lifecycle.record_hold(gateway, session_id)
    except StateConflict as conflict:
        if conflict.expected == (State.ACTIVE,):
            said = f"The session is {conflict.found} now: nothing passes for it."
            raise Refusal(Code.GONE, said) from conflict
    agent_session = AgentSession.objects.get(pk=session_id)
    if agent_session.state != State.ACTIVE:
        raise Refusal(Code.GONE, f"The session is {agent_session.state} now: nothing passes for it.")
    slots = policy_document.needed_slots(agent_session.grant.content["authorization_details"])
    known = secrets.of(session_id, slots)
    return Passage(
        session=session_id,
        state=agent_session.state,
        serial=agent_session.policy_serial,
        policy=policy_document.signed(agent_session),
        proxy_sha256=agent_session.proxy_digest,
        secrets={slot: dict(secret) for slot, secret in known.added.items()},
        redact=list(known.redacted),
    )
