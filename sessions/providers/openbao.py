"""OpenBao (or Vault): a PostgreSQL role for each credential, leased to a token of its own."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sessions.providers import postgresql
from sessions.providers.contract import CredentialError, Details, Held, Intent, Life, Minted, Step
from sessions.providers.cutter import Cutter, Target
from sessions.providers.ending import Ending, unreachable
from sessions.providers.openbao_api import Json, OpenBaoApi, rule
from sessions.providers.postgresql import Access
from sessions.providers.session_token import POLICY_PREFIX, token_fields, untouched


class OpenBao:
    """A Provider. Credentials are named `dbr_` and 32 hexadecimal digits; the services accept nothing else."""

    kind = "openbao"

    def __init__(self, api: OpenBaoApi, targets: Mapping[str, Target]) -> None:
        self._api = api
        self._cutters = {name: Cutter(target) for name, target in targets.items()}

    def slots(self, details: Sequence[Details]) -> Mapping[str, Sequence[Details]]:
        """One credential for each database."""
        slots: dict[str, list[Details]] = {}
        for each in details:
            slots.setdefault(f"{postgresql.TYPE}:{self._access(each).target}", []).append(each)
        return slots

    def problems(self, details: Details) -> Iterator[str]:
        return postgresql.problems(details, self._cutters)

    def sentences(self, details: Details) -> Iterator[str]:
        return postgresql.sentences(self._access(details))

    def life(self, details: Sequence[Details]) -> Life:
        return Life(60, 86_400, "at once", "its lease ends it.")

    def mint(self, intent: Intent, record: Callable[[Json], None]) -> Minted:
        """The token that the credential hangs on is never stored: its accessor, recorded at once, ends it."""
        accesses = [self._access(each) for each in intent.details]
        target = self._target(accesses)
        self._prepare(intent, target, accesses)
        began = datetime.now(UTC)
        auth = self._api.create_token(token_fields(intent))
        handle = {"target": target.name, "accessor": auth["accessor"]}
        record(handle)
        answer = self._api.generate(f"{target.mount}/creds/{intent.name}", auth["client_token"])
        if answer["data"]["username"] != intent.name:
            said = f"OpenBao's connection {target.connection} must have username_template {{{{.RoleName}}}}."
            raise CredentialError(said, permanent=True)
        lives = timedelta(seconds=min(auth["lease_duration"], answer["lease_duration"]))
        return Minted(secret_of(target, answer["data"]), {**handle, "lease_id": answer["lease_id"]}, began + lives)

    def _prepare(self, intent: Intent, target: Target, accesses: Sequence[Access]) -> None:
        with untouched():
            self._api.write_database_role(target.mount, intent.name, role_fields(intent, target, accesses))
            self._api.write_policy(POLICY_PREFIX + intent.name, policy(target, intent.name))

    @property
    def targets(self) -> Sequence[str]:
        return sorted(self._cutters)

    def roles(self, target: str) -> set[str]:
        """The names of credentials that have a role in a database."""
        return self._cutters[target].roles()

    def has_role(self, target: str, name: str) -> bool:
        return self._cutters[target].may_log_in(name) is not None

    def details_of(self, target: str) -> Sequence[Details]:
        """Enough of an object to end a credential of a database of which nothing but its name is known."""
        return [{"type": postgresql.TYPE, "locations": [f"postgresql://{target}/public.unknown"], "actions": ["read"]}]

    def tokens(self) -> dict[str, str]:
        """Accessors of the tokens that credentials hang on, by the credential's name."""
        found = {}
        for accessor in self._api.accessors():
            token = self._api.token_of(accessor)
            name = (token["meta"] or {}).get("credential") if token is not None else None
            if name:
                found[str(name)] = accessor
        return found

    def knows(self, accessor: str) -> bool:
        return self._api.token_of(accessor) is not None

    def end_token(self, accessor: str) -> None:
        self._api.revoke_token(accessor)

    def steps(self, held: Held) -> Sequence[Step]:
        return Ending(self._api, lambda: self._cutter(held), held).steps()

    def _access(self, details: Details) -> Access:
        return Access.of(details, self._cutters)

    def _target(self, accesses: Sequence[Access]) -> Target:
        (name,) = {access.target for access in accesses}
        return self._cutters[name].target

    def _cutter(self, held: Held) -> Cutter:
        name = postgresql.target_of(held.details[0])
        if name not in self._cutters:
            raise unreachable(name)
        return self._cutters[name]


def role_fields(intent: Intent, target: Target, accesses: Sequence[Access]) -> Json:
    """OpenBao's database role: the SQL that makes and ends the PostgreSQL role, natural expiry included."""
    return {
        "db_name": target.connection,
        "creation_statements": postgresql.creation_statements(accesses, target.dbname),
        "revocation_statements": postgresql.REVOCATION_STATEMENTS,
        "default_ttl": f"{intent.ttl_s}s",
        "max_ttl": f"{intent.ttl_s}s",
    }


def policy(target: Target, name: str) -> str:
    """What the session's token may do: ask for this one credential."""
    return rule(f"{target.mount}/creds/{name}", "read")


def secret_of(target: Target, data: Mapping[str, Any]) -> Json:
    """What the agent gets."""
    return {
        "type": postgresql.TYPE,
        "host": target.host,
        "port": target.port,
        "dbname": target.dbname,
        "username": data["username"],
        "password": data["password"],
    }
