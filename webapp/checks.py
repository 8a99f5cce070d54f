"""Combinations of settings that cannot work, found before the first request. Each has an id."""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from sessions.providers.aws_api import Role
from sessions.providers.aws_secrets_api import Account as AwsAccount
from sessions.providers.azure import App as AzureApp
from sessions.providers.github import App
from sessions.providers.gitlab import Server as GitLabServer
from sessions.providers.google import Account as GoogleAccount
from sessions.providers.oauth import Server
from sessions.providers.places import Place

SHORTEST_SECRET_KEY = 32
ENVELOPE_KEY_BYTES = 32
POLICY_SEED_BYTES = 32
TARGET_NAME = re.compile(r"[a-z][a-z0-9_-]{0,50}")


@register()
def envelope_keys(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """drawbridge.E001: every envelope key has an id of its own and 32 bytes."""
    problems = list(_envelope_problems(settings.ENVELOPE_KEYS))
    hint = 'ENVELOPE_KEYS is a JSON list, oldest to newest, of {"id": "k1", "key": base64 of 32 random bytes}.'
    return [Error(problem, hint=hint, id="drawbridge.E001") for problem in problems]


@register()
def secret_key(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """drawbridge.E002: outside local mode the secret key is long enough to be one."""
    if settings.LOCAL_MODE or len(settings.SECRET_KEY) >= SHORTEST_SECRET_KEY:
        return []
    return [Error(f"SECRET_KEY has fewer than {SHORTEST_SECRET_KEY} characters.", id="drawbridge.E002")]


@register()
def transport(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """drawbridge.E003: outside local mode people and agents come over TLS, and so do we to OpenBao."""
    if settings.LOCAL_MODE:
        return []
    plain = [name for name in ("BASE_URL", "OPENBAO_ADDR") if not getattr(settings, name).startswith("https://")]
    return [Error(f"{name} must be an https:// address outside local mode.", id="drawbridge.E003") for name in plain]


@register()
def debug(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """drawbridge.E004: DEBUG shows settings and secrets to whoever causes an error."""
    if settings.DEBUG and not settings.LOCAL_MODE:
        return [Error("DEBUG is on outside local mode.", hint="Unset DEBUG.", id="drawbridge.E004")]
    return []


@register()
def targets(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """drawbridge.E005: a target's name can stand in a grant."""
    bad = [name for name in settings.TARGETS if not TARGET_NAME.fullmatch(name)]
    hint = "Use a small letter, then small letters, digits, _ and -; 51 characters at most."
    return [
        Error(f"TARGETS has the name {name!r}, which no grant can use.", hint=hint, id="drawbridge.E005")
        for name in bad
    ]


@register()
def policy_keys(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """drawbridge.E006: there is a key to sign policies with, and each is an Ed25519 seed."""
    hint = 'POLICY_KEYS is a JSON list, oldest to newest, of {"key": base64 of 32 random bytes}.'
    return [Error(problem, hint=hint, id="drawbridge.E006") for problem in _policy_problems(settings.POLICY_KEYS)]


@register()
def providers(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """drawbridge.E007: what is said of OpenBao's engines, AWS, GitHub, GitLab and OAuth can be understood."""
    kinds: tuple[tuple[str, type], ...] = (
        ("OPENBAO_PLACES", Place),
        ("AWS_ROLES", Role),
        ("GITHUB_APPS", App),
        ("GITLAB_SERVERS", GitLabServer),
        ("OAUTH_SERVERS", Server),
        ("AWS_SECRETS", AwsAccount),
        ("GOOGLE_ACCOUNTS", GoogleAccount),
        ("AZURE_APPS", AzureApp),
    )
    return [
        Error(f"{setting}: {problem}", hint="See docs/providers.md.", id="drawbridge.E007")
        for setting, kind in kinds
        for problem in _entry_problems(getattr(settings, setting), kind)
    ]


def _entry_problems(entries: Mapping[str, Any], kind: type) -> Iterator[str]:
    known = {each.name: each.default is MISSING for each in fields(kind)}
    for name, entry in entries.items():
        if not isinstance(entry, dict):
            yield f"{name!r} is no JSON object."
            continue
        for unknown in sorted(set(entry) - set(known)):
            yield f"{name!r} has no field {unknown!r}."
        for missing in (each for each, needed in known.items() if needed and each not in entry):
            yield f"{name!r} lacks the field {missing!r}."


def _policy_problems(keys: Any) -> Iterator[str]:
    if not isinstance(keys, list) or not keys:
        yield "There is no key to sign policies with."
        return
    for number, key in enumerate(keys, start=1):
        try:
            sound = len(base64.b64decode(key["key"], validate=True)) == POLICY_SEED_BYTES
        except (binascii.Error, KeyError, TypeError):
            sound = False
        if not sound:
            yield f"Policy key {number} is not the base64 of {POLICY_SEED_BYTES} bytes."


def _envelope_problems(keys: Any) -> Iterator[str]:
    if not isinstance(keys, list) or not keys:
        yield "There is no envelope key."
        return
    if len({key.get("id") for key in keys}) < len(keys):
        yield "Two envelope keys have the same id."
    for key in keys:
        try:
            length = len(base64.b64decode(key["key"], validate=True))
        except (binascii.Error, KeyError, TypeError):
            yield f"The envelope key {key.get('id')!r} is not base64."
            continue
        if length != ENVELOPE_KEY_BYTES:
            yield f"The envelope key {key.get('id')!r} has {length} bytes instead of {ENVELOPE_KEY_BYTES}."
