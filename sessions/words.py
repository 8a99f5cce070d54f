"""What stands in a grant, a profile or a length of time, in plain words for the one who decides."""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sessions.models.agents import Framework
from sessions.providers import registry
from sessions.providers.contract import CredentialError, Details

UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))
UNSEEN = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}


@dataclass(frozen=True)
class Condition:
    """What holds while a session runs; `risky` where it leaves something open."""

    text: str
    risky: bool = False


@dataclass(frozen=True)
class GrantWords:
    """A grant for reading. Made from its canonical content, and from nothing else."""

    agent: str
    framework: str
    person: str
    profile: str
    version: int
    purpose: str
    allows: tuple[str, ...]
    duration: str
    credential_ttl: str
    conditions: tuple["Condition", ...]
    long_lived: bool
    content: Mapping[str, Any]


def of_grant(content: Mapping[str, Any]) -> GrantWords:
    agent, profile = content["agent"], content["profile"]
    ends = tuple(deaths(content["authorization_details"]))
    return GrantWords(
        agent=plain(agent["name"]),
        framework=dict(Framework.choices).get(agent["framework"], agent["framework"]),
        person=plain(content["person"]["name"]),
        profile=profile["slug"],
        version=profile["version"],
        purpose=plain(content["purpose"]),
        allows=tuple(allowed(content["authorization_details"])),
        duration=span(content["limits"]["duration"]),
        credential_ttl=span(content["limits"]["credential_ttl"]),
        conditions=(*conditions(content.get("conditions", {})), *ends),
        long_lived=any(one.risky for one in ends),
        content=content,
    )


def conditions(content: Mapping[str, Any]) -> Iterator[Condition]:
    """The conditions of a grant or of a profile version."""
    if content.get("sandbox") == "required":
        yield Condition("It runs inside a sandbox only.")
    elif content.get("sandbox") == "optional":
        yield Condition("It may run without a sandbox: then only its credentials limit what it reaches.", risky=True)
    if days := content.get("verified_within_days"):
        yield Condition(f"Its sandbox must have withstood all probes within the last {span(days * 86_400)}.")
    if content.get("on_finding") == "kill":
        yield Condition("A leak or an evasion that a gateway finds ends it at once.")


def deaths(details: Sequence[Details]) -> Iterator[Condition]:
    """How each credential dies, and what is left of it."""
    try:
        lives = registry.lives_of(details)
    except CredentialError:
        # A target that was taken out of the settings must not make old sessions unreadable.
        return
    for slot, life in lives:
        if life.longest_s is None:
            kept = f"{slot} is long-lived. A kill keeps the session from it {life.dies}. {life.left}"
            yield Condition(kept, risky=True)
        else:
            yield Condition(f"{slot}: a kill ends it {life.dies}. If nobody kills it: {life.left}")


def allowed(details: Sequence[Details]) -> list[str]:
    """A sentence for each thing that authorization_details allow. What several objects repeat is said once, last."""
    sentences = [sentence for each in details for sentence in _sentences(each)]
    return list(dict.fromkeys(reversed(sentences)))[::-1]


def _sentences(details: Details) -> list[str]:
    try:
        return registry.sentences_of([details])
    except CredentialError:
        # A target that was taken out of the settings must not make old sessions unreadable.
        return [f"{', '.join(details['actions'])} on {', '.join(details['locations'])} ({details['type']})."]


def span(seconds: float) -> str:
    """A length of time in its two largest units: 1 hour 30 minutes."""
    left = round(seconds)
    parts = []
    for size, unit in UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}{'' if count == 1 else 's'}")
    return " ".join(parts[:2]) or "0 seconds"


def elapsed(length: timedelta) -> str:
    """How long something took, as exactly as it matters: 43 ms, 1.20 s, 3 minutes."""
    milliseconds = length / timedelta(milliseconds=1)
    if milliseconds < 10:
        return f"{milliseconds:.1f} ms"
    if milliseconds < 1_000:
        return f"{milliseconds:.0f} ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1_000:.2f} s"
    return span(milliseconds / 1_000)


def plain(text: str) -> str:
    """Somebody else's text with nothing in it that hides or reorders: such characters are shown as U+FFFD."""
    if text.isprintable():  # none of UNSEEN is
        return text
    return "".join(
        "\ufffd" if unicodedata.category(character) in UNSEEN and character not in "\n\t" else character
        for character in text
    )
