"""The OpenBao token that a credential hangs on: an orphan with a policy of its own, found again by name or accessor."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sessions.providers.contract import CredentialError, Held, Intent, Json, Outcome, Step
from sessions.providers.openbao_api import OpenBaoApi

POLICY_PREFIX = "drawbridge-session-"
OPENBAO = "openbao"


def token_fields(intent: Intent, **more: object) -> Json:
    """An orphan that nobody can renew; OpenBao's audit log shows its labels in clear."""
    return {
        "policies": [POLICY_PREFIX + intent.name],
        "meta": {**intent.labels, "credential": intent.name},
        "ttl": f"{intent.ttl_s}s",
        "explicit_max_ttl": f"{intent.ttl_s}s",
        "renewable": False,
        "no_default_policy": True,
        **more,
    }


class SessionToken:
    """Its end. Every step works from the name alone, and may be taken again."""

    def __init__(self, api: OpenBaoApi, held: Held) -> None:
        self._api, self._held = api, held

    def steps(self) -> Sequence[Step]:
        return [
            Step("token", "revoke", "Session's token revoked at OpenBao", self.revoke, OPENBAO),
            Step("token_lookup", "proof", "Token unknown to OpenBao", self.look_up, OPENBAO),
        ]

    def revoke(self) -> Outcome:
        known = self._held.handle.get("accessor")
        accessors = self._accessors() if known is None else [known]
        ended = sum(self._api.revoke_token(accessor) for accessor in accessors)
        return Outcome(True, {"tokens_ended": ended, "found": "by name" if known is None else "by accessor"})

    def look_up(self) -> Outcome:
        known = self._held.handle.get("accessor")
        if known is None:
            found = len(self._accessors())
            return Outcome(found == 0, {"answer": f"{found or 'no'} token of this name in OpenBao's list"})
        alive = self._api.token_of(known) is not None
        return Outcome(not alive, {"answer": "the token lives" if alive else "invalid accessor"})

    def delete_policy(self) -> None:
        self._api.delete(f"sys/policies/acl/{POLICY_PREFIX}{self._held.name}")

    def _accessors(self) -> Sequence[str]:
        """Look for the name in every token's labels. Without the policy, which is older, there is none to find."""
        if not self._api.exists(f"sys/policies/acl/{POLICY_PREFIX}{self._held.name}"):
            return []
        return [accessor for accessor in self._api.accessors() if self._is_ours(accessor)]

    def _is_ours(self, accessor: str) -> bool:
        token = self._api.token_of(accessor)
        return token is not None and (token["meta"] or {}).get("credential") == self._held.name


@contextmanager
def untouched() -> Iterator[None]:
    """Nothing that opens anything is made here, so the same intent may be tried again."""
    try:
        yield
    except CredentialError as error:
        error.untouched = True
        raise
