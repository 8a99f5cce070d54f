"""Secrets of AWS Secrets Manager: one version of each is read for a session and given to gateways, never to an agent.

An authorization_details object (RFC 9396 section 2) of this type is:

    {"type": "aws-secret", "locations": ["aws-secret:prod/shop-db"],     an account of AWS_SECRETS, a secret of it
     "actions": ["inject"]}                                             slot "aws-secret:prod/shop-db", field `value`

Such a secret was not made for the session. What ends is that gateways hold it; where the settings say `rotate`, AWS is
also made to put another version in its place, which is not proof: nobody tries the former value.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sessions.providers.aws_secrets_api import LOCATION, Secret, SecretsApi, Versions
from sessions.providers.contract import CredentialError, Details, Held, Intent, Json, Life, Minted, Outcome, Step
from sessions.providers.static import KEPT, Passing, gateways_cut
from sessions.providers.wording import listed, shown

TYPE = "aws-secret"
FIELDS = {"type", "locations", "actions"}
ACTIONS = ["inject"]
MOST_LOCATIONS = 20


class AwsSecrets:
    """A Provider. `passing` names the gateways that may still pass something on for a session."""

    kind = "aws-secrets"

    def __init__(self, accounts: Mapping[str, SecretsApi], passing: Passing) -> None:
        self._accounts, self._passing = accounts, passing

    def slots(self, details: Sequence[Details]) -> Mapping[str, Sequence[Details]]:
        """One for each secret."""
        slots: dict[str, list[Details]] = {}
        for each in details:
            for location in each["locations"]:
                slots.setdefault(location, []).append({**each, "locations": [location]})
        return slots

    def problems(self, details: Details) -> Iterator[str]:
        for name in sorted(set(details) - FIELDS, key=str):
            yield f"An {TYPE} object has no field {shown(name)}."
        locations = details.get("locations")
        if not isinstance(locations, list) or not 1 <= len(locations) <= MOST_LOCATIONS:
            yield f"locations must be a list of 1 to {MOST_LOCATIONS} secrets."
            return
        known = self._known()
        for location in locations:
            if not isinstance(location, str) or location not in known:
                there = listed(known) if known else "none"
                yield f"{shown(location)} is not a secret that is offered; there is {there}."
        if len(set(map(str, locations))) < len(locations):
            yield "locations names a secret twice."
        if details.get("actions") != ACTIONS:
            yield 'actions must be ["inject"]: a secret is never handed over.'

    def sentences(self, details: Details) -> Iterator[str]:
        for location in details["locations"]:
            _, secret = self._found(location)
            ends = (
                "when the session ends, AWS is made to rotate it, for everybody who uses it."
                if secret.rotate
                else "it was not made for this session and lives on after it."
            )
            name = location.removeprefix(f"{TYPE}:")
            yield (
                f"The gateway may add the secret {name} of AWS Secrets Manager where a rule says so. "
                f"The agent never gets it; {ends}"
            )

    def life(self, details: Sequence[Details]) -> Life:
        _, secret = self._found(details[0]["locations"][0])
        if secret.rotate:
            return Life(0, None, "at once at gateways, then by a rotation", "The secret lives on until it is rotated.")
        return Life(0, None, "at once", "The secret lives on.")

    def mint(self, intent: Intent, record: Callable[[Json], None]) -> Minted:
        """Reads the current version, which the handle names, and whether it was promised to rotate it."""
        api, secret = self._found(intent.details[0]["locations"][0])
        handle = {"agent_session": intent.labels["agent_session"], "rotate": secret.rotate}
        record(handle)
        value, version = api.read(secret, intent.name)
        handle |= {"arn": version.arn, "version": version.id, "since": version.since}
        record(handle)
        return Minted({"type": TYPE, "value": value}, handle, datetime.now(UTC) + KEPT)

    def since(self, details: Sequence[Details]) -> datetime:
        api, secret = self._found(details[0]["locations"][0])
        return api.since(secret, "drawbridge")

    def steps(self, held: Held) -> Sequence[Step]:
        """A version that is not known reached nobody but the worker that died with it, so nothing is rotated for it."""
        arn, version = held.handle.get("arn"), held.handle.get("version")

        def rotate() -> Outcome:
            return _rotated(self._api(held.details), str(arn), str(version), held.name)

        cut = gateways_cut(self._passing, held)
        if not held.handle.get("rotate") or arn is None or version is None:
            return [cut]
        return [cut, Step("rotate", "revoke", "Another version is current, by AWS's word", rotate, "aws")]

    def _known(self) -> list[str]:
        return sorted(
            f"{TYPE}:{name}/{secret}" for name, api in self._accounts.items() for secret in api.account.secrets
        )

    def _found(self, location: str) -> tuple[SecretsApi, Secret]:
        match = LOCATION.fullmatch(location)
        if match is None or location not in self._known():
            said = f"The secret {shown(location)} is not in AWS_SECRETS any more."
            raise CredentialError(said, permanent=True, untouched=True)
        api = self._accounts[match[1]]
        return api, api.account.secrets[match[2]]

    def _api(self, details: Sequence[Details]) -> SecretsApi:
        """Of the account alone: a secret that was taken out of the settings is rotated all the same."""
        match = LOCATION.fullmatch(details[0]["locations"][0])
        if match is None or match[1] not in self._accounts:
            raise CredentialError("The account of the secret is not in AWS_SECRETS any more.")
        return self._accounts[match[1]]


def _rotated(api: SecretsApi, arn: str, version: str, name: str) -> Outcome:
    """AWS rotates by itself after it was told to; one that is under way is waited for, never started again."""
    before = api.versions(arn, name)
    if before.replaced(version):
        return Outcome(True, _evidence("it was rotated", before))
    if before.under_way:
        return Outcome(False, _evidence("a rotation is under way", before))
    api.rotate(arn, name)
    after = api.versions(arn, name)
    done = after.replaced(version)
    return Outcome(done, _evidence("rotated" if done else "a rotation was started", after))


def _evidence(answer: str, versions: Versions) -> Mapping[str, Any]:
    pending = {"pending": versions.pending} if versions.under_way else {}
    return {"answer": answer, "current": versions.current, **pending}
