"""A session with keys of AWS, from approval to the proof of its end: our own rows, and a far end of AWS's kind."""

from collections.abc import Iterator

import pytest
from django.conf import LazySettings

from sessions import lifecycle, revoking, tasks
from sessions.models import Credential, Revocation
from sessions.providers import aws_policy, registry
from sessions.providers.aws_api import AwsApi, Role
from tests import factories, serving
from tests.sessions.providers.test_aws import ARN, far_end, keys

__all__ = ["far_end", "keys"]
S3 = {"type": "aws", "locations": ["aws:reports/arn:aws:s3:::reports/*"], "actions": ["s3:GetObject"]}


@pytest.fixture
def world(committed: None, settings: LazySettings, far_end: str) -> Iterator[factories.World]:
    settings.AWS_ROLES = {"reports": {"arn": ARN, "region": "eu-central-1"}}
    settings.AWS_ENDPOINT_URL = far_end
    registry.provider.cache_clear()
    yield factories.world({**factories.CONTENT, "authorization_details": [S3]})
    registry.provider.cache_clear()


def running(world: factories.World) -> Credential:
    session = world.approved()
    serving.mint(session.id)
    return session.credentials.get()


def test_it_is_minted_delivered_killed_and_proven(world: factories.World, far_end: str) -> None:
    credential = running(world)
    assert (credential.state, credential.slot, credential.provider) == ("issued", "aws:reports", "aws")
    secret = lifecycle.deliver(credential.id)
    api = AwsApi(Role(ARN, "eu-central-1"), 5, far_end)
    assert api.probe(secret) == "allowed"
    lifecycle.kill(credential.agent_session_id, world.security)
    revoking.run(Revocation.objects.get(credential=credential).id)
    credential.refresh_from_db()
    assert credential.state == "proven"
    assert api.probe(secret) == "denied"
    kinds = factories.kinds_of(credential.agent_session_id)
    assert kinds[-2:] == ["credential.revoked", "credential.proven"]
    api.delete_inline_policy(aws_policy.DENY_POLICY)


def test_while_its_keys_still_work_nobody_reads_revoked(
    world: factories.World, monkeypatch: pytest.MonkeyPatch
) -> None:
    credential = running(world)
    monkeypatch.setattr(AwsApi, "put_inline_policy", lambda self, name, document: None)
    lifecycle.kill(credential.agent_session_id, world.security)
    revoking.run(Revocation.objects.get(credential=credential).id)
    credential.refresh_from_db()
    assert credential.state == "revoking"
    assert "credential.revoked" not in factories.kinds_of(credential.agent_session_id)


def test_the_lead_reads_how_it_dies(world: factories.World) -> None:
    from sessions import words

    session = world.request().agent_session
    grant = session.grants.get().content
    texts = [one.text for one in words.of_grant(grant).conditions]
    assert any(text.startswith("aws:reports: a kill ends it within minutes, by a deny on its role.") for text in texts)
    assert any("s3:GetObject on arn:aws:s3:::reports/*" in text for text in words.of_grant(grant).allows)


def test_what_only_gateways_may_hold_is_not_delivered(world: factories.World) -> None:
    content = {**factories.CONTENT, "authorization_details": [{**S3, "type": "aws-injected"}]}
    credential = running(factories.world(content))
    assert (credential.provider, credential.slot) == ("aws-gateway", "aws:reports")
    with pytest.raises(Exception, match="kept from agents|no longer be done"):
        lifecycle.deliver(credential.id)


def test_old_denies_are_tidied_by_the_schedule(world: factories.World) -> None:
    tasks.tidy_aws()
