"""Which provider serves what. A new provider is one file and one line of PROVIDERS."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import NamedTuple

from django.conf import settings

from audit import canonical
from sessions.gateways import holds
from sessions.locks import locked
from sessions.providers import (
    aws_policy,
    aws_secrets,
    azure,
    egress,
    github_words,
    gitlab_words,
    google,
    oauth,
    postgresql,
    static,
)
from sessions.providers.aws import Aws
from sessions.providers.aws_api import AwsApi, Role
from sessions.providers.aws_secrets_api import Account, SecretsApi
from sessions.providers.contract import Aging, CredentialError, Details, Life, Provider
from sessions.providers.cutter import targets_of
from sessions.providers.github import App, GitHub, GitHubApi
from sessions.providers.gitlab import GitLab, GitLabApi, Server
from sessions.providers.kubernetes import Kubernetes
from sessions.providers.mysql import MySql
from sessions.providers.openbao import OpenBao
from sessions.providers.openbao_api import OpenBaoApi
from sessions.providers.openbao_token import OpenBaoToken
from sessions.providers.pki import Pki
from sessions.providers.places import Place, Places
from sessions.providers.ssh import Ssh
from sessions.providers.valkey import Valkey

MOST_OBJECTS = 20
# Events repeat them, and an event may have 60,000 bytes; approving less may write the same places in more objects.
LONGEST_DETAILS = 20_000


class Entry(NamedTuple):
    """`handed_over`: whether the agent gets what is minted; else gateways alone do."""

    types: tuple[str, ...]
    build: Callable[[], Provider]
    handed_over: bool = True


def _api() -> OpenBaoApi:
    return OpenBaoApi(
        settings.OPENBAO_ADDR, settings.OPENBAO_ROLE_ID, settings.OPENBAO_SECRET_ID, settings.OPENBAO_TIMEOUT_S
    )


def _openbao() -> Provider:
    return OpenBao(_api(), targets_of(settings.TARGETS))


def _static() -> Provider:
    return static.Static(_api(), holds.passing)


def _aws(kind: str, type_: str) -> Callable[[], Provider]:
    def build() -> Provider:
        roles = {
            name: AwsApi(Role.of(entry), settings.AWS_TIMEOUT_S, settings.AWS_ENDPOINT_URL)
            for name, entry in settings.AWS_ROLES.items()
        }
        return Aws(kind, type_, roles, locked)

    return build


def _github(kind: str) -> Callable[[], Provider]:
    def build() -> Provider:
        apps = {
            owner: GitHubApi(App.of(entry), settings.GITHUB_TIMEOUT_S) for owner, entry in settings.GITHUB_APPS.items()
        }
        return GitHub(kind, apps)

    return build


def _at_places(build: Callable[[OpenBaoApi, Places], Provider]) -> Callable[[], Provider]:
    return lambda: build(_api(), {name: Place.of(entry) for name, entry in settings.OPENBAO_PLACES.items()})


def _gitlab(kind: str) -> Callable[[], Provider]:
    def build() -> Provider:
        entries = settings.GITLAB_SERVERS.items()
        return GitLab(kind, {name: GitLabApi(Server.of(one), settings.GITLAB_TIMEOUT_S) for name, one in entries})

    return build


def _oauth() -> Provider:
    entries = settings.OAUTH_SERVERS.items()
    return oauth.OAuth({name: oauth.OAuthApi(oauth.Server.of(one), settings.OAUTH_TIMEOUT_S) for name, one in entries})


def _aws_secrets() -> Provider:
    accounts = {
        name: SecretsApi(Account.of(entry), settings.AWS_TIMEOUT_S, settings.AWS_ENDPOINT_URL)
        for name, entry in settings.AWS_SECRETS.items()
    }
    return aws_secrets.AwsSecrets(accounts, holds.passing)


def _google(kind: str) -> Callable[[], Provider]:
    def build() -> Provider:
        entries = settings.GOOGLE_ACCOUNTS.items()
        accounts = {name: google.GoogleApi(google.Account.of(one), settings.GOOGLE_TIMEOUT_S) for name, one in entries}
        return google.Google(kind, accounts, holds.passing)

    return build


def _azure(kind: str) -> Callable[[], Provider]:
    def build() -> Provider:
        entries = settings.AZURE_APPS.items()
        apps = {name: azure.AzureApi(azure.App.of(one), settings.AZURE_TIMEOUT_S) for name, one in entries}
        return azure.Azure(kind, apps, holds.passing)

    return build


PROVIDERS: Mapping[str, Entry] = {
    "openbao": Entry((postgresql.TYPE,), _openbao),
    **{one.kind: Entry((one.kind,), _at_places(one)) for one in (OpenBaoToken, MySql, Valkey, Ssh, Pki, Kubernetes)},
    "gateway": Entry((egress.TYPE,), egress.Egress),
    "static": Entry((static.TYPE,), _static, handed_over=False),
    "github": Entry((github_words.DELIVERED,), _github("github")),
    "github-gateway": Entry((github_words.INJECTED,), _github("github-gateway"), handed_over=False),
    "gitlab": Entry((gitlab_words.DELIVERED,), _gitlab("gitlab")),
    "gitlab-gateway": Entry((gitlab_words.INJECTED,), _gitlab("gitlab-gateway"), handed_over=False),
    "oauth": Entry((oauth.TYPE,), _oauth, handed_over=False),
    "aws": Entry((aws_policy.DELIVERED,), _aws("aws", aws_policy.DELIVERED)),
    "aws-gateway": Entry((aws_policy.INJECTED,), _aws("aws-gateway", aws_policy.INJECTED), handed_over=False),
    "aws-secrets": Entry((aws_secrets.TYPE,), _aws_secrets, handed_over=False),
    "google": Entry((google.DELIVERED,), _google(google.DELIVERED)),
    "google-injected": Entry((google.INJECTED,), _google(google.INJECTED), handed_over=False),
    "azure": Entry((azure.DELIVERED,), _azure(azure.DELIVERED)),
    "azure-injected": Entry((azure.INJECTED,), _azure(azure.INJECTED), handed_over=False),
}
KINDS = {each: kind for kind, entry in PROVIDERS.items() for each in entry.types}
FOR_GATEWAYS = tuple(kind for kind, entry in PROVIDERS.items() if not entry.handed_over)


@cache
def provider(kind: str) -> Provider:
    """The provider of that kind, built on first use. CredentialError(permanent=True) where there is none."""
    if kind not in PROVIDERS:
        raise CredentialError(f"There is no provider {kind!r}.", permanent=True, untouched=True)
    return PROVIDERS[kind].build()


def problems_of(authorization_details: object) -> list[str]:
    """What is wrong with untrusted authorization_details, in sentences; empty if all of it can be granted."""
    if not isinstance(authorization_details, list) or not 1 <= len(authorization_details) <= MOST_OBJECTS:
        return [f"authorization_details must be a list of 1 to {MOST_OBJECTS} objects."]
    problems = [
        f"Object {number}: {problem}"
        for number, each in enumerate(authorization_details, start=1)
        for problem in _object_problems(each)
    ]
    return problems or [*_length_problems(authorization_details), *problems_between(authorization_details)]


def problems_between(sound: Sequence[Details]) -> list[str]:
    """What is wrong between objects each of which is sound by itself: what one needs, another must make."""
    rules = [each for each in sound if each["type"] == egress.TYPE]
    return list(egress.across(rules, [slot for _, slot in slots_of(sound)])) if rules else []


def _length_problems(sound: list[Details]) -> Iterator[str]:
    length = len(canonical.dumps(sound))
    if length > LONGEST_DETAILS:
        yield f"authorization_details may have {LONGEST_DETAILS:,} bytes, these have {length:,}: name fewer places."


def _object_problems(each: object) -> Iterator[str]:
    if not isinstance(each, dict) or not all(isinstance(name, str) for name in each):
        yield "it is not a JSON object."
    elif not isinstance(each.get("type"), str) or each["type"] not in KINDS:
        yield f"its type must be one of: {', '.join(KINDS)}."
    else:
        yield from provider(KINDS[each["type"]]).problems(each)


def sentences_of(authorization_details: Sequence[Details]) -> list[str]:
    """What sound authorization_details allow, in plain words."""
    return [sentence for each in authorization_details for sentence in _provider_of(each).sentences(each)]


def lives_of(authorization_details: Sequence[Details]) -> list[tuple[str, Life]]:
    """How the credential of each slot lives and dies, for the one who decides."""
    slots = slots_of(authorization_details).items()
    return [(slot, provider(kind).life(details)) for (kind, slot), details in slots]


def ages_of(authorization_details: Sequence[Details]) -> Iterator[tuple[str, datetime | CredentialError]]:
    """From when that is which a session would not make but get, by slot; or why the far end does not say."""
    for (kind, slot), details in slots_of(authorization_details).items():
        aging = provider(kind)
        if isinstance(aging, Aging):
            try:
                yield slot, aging.since(details)
            except CredentialError as error:
                yield slot, error


def slots_of(authorization_details: Sequence[Details]) -> dict[tuple[str, str], list[Details]]:
    """Sound authorization_details by (provider kind, slot): one credential each."""
    by_kind: dict[str, list[Details]] = {}
    for each in authorization_details:
        by_kind.setdefault(_provider_of(each).kind, []).append(each)
    return {
        (kind, slot): list(served)
        for kind, objects in by_kind.items()
        for slot, served in provider(kind).slots(objects).items()
    }


def _provider_of(details: Details) -> Provider:
    kind = KINDS.get(details["type"])
    if kind is None:
        raise CredentialError(f"Nobody provides {details['type']!r}.", permanent=True, untouched=True)
    return provider(kind)
