"""How OpenBao's answers are read: what is permanent, what is not, what is proof and what never is."""

import hvac
import pytest
import requests
from hvac import exceptions

from sessions.providers.contract import CredentialError
from sessions.providers.openbao_api import OpenBaoApi, credential_error, post

SECRET = "hvs.secret"


@pytest.mark.parametrize(
    ("error", "permanent", "sentence"),
    [
        (requests.ConnectionError(SECRET), False, "OpenBao does not answer: we could not mint."),
        (requests.Timeout(SECRET), False, "OpenBao does not answer: we could not mint."),
        (exceptions.VaultDown(SECRET), False, "OpenBao is sealed or starting: we could not mint."),
        (exceptions.RateLimitExceeded(SECRET), False, "OpenBao failed (RateLimitExceeded): we could not mint."),
        (exceptions.InternalServerError(SECRET), False, "OpenBao failed (InternalServerError): we could not mint."),
        (exceptions.BadGateway(SECRET), False, "OpenBao failed (BadGateway): we could not mint."),
        (exceptions.UnexpectedError(SECRET), False, "OpenBao failed (UnexpectedError): we could not mint."),
        (exceptions.InvalidRequest(SECRET), True, "OpenBao refused (InvalidRequest): we could not mint."),
        (exceptions.InvalidPath(SECRET), True, "OpenBao refused (InvalidPath): we could not mint."),
        (exceptions.Forbidden(SECRET), True, "OpenBao refused (Forbidden): we could not mint."),
        (
            exceptions.InvalidRequest(f"failed to revoke: failed to connect to `user={SECRET}`"),
            False,
            "OpenBao cannot reach the database: we could not mint.",
        ),
        (
            exceptions.InternalServerError("failed: ERROR: permission denied for table t (SQLSTATE 42501)\n"),
            True,
            "PostgreSQL refused: permission denied for table t (42501). We could not mint.",
        ),
        (
            exceptions.InternalServerError("failed: ERROR: too many connections (SQLSTATE 53300)\n"),
            False,
            "PostgreSQL refused: too many connections (53300). We could not mint.",
        ),
    ],
)
def test_failures_become_sentences_without_what_was_sent(error, permanent, sentence):
    failure = credential_error("mint", error)
    assert (failure.permanent, failure.untouched, str(failure)) == (permanent, False, sentence)


def test_log_in_that_ended_early_is_renewed(ground):
    api = ground.new_api()
    assert api.leases("database", "dbr_none") == []
    api._local.client.auth.token.revoke_self()
    assert api.leases("database", "dbr_none") == []


def test_refusal_of_our_own_log_in_is_never_proof(ground, monkeypatch):
    api = ground.new_api()
    held, _ = ground.mint()
    monkeypatch.setattr(api, "_client", lambda: hvac.Client(url=ground.env["OPENBAO_ADDR"], token="s.dead"))
    with pytest.raises(CredentialError, match="refused"):
        api.token_of(held.handle["accessor"])
    with pytest.raises(CredentialError, match="refused"):
        api.revoke_token(held.handle["accessor"])


def test_wrong_secret_id_is_told_as_a_refusal(ground):
    api = OpenBaoApi(ground.env["OPENBAO_ADDR"], ground.read("OPENBAO_ROLE_ID_FILE"), "wrong", 5)
    with pytest.raises(CredentialError, match="OpenBao refused"):
        api.accessors()


def test_server_that_hangs_is_given_up_in_time():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as deaf:
        api = OpenBaoApi(f"http://127.0.0.1:{deaf.getsockname()[1]}", "role", "secret", 0.2)
        with pytest.raises(CredentialError, match="does not answer"):
            api.accessors()


def test_revoking_what_is_gone_is_no_error(ground):
    ground.api.revoke_lease("database/creds/dbr_none/never")
    assert ground.api.revoke_token("never") is False
    assert ground.api.token_of("never") is None
    ground.api.delete("database/roles/dbr_none")


@pytest.mark.parametrize("path", ["sys/policies/acl/other", "database/roles/other", "auth/token/create"])
def test_control_plane_itself_can_do_no_more_than_this(ground, path):
    with pytest.raises(exceptions.Forbidden):
        post(ground.api._client(), path, {"policy": "", "db_name": "warehouse"})
