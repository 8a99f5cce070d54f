"""OTLP/HTTP logs (opentelemetry.io, OTLP 1.x): what an agent's own telemetry tells of it, as events of its session."""

from collections.abc import Sequence

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from audit.event import now
from sessions import tokens
from sessions.api import batches, otlp, problems, telemetry
from sessions.api.batches import LARGEST_BATCH, BadBatch, OtherType, TooLarge
from sessions.api.events import at_work, reporter_of, session_seen, take
from sessions.api.problems import KINDS, Code, Refusal
from sessions.threads import in_thread

# The statuses that OTLP has its senders try again after.
WAIT = (Code.BUSY, Code.UNAVAILABLE)


@csrf_exempt
async def logs(request: HttpRequest) -> HttpResponse:
    """Stores what can be stored before it answers; a partial success says how many were not, and why."""
    kind = request.headers.get("Content-Type", "")
    try:
        if request.method != "POST":
            raise Refusal(Code.METHOD_NOT_ALLOWED, "Use POST.")
        token = _token(request)
        body, encoding = request.read(LARGEST_BATCH + 1), request.headers.get("Content-Encoding", "")
        with at_work(token):
            rejected, why = await in_thread(_take)(token, body, kind, encoding)
    except Exception as error:  # noqa: BLE001 - told in OTLP's own words, and logged by of_error where nobody expects it
        return _refused(problems.of_error(error, request.path), kind)
    content, content_type = otlp.answer(rejected, why, kind)
    return HttpResponse(content, content_type=content_type)


def _token(request: HttpRequest) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not tokens.well_formed(token.strip(), tokens.SESSION_TOKEN):
        raise Refusal(Code.UNAUTHENTICATED, "Send the header Authorization: Bearer with the session's token.")
    return token.strip()


def _take(token: str, body: bytes, kind: str, encoding: str) -> tuple[int, str]:
    """How many records were not stored, and why the first of them was not."""
    at = now()
    agent_session = session_seen(token)
    raws = [telemetry.raw_event(record, agent_session.id) for record in _records(body, kind, encoding)]
    reporter = reporter_of(agent_session, at)
    receipts = take(reporter, raws, at)
    rejected = [one for one in receipts if one["answer"] == "rejected"]
    return len(rejected), str(rejected[0]["why"]) if rejected else ""


def _records(body: bytes, kind: str, encoding: str) -> Sequence[otlp.Record]:
    try:
        return otlp.read(batches.unpacked(body, encoding), kind)
    except (TooLarge, otlp.TooMany) as bad:
        raise Refusal(Code.TOO_LARGE, str(bad)) from bad
    except (OtherType, otlp.OtherEncoding) as bad:
        raise Refusal(Code.UNSUPPORTED, str(bad)) from bad
    except (BadBatch, otlp.Malformed) as bad:
        raise Refusal(Code.MALFORMED, str(bad)) from bad


def _refused(refusal: Refusal, kind: str) -> HttpResponse:
    content, content_type = otlp.failure(refusal.detail, kind)
    answer = HttpResponse(content, content_type=content_type, status=int(KINDS[refusal.code][0]))
    if refusal.code in WAIT:
        answer["Retry-After"] = "1"
    return answer
