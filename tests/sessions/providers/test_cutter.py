"""What PostgreSQL says to a log-in, and the connection of the one who cuts."""

import dataclasses
import os
import signal

import pytest

from sessions.providers.contract import CredentialError
from sessions.providers.cutter import Cutter, Refused, Witness, log_in, targets_of


def test_wrong_password_is_a_refusal(ground):
    answer = log_in(ground.target, "drawbridge_cutter", "wrong")
    assert answer == Refused("28P01", 'FATAL:  password authentication failed for user "drawbridge_cutter"')


def test_unknown_role_is_a_refusal(ground):
    assert log_in(ground.target, "nobody_here", "wrong").sqlstate == "28P01"


@pytest.mark.parametrize(
    ("changed", "said"),
    [({"port": 1}, "Connection refused"), ({"dbname": "nothing"}, 'database "nothing" does not exist')],
)
def test_other_failures_say_nothing_about_the_credential(ground, changed, said):
    target = dataclasses.replace(ground.target, **changed)
    with pytest.raises(CredentialError, match="did not judge the log-in") as failure:
        log_in(target, "drawbridge_cutter", ground.cutter_password)
    assert said in str(failure.value)


def test_witness_that_lives_is_not_dead(ground):
    witness = Witness(ground.target, "drawbridge_cutter", ground.cutter_password)
    assert (witness.is_open, witness.death()) == (True, None)
    witness.close()
    with pytest.raises(CredentialError):
        witness.death()


def test_kept_connection_that_died_is_replaced(ground):
    cutter = Cutter(ground.target)
    assert cutter.sessions("nobody_here") == 0
    with ground.stack.postgres.connect("warehouse") as superuser:
        superuser.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'drawbridge_cutter'")
    assert cutter.sessions("nobody_here") == 0


@pytest.fixture
def stopped_backend(ground):
    """A cutter whose kept connection is held by a backend that never answers."""
    cutter = Cutter(ground.target)
    ((pid,),) = cutter._rows("SELECT pg_backend_pid()", [])
    os.kill(pid, signal.SIGSTOP)
    yield cutter
    os.kill(pid, signal.SIGCONT)


def test_server_that_falls_silent_is_hung_up_on(stopped_backend, monkeypatch):
    monkeypatch.setattr("sessions.providers.cutter.ANSWER_TIMEOUT_S", 0.2)
    assert stopped_backend.sessions("nobody_here") == 0


def test_connection_is_kept(ground):
    cutter = Cutter(ground.target)
    pids = {cutter._row("SELECT pg_backend_pid()", [])[0] for _ in range(3)}
    assert len(pids) == 1


@pytest.mark.parametrize("name", ["postgres", "openbao_admin", "drawbridge_app", "dbr_1; DROP TABLE orders", "dbr_%"])
def test_cutter_cuts_minted_roles_only(ground, name):
    with pytest.raises(CredentialError, match="refuses its cutter"):
        Cutter(ground.target).cut(name)


def test_cutter_can_do_nothing_else(ground):
    with pytest.raises(CredentialError, match="permission denied"):
        Cutter(ground.target)._rows("SELECT * FROM public.orders", [])


def test_missing_password_file_is_named(ground):
    target = dataclasses.replace(ground.target, cutter_password_file="/nonexistent")
    with pytest.raises(CredentialError, match="cannot be read: No such file"):
        Cutter(target).cut("dbr_00000000000000000000000000000000")


def test_targets_of_other_kinds_are_left_to_others():
    assert targets_of({"elsewhere": {"kind": "aws"}}) == {}
