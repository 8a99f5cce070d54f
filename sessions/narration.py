"""Events as sentences: who did what, and what came of it. A kind that is not known is told by its name."""

import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from audit.event import DENIED, SUCCESS
from audit.timeline import Entry
from sessions.models import Agent, Person
from sessions.parties import looks_like_ours
from sessions.words import elapsed, plain, span

Data = Mapping[str, Any]
SERVICES = {"service:issuer": "The issuer", "service:revoker": "The revoker", "service:sweep": "The sweep"}
LONGEST_QUOTE = 280


@dataclass(frozen=True)
class Told:
    """One event for reading: `actor` did `text`, `quote` is somebody else's words, `note` what came of it.

    `reported` is what an agent says of itself: nobody else saw it.
    """

    actor: str
    text: str
    quote: str = ""
    note: str = ""
    reported: bool = False


def names_of(references: Iterable[str]) -> dict[str, str]:
    """Names for references as events use them (person:<id>, agent:<id>, service:<name>)."""
    gateways: dict[str, str] = {}
    by_kind: dict[str, set[uuid.UUID]] = {"person": set(), "agent": set()}
    for reference in references:
        kind, _, rest = reference.partition(":")
        if kind == "gateway":
            gateways[reference] = f"The gateway {plain(rest)}"
        if kind in by_kind:
            with suppress(ValueError):
                by_kind[kind].add(uuid.UUID(rest))
    people = Person.objects.filter(pk__in=by_kind["person"]).values_list("pk", "name") if by_kind["person"] else ()
    agents = Agent.objects.filter(pk__in=by_kind["agent"]).values_list("pk", "name") if by_kind["agent"] else ()
    return {
        **SERVICES,
        **gateways,
        **{f"person:{pk}": plain(name) for pk, name in people},
        **{f"agent:{pk}": _agent_name(name) for pk, name in agents},
    }


def _agent_name(name: str) -> str:
    """Names that look like ours are not given out any more; one that is there says that it is an agent's."""
    return f"the agent “{plain(name)}”" if looks_like_ours(name) else plain(name)


def tell(entry: Entry, names: Mapping[str, str]) -> Told:
    """The sentence for one event. `names` is what names_of() answered for its act."""
    actor = names.get(entry.act, entry.act)
    teller = TELLERS.get(entry.kind)
    text, quote, note = teller(entry.data) if teller is not None else _reported(entry)
    return Told(actor, plain(text), plain(_short(quote)), plain(_short(note)), reported=teller is None)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]}…"


Parts = tuple[str, str, str]


def _requested(data: Data) -> Parts:
    return f"asked for a session of {span(data['grant']['limits']['duration'])}", str(data["purpose"]), ""


def _approved(data: Data) -> Parts:
    length = span(data["grant"]["limits"]["duration"])
    if "asked_hash" in data:
        return f"approved less than was asked for: {length}", "", ""
    return f"approved it for {length}", "", ""


def _denied(data: Data) -> Parts:
    return "denied it", str(data.get("reason", "")), ""


def _more_asked(data: Data) -> Parts:
    return "asked for more", str(data["addition"]["reason"]), ""


def _more_denied(data: Data) -> Parts:
    return "refused what it asked for besides", str(data.get("reason", "")), ""


def _ended(text: str) -> Callable[[Data], Parts]:
    def told(data: Data) -> Parts:
        count = len(data.get("revoking", ()))
        asked = f"{count} {'credential' if count == 1 else 'credentials'} to be revoked" if count else ""
        return text, "", asked

    return told


def _failed(data: Data) -> Parts:
    return "could not start the session", "", str(data.get("problem", ""))


def _finding(data: Data) -> Parts:
    return "ended the session because of a finding", "", str(data.get("finding", ""))


def _said(text: str) -> Callable[[Data], Parts]:
    return lambda data: (text, "", "")


def _credential(text: str) -> Callable[[Data], Parts]:
    def told(data: Data) -> Parts:
        generation = f", generation {data['generation']}" if data["generation"] > 1 else ""
        return text.format(slot=f"the credential for {data['slot']}{generation}"), "", str(data.get("problem", ""))

    return told


def _revocation(text: str) -> Callable[[Data], Parts]:
    def told(data: Data) -> Parts:
        after = elapsed(timedelta(milliseconds=data["elapsed_ms"]))
        return text.format(slot=f"the credential for {data['slot']}"), "", f"{after} after it was requested"

    return told


def _place(data: Data) -> str:
    """Where it went, as a gateway names it; a path only where it saw inside."""
    path = str(data.get("path") or "")
    return f"{data.get('method') or ''} {data.get('host', '')}:{data.get('port', '')}{path}".strip()


def _traffic(text: str, *notes: str) -> Callable[[Data], Parts]:
    """What a gateway saw: it is no claim of the agent's."""

    def told(data: Data) -> Parts:
        said = [f"{name.replace('_', ' ')} {data[name]}" for name in notes if data.get(name) not in (None, "", False)]
        return text, _place(data) if "host" in data else "", ", ".join(said)

    return told


