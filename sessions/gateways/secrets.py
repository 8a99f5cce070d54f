"""The secrets of a session as gateways get them: those that they add, and those that they take out of what passes."""

import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from audit import envelope
from audit.envelope import Sealed
from sessions.models import Credential
from sessions.models.credentials import CredentialState

# The fields of a credential that are worth hiding; the others are names and addresses.
HIDDEN = ("password", "value", "token", "secret_access_key", "session_token", "private_key")


@dataclass(frozen=True)
class Secrets:
    """`added` by slot; `redacted` are texts that may leave for no host and come back to no agent."""

    added: Mapping[str, Mapping[str, Any]]
    redacted: tuple[str, ...]


def of(agent_session_id: uuid.UUID, slots: Collection[str]) -> Secrets:
    """What is live of the session's credentials. Raises envelope.Unreadable where one does not open."""
    rows = Credential.objects.filter(
        agent_session=agent_session_id,
        state__in=(CredentialState.ISSUED, CredentialState.REVOKING, CredentialState.REVOKED),
        sealed__isnull=False,
    ).order_by("slot", "-generation")
    added: dict[str, Mapping[str, Any]] = {}
    redacted: list[str] = []
    for row in rows:
        secret = _unsealed(row)
        if row.slot in slots and row.slot not in added and row.state == CredentialState.ISSUED:
            added[row.slot] = secret
        else:
            redacted += _texts(secret)
    return Secrets(added, tuple(dict.fromkeys(redacted)))


def _unsealed(row: Credential) -> dict[str, Any]:
    assert row.sealed is not None
    return envelope.unseal(Sealed(row.sealed_with, bytes(row.sealed)), str(row.id))


def _texts(secret: Mapping[str, Any]) -> Iterable[str]:
    return [str(secret[name]) for name in HIDDEN if secret.get(name)]
