"""A leaked string is known again, and nothing of it is kept."""

import json
import uuid

import pytest

from audit import envelope
from sessions import leaks, lifecycle, tokens
from sessions.models import Credential, Fingerprint
from sessions.parties import viewer
from sessions.providers.contract import Minted
from tests import factories
from tests.factories import World, issue, minted

PEM = (
    "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\nAAAABG5vbmUAAAAE\n-----END OPENSSH PRIVATE KEY-----"
)


def with_secret(world: World, secret: dict[str, object]) -> Credential:
    credential = world.approved().credentials.get()
    made = minted()
    lifecycle.record_issued(credential.id, Minted(secret, made.handle, made.expires_at))
    return credential


def found(world: World, text: str, role: str = "security") -> list[uuid.UUID]:
    known = leaks.look_up(text, viewer(getattr(world, role)))
    return [one.credential.pk for one in known if one.credential is not None]


@pytest.mark.parametrize(
    "around",
    [
        "{}",
        "  {}\n",
        "export TOKEN={}",
        'curl -H "Authorization: Bearer {}" https://api.example',
        "https://x-access-token:{}@git.example/acme/shop.git",
        '{{"password": "{}", "port": 5432}}',
        "postgresql://dbr_1:{}@db.example:5432/warehouse",
    ],
)
def test_a_secret_is_known_again_whatever_stands_around_it(world: World, around: str) -> None:
    credential = with_secret(world, {"type": "github", "token": "ghs_abcDEF0123456789"})
    assert found(world, around.format("ghs_abcDEF0123456789")) == [credential.pk]


def test_a_private_key_is_known_again_in_the_middle_of_a_file(world: World) -> None:
    credential = with_secret(world, {"type": "ssh", "private_key": PEM + "\n", "certificate": "ssh-ed25519-cert"})
    assert found(world, "# id_ed25519\r\n" + PEM.replace("\n", "\r\n") + "\r\n") == [credential.pk]
    assert found(world, "ssh-ed25519-cert") == []


def test_a_name_is_known_and_said_to_be_no_secret(world: World) -> None:
    credential = issue(world.approved())
    [one] = leaks.look_up(f"FATAL: role {credential.name} does not exist", viewer(world.lead))
    assert one.credential == credential
    assert "no secret" in one.what


def test_our_own_keys_are_known(world: World) -> None:
    run = issue(world.approved()).agent_session
    token = lifecycle.issue_session_token(run.pk)
    key = tokens.new(tokens.AGENT_KEY)
    row = world.agent.keys.get()
    type(row).objects.filter(pk=row.pk).update(digest=tokens.digest(key))
    text = f"{token}\n{tokens.proxy_secret(token)}\n{key}"
    known = leaks.look_up(text, viewer(world.security))
    assert [one.what for one in known] == [
        "The session's own token",
        "What the session's sandbox shows to gateways",
        "A key of an agent",
    ]


def test_a_key_of_another_teams_agent_stays_theirs(world: World) -> None:
    foreign, key = factories.world(), tokens.new(tokens.AGENT_KEY)
    foreign.agent.keys.update(digest=tokens.digest(key))
    assert leaks.look_up(key, viewer(world.security)) == []
    [one] = leaks.look_up(key, viewer(foreign.security))
    assert one.key == foreign.agent.keys.get()


def test_what_other_teams_hold_stays_theirs(world: World) -> None:
    foreign = factories.world()
    credential = with_secret(foreign, {"token": "ghs_abcDEF0123456789"})
    assert found(world, "ghs_abcDEF0123456789") == []
    assert found(foreign, "ghs_abcDEF0123456789") == [credential.pk]


def test_nothing_but_keyed_digests_is_kept(world: World) -> None:
    secret = {"type": "x", "token": "ghs_abcDEF0123456789", "port": 5, "short": "hunter2", "host": "database.example"}
    credential = with_secret(world, secret)
    [digest] = Fingerprint.objects.filter(credential=credential).values_list("digest", flat=True)
    assert digest == envelope.fingerprint("ghs_abcDEF0123456789")
    assert digest != tokens.digest("ghs_abcDEF0123456789")


def test_it_is_known_after_the_envelope_key_was_changed(world: World, settings) -> None:
    credential = with_secret(world, {"token": "ghs_abcDEF0123456789"})
    newer = {"id": "k9", "key": "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI="}
    settings.ENVELOPE_KEYS = [*settings.ENVELOPE_KEYS, newer]
    envelope._digest_keys.cache_clear()
    try:
        assert envelope.fingerprint("x") != envelope.fingerprints("x")[0]
        assert found(world, "ghs_abcDEF0123456789") == [credential.pk]
    finally:
        envelope._digest_keys.cache_clear()


def test_a_late_credential_is_known_too(world: World) -> None:
    credential = world.approved().credentials.get()
    lifecycle.kill(credential.agent_session_id, world.lead)
    made = minted()
    lifecycle.record_late(credential.id, Minted({"token": "ghs_abcDEF0123456789"}, made.handle, made.expires_at))
    assert found(world, "ghs_abcDEF0123456789") == [credential.pk]


def test_garbage_is_looked_through_in_bounds() -> None:
    assert len(leaks.candidates("x" * 11 + " ")) == 0
    assert len(leaks.candidates(json.dumps([str(uuid.uuid4()) for _ in range(5_000)]))) == leaks.MOST_CANDIDATES
