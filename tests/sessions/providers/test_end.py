"""The end of a credential: each thing dead, each proof honest, whatever the agent or a crash did before."""

import json
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import psycopg
import pytest
from psycopg import errors

from sessions.providers.contract import CredentialError, Held, Outcome


@pytest.fixture
def minted(ground):
    """Named before the outage in a test's arguments, so made before it."""
    held, _ = ground.mint()
    return held


def done(outcomes):
    return [name for name, outcome in outcomes.items() if isinstance(outcome, Outcome) and outcome.done]


def test_every_step_is_done_in_order_and_nothing_is_left(ground, all_done):
    held, _ = ground.mint()
    assert done(ground.end(held)) == all_done
    assert ground.left(held.name) == {}


def test_open_sessions_of_the_agent_are_cut(ground):
    held, _ = ground.mint()
    with ground.connect(held) as agent:
        outcomes = ground.end(held)
        with pytest.raises(errors.AdminShutdown):
            agent.execute("SELECT 1")
    own = "none: the agent's own sessions were open"
    assert outcomes["cut"].evidence == {"role_existed": True, "sessions_ended": 1, "witness": own}
    assert outcomes["session"].evidence == {"witness": own, "open_sessions": 0}


def test_witness_dies_where_the_agent_has_no_session_open(ground):
    held, _ = ground.mint()
    outcomes = ground.end(held)
    assert outcomes["cut"].evidence == {"role_existed": True, "sessions_ended": 1, "witness": "open"}
    assert outcomes["session"].evidence["witness"].startswith("57P01")


def test_log_in_is_refused_by_postgresql_itself(ground):
    held, _ = ground.mint()
    evidence = ground.end(held)["login"].evidence
    assert evidence == {
        "tried": "yes",
        "sqlstate": "28000",
        "message": f'FATAL:  role "{held.name}" is not permitted to log in',
        "catalog": "log-in not allowed",
    }


def test_witness_tells_how_its_session_died(ground):
    held, _ = ground.mint()
    evidence = ground.end(held)["session"].evidence
    assert evidence == {
        "witness": "57P01: terminating connection due to administrator command",
        "open_sessions": 0,
    }


def test_token_is_refused_by_openbao(ground):
    held, _ = ground.mint()
    outcomes = ground.end(held)
    assert outcomes["token"].evidence == {"tokens_ended": 1, "found": "by accessor"}
    assert outcomes["token_lookup"].evidence == {"answer": "invalid accessor"}


def test_second_end_finds_it_all_gone_already(ground, all_done):
    held, _ = ground.mint()
    ground.end(held)
    outcomes = ground.end(held)
    assert done(outcomes) == all_done
    assert outcomes["cut"].evidence["role_existed"] is False
    assert outcomes["login"].evidence["sqlstate"] == "28P01"
    assert outcomes["login"].evidence["catalog"] == "no such role"
    assert outcomes["token"].evidence["tokens_ended"] == 0


def test_role_dropped_by_hand_does_not_hold_up_the_end(ground, all_done):
    held, _ = ground.mint()
    with ground.stack.postgres.connect("warehouse", "openbao_admin") as admin:
        admin.execute(f"DROP OWNED BY {held.name}")
        admin.execute(f"DROP ROLE {held.name}")
    assert done(ground.end(held)) == all_done
    assert ground.left(held.name) == {}


def test_no_evidence_holds_the_password(ground):
    held, minted = ground.mint()
    first, second = ground.end(held), ground.end(held)
    told = json.dumps([dict(outcome.evidence) for outcome in [*first.values(), *second.values()]])
    assert minted.secret["password"] not in told + repr(held) + repr(minted)


def test_lost_secret_is_proven_by_the_catalog(ground, all_done):
    held, _ = ground.mint()
    outcomes = ground.end(Held(held.name, held.details, held.handle, None))
    assert done(outcomes) == all_done
    assert outcomes["cut"].evidence["witness"] == "none: the secret is not known"
    assert outcomes["login"].evidence == {"tried": "no: the secret is not known", "catalog": "log-in not allowed"}
    assert outcomes["session"].evidence == {"witness": "none: the secret is not known", "open_sessions": 0}


