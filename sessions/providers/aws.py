"""AWS: a session of a role, narrowed to what was approved, and denied by name when it has to end.

AWS cannot take such a session back. What ends it is a deny on the role for this session alone, which takes effect
within minutes: until its own keys are refused it is called requested, never revoked. Where nothing shows that they are
refused, it is left to die by itself, and said so.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta

from sessions.providers import aws_policy
from sessions.providers.aws_api import AwsApi
from sessions.providers.contract import CredentialError, Details, Held, Intent, Json, Life, Minted, Outcome, Step

SHORTEST_S, CHAINED_S, LONGEST_S = 900, 3_600, 43_200
# Of the labels of an intent, as session tags: CloudTrail shows them with the AssumeRole.
TAGS = {"agent_session": "agent_session", "agent": "agent", "grant": "grant_hash"}

Locked = Callable[[str], AbstractContextManager[None]]


class Aws:
    """A Provider. `locked` keeps two workers from changing one role's policy at once."""

    def __init__(self, kind: str, type_: str, roles: Mapping[str, AwsApi], locked: Locked) -> None:
        self.kind, self._type, self._roles, self._locked = kind, type_, roles, locked

    def slots(self, details: Sequence[Details]) -> Mapping[str, Sequence[Details]]:
        """One session for each role."""
        return {f"aws:{role}": objects for role, objects in aws_policy.by_role(details).items()}

    def problems(self, details: Details) -> Iterator[str]:
        return aws_policy.problems(details, self._roles)

    def sentences(self, details: Details) -> Iterator[str]:
        return aws_policy.sentences(details, {name: api.role.arn for name, api in self._roles.items()})

    def life(self, details: Sequence[Details]) -> Life:
        longest = max((_longest(api) for api in self._roles.values()), default=CHAINED_S)
        return Life(
            SHORTEST_S,
            longest,
            "within minutes, by a deny on its role",
            f"it dies by itself, after {longest // 3_600} h at most.",
        )

    def mint(self, intent: Intent, record: Callable[[Json], None]) -> Minted:
        api = self._api(intent.details)
        policy = aws_policy.session_policy(intent.details)
        if len(policy) > aws_policy.LONGEST_SESSION_POLICY:
            said = (
                f"The session policy has {len(policy):,} characters: AWS takes {aws_policy.LONGEST_SESSION_POLICY:,}."
            )
            raise CredentialError(said, permanent=True, untouched=True)
        ttl_s = min(max(intent.ttl_s, SHORTEST_S), _longest(api))
        # By our own clock, which may differ from AWS's: a session never lives longer than was asked for.
        expires_at = datetime.now(UTC) + timedelta(seconds=ttl_s)
        record({"session": intent.name, "ends_by": (expires_at + timedelta(seconds=60)).isoformat()})
        answer = api.assume(_parameters(intent, policy, ttl_s, api.role.external_id))
        keys = answer["Credentials"]
        handle = {
            "session": intent.name,
            "user_id": answer["AssumedRoleUser"]["AssumedRoleId"],
            "access_key_id": keys["AccessKeyId"],
            "ends_by": keys["Expiration"].astimezone(UTC).isoformat(),
            "packed_policy_percent": answer.get("PackedPolicySize"),
        }
        secret = {
            "type": "aws",
            "access_key_id": keys["AccessKeyId"],
            "secret_access_key": keys["SecretAccessKey"],
            "session_token": keys["SessionToken"],
            "region": api.role.region,
        }
        record(handle)
        # What is refused later proves something only if it was allowed before.
        handle = {**handle, "probe": _probed(api, secret)}
        return Minted(secret, handle, expires_at)

    def steps(self, held: Held) -> Sequence[Step]:
        api = self._api(held.details)

        def deny() -> Outcome:
            done = self._deny(api, held)
            if held.secret is None or held.handle.get("probe") != "allowed":
                return Outcome(False, {**done, "answer": "not known: nothing that was allowed could be tried"})
            answer = api.probe(held.secret)
            return Outcome(answer != "allowed", {**done, "call": aws_policy.PROBE_ACTION, "answer": answer})

        def probe() -> Outcome:
            if held.secret is None:
                return Outcome(False, {"tried": "no: the secret is not known"})
            answer = api.probe(held.secret)
            return Outcome(answer != "allowed", {"call": aws_policy.PROBE_ACTION, "answer": answer})

        return [
            Step("deny", "revoke", "Denied on the role, for this session alone, and in effect", deny, "aws"),
            Step("probe", "proof", "A call that was allowed is refused", probe, "aws"),
        ]

    def _deny(self, api: AwsApi, held: Held) -> dict[str, str]:
        """Once is enough; it is looked whether it is still there."""
        user_id = held.handle.get("user_id") or f"{api.role_id()}:{held.name}"
        ends_by = held.handle.get("ends_by")
        until = datetime.fromisoformat(ends_by) if ends_by else _latest(api)
        with self._locked(api.role.arn):
            before, at = api.inline_policy(aws_policy.DENY_POLICY), datetime.now(UTC)
            if not any(user_id in sessions for sessions in aws_policy.entries_of(before, at).values()):
                text = aws_policy.compact(aws_policy.denying(before, user_id, until, at))
                if len(text) > aws_policy.LONGEST_INLINE:
                    raise CredentialError(f"The policy {aws_policy.DENY_POLICY} of {api.role.name} is full.")
                api.put_inline_policy(aws_policy.DENY_POLICY, text)
        return {"denied": user_id}

    def tidy(self, at: datetime) -> int:
        """Forget denies of sessions that have ended by themselves. Returns from how many roles something was taken."""
        return sum(self._tidied(api, at) for api in self._roles.values())

    def _tidied(self, api: AwsApi, at: datetime) -> bool:
        with self._locked(api.role.arn):
            before = api.inline_policy(aws_policy.DENY_POLICY)
            after = aws_policy.pruned(before, at)
            if before is None or before == after:
                return False
            if after is None:
                api.delete_inline_policy(aws_policy.DENY_POLICY)
            else:
                api.put_inline_policy(aws_policy.DENY_POLICY, aws_policy.compact(after))
            return True

    def _api(self, details: Sequence[Details]) -> AwsApi:
        (role,) = aws_policy.by_role(details)
        if role not in self._roles:
            said = f"The role {role} is not in AWS_ROLES any more, so its sessions can be neither started nor denied."
            raise CredentialError(said)
        return self._roles[role]


def _probed(api: AwsApi, secret: Json) -> str:
    try:
        return api.probe(secret)
    except CredentialError as error:
        return f"not known: {error}"


def _longest(api: AwsApi) -> int:
    return CHAINED_S if api.role.chained else LONGEST_S


def _latest(api: AwsApi) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=_longest(api))


def _parameters(intent: Intent, policy: str, ttl_s: int, external_id: str) -> Json:
    return {
        "RoleSessionName": intent.name,
        "SourceIdentity": intent.name,
        "DurationSeconds": ttl_s,
        "Policy": policy,
        "Tags": [{"Key": tag, "Value": intent.labels[label]} for tag, label in TAGS.items() if label in intent.labels],
        **({"ExternalId": external_id} if external_id else {}),
    }
