"""A string that somebody found where it should not be: whose it is. Nothing of it is stored, logged or put in an event.

Secrets are known again by keyed digests of their fields, our own keys by the digests that they are kept under anyway.
"""

import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from audit import envelope
from sessions import tokens
from sessions.models import AgentKey, AgentSession, Credential, Fingerprint, Gateway
from sessions.policy import Viewer, may_see

# Fields of a secret that everybody may know, and what is too short to be one.
PUBLIC = frozenset({"type", "host", "port", "dbname", "address", "region", "owner", "certificate", "username"})
LEAST, MOST_CANDIDATES = 12, 2_000
SEPARATORS = re.compile(r"""[\s"'`,;=&?<>(){}\[\]|]+""")
# What a URL puts around a password.
FINER = re.compile(r"[:@/]+")
PEM = re.compile(r"-----BEGIN [A-Z ]+-----.*?-----END [A-Z ]+-----", re.DOTALL)


@dataclass(frozen=True)
class Found:
    """What a string is: `what` in words; the session and credential that it belongs to, where it has them."""

    what: str
    agent_session: AgentSession | None = None
    credential: Credential | None = None
    key: AgentKey | None = None
    gateway: Gateway | None = None

    @property
    def team(self) -> uuid.UUID | None:
        """Whose it is; None for what belongs to no team."""
        if self.key is not None:
            return self.key.agent.team_id
        return self.agent_session.team_id if self.agent_session is not None else None


def remember(credential: Credential, secret: Mapping[str, Any]) -> None:
    """Keep the digests of what a credential has that is secret."""
    values = {_normal(value) for name, value in secret.items() if name not in PUBLIC and isinstance(value, str)}
    rows = (
        Fingerprint(credential=credential, digest=envelope.fingerprint(value))
        for value in values
        if len(value) >= LEAST
    )
    Fingerprint.objects.bulk_create(rows, ignore_conflicts=True)


def candidates(text: str) -> list[str]:
    """What of a pasted text may be a secret: all of it, private keys in it, and its words, coarse and fine."""
    found = [_normal(text), *map(_normal, PEM.findall(text))]
    for word in SEPARATORS.split(text):
        found += [word, *FINER.split(word)]
    return [word for word in dict.fromkeys(found) if len(word) >= LEAST][:MOST_CANDIDATES]


def look_up(text: str, watcher: Viewer) -> list[Found]:
    """What is known of it, in teams where the viewer has a role; a gateway serves all teams."""
    return [one for one in _all(candidates(text)) if one.team is None or may_see(watcher, one.team)]


def _all(words: list[str]) -> Iterator[Found]:
    yield from _credentials(words)
    digests = [tokens.digest(word) for word in words]
    named = AgentSession.objects.select_related("agent", "team", "person")
    for run in named.filter(token_digest__in=digests):
        yield Found("The session's own token", run)
    for run in named.filter(proxy_digest__in=digests):
        yield Found("What the session's sandbox shows to gateways", run)
    for key in AgentKey.objects.filter(digest__in=digests).select_related("agent__team"):
        yield Found("A key of an agent", key=key)
    for gateway in Gateway.objects.filter(token_digest__in=digests):
        yield Found("The token of a gateway", gateway=gateway)


def _credentials(words: list[str]) -> Iterator[Found]:
    digests = [digest for word in words for digest in envelope.fingerprints(word)]
    secret = set(Fingerprint.objects.filter(digest__in=digests).values_list("credential", flat=True))
    named = set(_named(words))
    rows = Credential.objects.filter(pk__in=secret | named)
    for credential in rows.select_related("agent_session__agent", "agent_session__team", "agent_session__person"):
        what = "A credential's secret" if credential.pk in secret else "A credential's name, which is no secret"
        yield Found(what, credential.agent_session, credential)


def _named(words: Iterable[str]) -> Iterator[uuid.UUID]:
    """Credentials by the name under which they were minted, which is made of their id."""
    for word in words:
        digits = word.lower().partition("dbr_")[2][:32]
        if re.fullmatch("[0-9a-f]{32}", digits):
            yield uuid.UUID(digits)


def _normal(text: str) -> str:
    """Without the ends of lines that a copy adds."""
    return text.replace("\r\n", "\n").strip()