def test_proof_alone_says_no_while_the_credential_lives(ground):
    held, _ = ground.mint()
    with ground.connect(held):
        steps = {step.name: step for step in ground.provider.steps(held)}
        assert steps["login"].run() == Outcome(False, {"tried": "yes", "message": "PostgreSQL let the credential in"})
        assert steps["token_lookup"].run() == Outcome(False, {"answer": "the token lives"})


def test_open_session_alone_is_no_proof(ground, monkeypatch):
    monkeypatch.setattr("sessions.providers.ending.PATIENCE_S", 0.05)
    held, _ = ground.mint()
    steps = {step.name: step for step in ground.provider.steps(held)}
    with ground.connect(held):
        assert steps["session"].run() == Outcome(False, {"witness": "none in this try", "open_sessions": 1})


def test_password_changed_by_the_agent_does_not_fake_the_proof(ground, all_done):
    held, _ = ground.mint()
    with ground.connect(held) as agent:
        agent.execute(f"ALTER ROLE {held.name} PASSWORD 'mine'")
        fake = next(step for step in ground.provider.steps(held) if step.name == "login").run()
        assert (fake.done, fake.evidence["sqlstate"], fake.evidence["catalog"]) == (False, "28P01", "log-in allowed")
    outcomes = ground.end(held)
    assert done(outcomes) == all_done
    assert outcomes["cut"].evidence["witness"].startswith("none could be opened: FATAL:  password authentication")


def test_agent_that_logs_in_without_pause_is_shut_out(ground, all_done):
    held, _ = ground.mint()
    shut, tries = Event(), []

    def insist():
        while not shut.is_set():
            try:
                with ground.connect(held) as agent:
                    agent.execute("SELECT 1")
            except psycopg.OperationalError as error:
                tries.append(str(error))

    with ThreadPoolExecutor(3) as agents:
        for _ in range(3):
            agents.submit(insist)
        while not ground.left(held.name).get("sessions"):
            pass
        outcomes = ground.end(held)
        left = ground.left(held.name)
        shut.set()
    assert (done(outcomes), left) == (all_done, {})
    assert any("not permitted to log in" in said for said in tries)


@pytest.mark.parametrize(
    "obstacle",
    [
        "SELECT lo_create(0)",
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
        "ALTER ROLE CURRENT_USER SET work_mem = '8MB'",
        "DECLARE open_cursor CURSOR WITH HOLD FOR SELECT * FROM orders",
        "SELECT pg_advisory_lock(1)",
    ],
)
def test_agent_cannot_make_itself_undroppable(ground, all_done, obstacle):
    held, _ = ground.mint()
    with ground.connect(held) as agent:
        agent.execute(obstacle)
        assert done(ground.end(held)) == all_done
    assert ground.left(held.name) == {}


def test_without_openbao_postgresql_is_cut_and_proven_and_the_rest_follows(ground, minted, without_openbao, all_done):
    outcomes = ground.end(minted)
    assert done(outcomes) == ["cut", "login", "session"]
    for name in ("lease", "token", "token_lookup", "role", "tidy"):
        assert isinstance(outcomes[name], CredentialError)
        assert not outcomes[name].permanent
    without_openbao.start("openbao")
    assert done(ground.end(minted)) == all_done
    assert ground.left(minted.name) == {}


def test_without_postgresql_nothing_at_postgresql_is_called_proven(ground, minted, without_postgres):
    outcomes = ground.end(minted)
    assert done(outcomes) == ["token", "token_lookup"]
    assert "does not answer" in str(outcomes["cut"])
    assert "did not judge the log-in" in str(outcomes["login"])


def test_target_taken_out_of_the_settings_is_named(ground, monkeypatch):
    held, _ = ground.mint()
    monkeypatch.setattr(ground.provider, "_cutters", {})
    with pytest.raises(CredentialError, match="warehouse is not in TARGETS"):
        ground.provider.steps(held)[0].run()
