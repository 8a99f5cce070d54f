"""What the far ends say is alive, against our rows: what nobody owns is killed and told, what is gone is marked.

Asked are OpenBao (each token that names a credential of ours, whatever engine made something for it) and each
PostgreSQL target (each role of our prefix). Not asked are GitHub and OAuth, which show nobody such a list, GitLab, and
AWS, whose denies are tidied by themselves (tasks.tidy_aws).
"""

import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass

import structlog
from django.db import transaction

from audit import log
from audit.advisory import alone
from audit.event import FAILURE, LOG_STREAM, SUCCESS, NewEvent, now
from sessions.models import Credential, Reconciliation
from sessions.models.credentials import DEAD, CredentialState
from sessions.providers import registry
from sessions.providers.contract import CredentialError, Held
from sessions.providers.openbao import OpenBao

logger = structlog.get_logger()

ACT = "service:reconciler"
LOCK = 0x72_65_63_6F
MOST_FINDINGS = 200
NAME = re.compile(r"dbr_[0-9a-f]{32}", re.ASCII)
GONE = "Its far end does not know it any more."


@dataclass(frozen=True)
class Alive:
    """Something of our name at a far end. `still` asks again; `end` kills it, and says what it did."""

    where: str
    name: str
    still: Callable[[], bool]
    end: Callable[[], str]


@dataclass(frozen=True)
class Finding:
    kind: str
    where: str
    name: str
    did: str


def run() -> Reconciliation | None:
    """None where another runs."""
    with alone(LOCK) as ours:
        return _run() if ours else None


def _run() -> Reconciliation:
    made = Reconciliation.objects.create(started_at=now())
    provider = registry.provider("openbao")
    assert isinstance(provider, OpenBao)
    problems: list[str] = []
    alive: list[Alive] = []
    tokens: dict[str, str] | None = None
    # The far ends first: whatever they list has had its row for longer.
    try:
        tokens = provider.tokens()
        alive += [_token(provider, name, accessor) for name, accessor in tokens.items()]
    except CredentialError as error:
        problems.append(str(error))
    for target in provider.targets:
        try:
            alive += [_role(provider, target, name) for name in provider.roles(target)]
        except CredentialError as error:
            problems.append(str(error))
    findings = [*_orphans(alive)]
    if tokens is not None:
        findings += _missing(set(tokens), made)
    return _conclude(made, len(alive), findings, problems)


def _token(provider: OpenBao, name: str, accessor: str) -> Alive:
    def end() -> str:
        provider.end_token(accessor)
        return "revoked, and its leases with it"

    return Alive("OpenBao's tokens", name, lambda: provider.knows(accessor), end)


def _role(provider: OpenBao, target: str, name: str) -> Alive:
    def end() -> str:
        left = []
        for step in provider.steps(Held(name, provider.details_of(target), {}, None)):
            try:
                left += [] if step.run().done else [step.label]
            except CredentialError as error:
                left.append(f"{step.label}: {error}")
        return f"not dead yet: {'; '.join(left)}" if left else "cut, taken back, proven dead"

    return Alive(f"PostgreSQL {target}", name, lambda: provider.has_role(target, name), end)


def _orphans(alive: Iterable[Alive]) -> Iterator[Finding]:
    """What no row may own. Something that died meanwhile is no orphan, so each is asked after once more."""
    listed = [one for one in alive if NAME.fullmatch(one.name)]
    ids = {one.name: uuid.UUID(one.name.removeprefix("dbr_")) for one in listed}
    owned = set(Credential.objects.filter(pk__in=ids.values()).exclude(state__in=DEAD).values_list("pk", flat=True))
    for one in listed:
        if ids[one.name] in owned:
            continue
        try:
            if one.still():
                yield Finding("orphan", one.where, one.name, one.end())
        except CredentialError as error:
            yield Finding("orphan", one.where, one.name, f"not killed: {error}")


def _missing(tokens: set[str], made: Reconciliation) -> Iterator[Finding]:
    """Credentials that are live by our word and hang on a token that OpenBao does not list."""
    live = Credential.objects.filter(
        state=CredentialState.ISSUED, expires_at__gt=now(), issued_at__lt=made.started_at, handle__has_key="accessor"
    )
    for one in live.iterator():
        if one.name in tokens:
            continue
        still = Credential.objects.filter(pk=one.pk, state=CredentialState.ISSUED).exclude(problem=GONE)
        if still.update(problem=GONE):
            yield Finding("missing", f"OpenBao, for {one.slot}", one.name, "marked: it died before its time")


@transaction.atomic(durable=True)
def _conclude(made: Reconciliation, seen: int, findings: list[Finding], problems: list[str]) -> Reconciliation:
    made.ended_at, made.seen = now(), seen
    made.findings, made.problems = [asdict(one) for one in findings[:MOST_FINDINGS]], problems
    made.save()
    data = {"run": str(made.pk), "seen": seen, "findings": made.findings[:50], "problems": problems}
    outcome = FAILURE if findings or problems else SUCCESS
    log.append(NewEvent("credentials.reconciled", LOG_STREAM, ACT, ACT, data=data, outcome=outcome))
    for one in findings:
        logger.error("reconciliation_found", kind=one.kind, where=one.where, name=one.name, did=one.did)
    return made