def _gateway_cut(data: Data) -> Parts:
    took = elapsed(timedelta(microseconds=data["elapsed_us"]))
    return "passes nothing more for the session", "", f"connections closed: {data['connections']}, in {took}"


TELLERS: Mapping[str, Callable[[Data], Parts]] = {
    "session.requested": _requested,
    "session.approved": _approved,
    "session.denied": _denied,
    "session.withdrawn": _said("withdrew the request"),
    "session.lapsed": _said("closed the request: nobody decided in time"),
    "session.active": _said("started the session: all credentials are there, the clock runs"),
    "session.token_issued": _said("fetched the session's token"),
    "session.completed": _ended("ended the session: the work is done"),
    "session.expired": _ended("ended the session: its time is up"),
    "session.killed": _ended("killed the session"),
    "session.suspended": _ended("suspended the session"),
    "session.resumed": _said("resumed the session"),
    "session.failed": _failed,
    "session.finding": _finding,
    "addition.requested": _more_asked,
    "addition.approved": _said("allowed what it asked for besides"),
    "addition.denied": _more_denied,
    "addition.lapsed": _said("closed the request for more: nobody decided in time"),
    "gateway.holds": _said("took the session's policy"),
    "gateway.cut": _gateway_cut,
    "egress.request": _traffic("lets through", "injected", "rule"),
    "egress.response": _traffic("got the answer", "status", "received_bytes", "elapsed_ms"),
    "egress.opened": _traffic("opens a connection", "address", "rule"),
    "egress.closed": _traffic("closed a connection", "why", "sent_bytes", "received_bytes"),
    "egress.denied": _traffic("refused", "code", "evasion"),
    "finding.leak": _traffic("found a secret on its way out, and stopped it", "slot", "where", "encoding"),
    "finding.echo": _traffic("took a secret out of an answer", "slot", "where", "encoding"),
    "finding.evasion": _traffic("found an attempt to get round a refusal", "code", "attempts"),
    "credential.issued": _credential("minted {slot}"),
    "credential.delivered": _credential("was handed {slot}"),
    "credential.rotating": _credential("is replacing {slot} before it ends"),
    "credential.replaced": _credential("gave up a half-minted try of {slot} and starts again"),
    "credential.late": _credential("minted {slot} too late, so it is being revoked"),
    "credential.revocation_requested": _credential("asked for the end of {slot}"),
    "credential.revoked": _revocation("revoked {slot}"),
    "credential.proven": _revocation("tried {slot} and was refused: it is proven dead"),
    "credential.unprovable": _revocation("ended {slot}: it lives on elsewhere, so that nothing can prove it"),
    "credential.expired_unrevoked": _revocation("could not revoke {slot} before it expired by itself"),
}


QUOTED = ("statement", "argv", "command", "sql", "request", "path", "url", "text")
REPORTED = {
    "process.started": "started a command",
    "process.executed": "started a program, as the kernel saw",
    "file.read": "read a file, as the kernel saw",
    "file.write": "wrote a file, as the kernel saw",
    "sandbox.started": "works inside a sandbox",
    "sandbox.absent": "works WITHOUT a sandbox",
    "sandbox.unobserved": "cannot have its files observed by the kernel",
    "sandbox.unseen": "did more than could be observed",
    "process.ended": "is done with its command",
    "db.connected": "connected to the database",
    "db.connection_cut": "lost its connection to the database",
    "db.login": "tried to log in to the database",
    "db.statement": "ran",
}


def _reported(entry: Entry) -> Parts:
    """An event that an agent reported: what it ran, and what was answered, under whichever usual name it has."""
    data = entry.data
    quote = next((_text(data[key]) for key in QUOTED if data.get(key)), "")
    return REPORTED.get(entry.kind, entry.kind.replace(".", " ").replace("_", " ")), quote, _answer(entry)


def _text(value: Any) -> str:
    return " ".join(str(word) for word in value) if isinstance(value, list) else str(value)


def _answer(entry: Entry) -> str:
    data = entry.data
    said = next((str(data[key]) for key in ("error", "message", "problem", "reason") if data.get(key)), "")
    if said and entry.outcome != SUCCESS:
        return f"{_judge(entry)}: {said}"
    if said:
        return said
    if "rows" in data:
        return f"{data['rows']} {'row' if data['rows'] == 1 else 'rows'}"
    if "exit_code" in data:
        return f"exit code {data['exit_code']}"
    return ""


def _judge(entry: Entry) -> str:
    """Who said that it cannot be, and in which sense; all of it is what the agent says."""
    if entry.kind.startswith("db."):
        return "It says that PostgreSQL refused" if entry.outcome == DENIED else "It says that PostgreSQL answered"
    return "It says that it was refused" if entry.outcome == DENIED else "It says that it failed"
