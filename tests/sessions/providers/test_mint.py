"""Minting: what is returned, what is recorded, and what happens when it cannot be done."""

from datetime import UTC, datetime, timedelta

import pytest

from sessions.providers.contract import CredentialError, Intent


def test_mint_returns_secret_handle_and_expiry(ground):
    began = datetime.now(UTC)
    held, minted = ground.mint(ttl_s=600)
    assert minted.secret == {
        "type": "postgresql",
        "host": "127.0.0.1",
        "port": ground.stack.ports["postgres"],
        "dbname": "warehouse",
        "username": held.name,
        "password": minted.secret["password"],
    }
    assert set(minted.handle) == {"target", "accessor", "lease_id"}
    assert minted.handle["lease_id"].startswith(f"database/creds/{held.name}/")
    assert began + timedelta(seconds=595) < minted.expires_at <= datetime.now(UTC) + timedelta(seconds=600)


def test_expiry_is_never_later_than_openbao_and_postgresql_say(ground):
    held, minted = ground.mint()
    with ground.stack.postgres.connect("warehouse") as superuser:
        (until,) = superuser.execute("SELECT rolvaliduntil FROM pg_roles WHERE rolname = %s", [held.name]).fetchone()
    token = ground.api.token_of(minted.handle["accessor"])
    assert minted.expires_at <= datetime.fromisoformat(token["expire_time"][:26] + "+00:00")
    assert minted.expires_at <= until


def test_openbao_shortens_a_life_that_is_too_long(ground):
    _, minted = ground.mint(ttl_s=7200)
    assert minted.expires_at <= datetime.now(UTC) + timedelta(seconds=3600)


def test_accessor_is_recorded_before_there_is_a_credential(ground):
    intent, recorded = ground.intent(), []

    def record(handle):
        recorded.append((dict(handle), ground.api.leases("database", intent.name)))

    minted = ground.provider.mint(intent, record)
    assert recorded == [({"target": "warehouse", "accessor": minted.handle["accessor"]}, [])]


def test_second_mint_of_one_intent_is_refused_and_the_first_lives(ground):
    intent = ground.intent()
    ground.provider.mint(intent, lambda handle: None)
    with pytest.raises(CredentialError, match="already exists") as refusal:
        ground.provider.mint(intent, lambda handle: None)
    assert (refusal.value.permanent, refusal.value.untouched) == (True, False)
    assert ground.left(intent.name)["leases"] == 1


def test_unknown_table_is_permanent_and_leaves_nothing_after_its_end(ground, read_orders):
    intent = ground.intent({**read_orders, "locations": ["postgresql://warehouse/public.nothing"]})
    handles = []
    with pytest.raises(CredentialError, match="does not exist") as refusal:
        ground.provider.mint(intent, handles.append)
    assert refusal.value.permanent
    held = ground.nameless(intent)
    assert all(outcome.done for outcome in ground.end(held).values())
    assert ground.left(intent.name) == {}


@pytest.mark.parametrize(
    "locations",
    [['postgresql://warehouse/public.orders" TO PUBLIC; --'], ["postgresql://elsewhere/public.orders"], []],
)
def test_unsound_details_reach_nobody(ground, read_orders, locations):
    intent = ground.intent({**read_orders, "locations": locations})
    with pytest.raises(CredentialError) as refusal:
        ground.provider.mint(intent, pytest.fail)
    assert (refusal.value.permanent, refusal.value.untouched) == (True, True)
    assert ground.left(intent.name) == {}


def test_name_of_another_kind_is_refused_by_openbao(ground, read_orders):
    with pytest.raises(CredentialError, match="OpenBao refused") as refusal:
        ground.provider.mint(Intent("someone", [read_orders], 900), pytest.fail)
    assert refusal.value.permanent


def test_without_openbao_the_intent_stays_untouched_and_works_later(ground, without_openbao):
    intent = ground.intent()
    with pytest.raises(CredentialError, match="OpenBao does not answer") as refusal:
        ground.provider.mint(intent, pytest.fail)
    assert (refusal.value.permanent, refusal.value.untouched) == (False, True)
    without_openbao.start("openbao")
    assert ground.provider.mint(intent, lambda handle: None).secret["username"] == intent.name


def test_without_postgresql_mint_may_be_tried_again_later(ground, without_postgres):
    with pytest.raises(CredentialError, match="cannot reach the database") as refusal:
        ground.provider.mint(ground.intent(), lambda handle: None)
    assert (refusal.value.permanent, refusal.value.untouched) == (False, False)


def test_two_credentials_of_one_grant_do_not_cut_each_other(ground):
    first, _ = ground.mint()
    second, _ = ground.mint()
    with ground.connect(second) as agent:
        ground.end(first)
        assert agent.execute("SELECT count(*) FROM orders").fetchone() == (400,)
