"""Tokens of GitLab projects: exactly what was approved, ended by us, found by name, dead with all that grew of them."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from gitlab import Gitlab, GitlabAuthenticationError

from sessions.providers import gitlab_words
from sessions.providers.contract import CredentialError, Held, Intent, Minted
from sessions.providers.gitlab import GitLab, GitLabApi, Server
from tests.sessions.providers.gitlab_far_end import WORKER, GitLabFarEnd, gitlab

PLACE = "gitlab:corp/acme/group/shop"
SHOP = {"type": "gitlab", "locations": [PLACE], "actions": ["read_repository", "read_api"]}
API = {**SHOP, "actions": ["api"]}


@pytest.fixture
def far() -> Iterator[GitLabFarEnd]:
    with gitlab(GitLabFarEnd()) as running:
        yield running


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text(f"{WORKER}\n")
    return tmp_path / "token"


@pytest.fixture
def provider(far: GitLabFarEnd, token_file: Path) -> Iterator[GitLab]:
    with closing(GitLabApi(Server(far.url, str(token_file)), 5)) as api:
        yield GitLab("gitlab", {"corp": api})


def made(provider: GitLab, details: Mapping[str, Any] = SHOP) -> tuple[Intent, Minted, list[Mapping[str, Any]]]:
    intent = Intent("dbr_x", [details], 900)
    recorded: list[Mapping[str, Any]] = []
    return intent, provider.mint(intent, recorded.append), recorded


def minted(provider: GitLab, details: Mapping[str, Any] = SHOP) -> Held:
    intent, got, _ = made(provider, details)
    return Held(intent.name, intent.details, got.handle, got.secret)


def broken_off(provider: GitLab, details: Mapping[str, Any] = SHOP) -> tuple[Held, CredentialError]:
    """What is left when `mint` raised: the name, and what was recorded before."""
    recorded: list[Mapping[str, Any]] = [{}]
    with pytest.raises(CredentialError) as raised:
        provider.mint(Intent("dbr_x", [details], 900), recorded.append)
    return Held("dbr_x", [details], recorded[-1], None), raised.value


def outcomes(provider: GitLab, held: Held) -> dict[str, Any]:
    return {step.name: step.run() for step in provider.steps(held)}


def died(provider: GitLab, held: Held) -> list[bool]:
    return [one.done for one in outcomes(provider, held).values()]


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"limits": {}}, "A gitlab object has no field 'limits'."),
        ({"locations": []}, "locations must be a list of 1 to 20 projects."),
        ({"locations": ["gitlab:corp/shop"]}, "'gitlab:corp/shop' is not a project: write gitlab:server/group/name."),
        (
            {"locations": ["gitlab:corp/a/../b"]},
            "'gitlab:corp/a/../b' is not a project: write gitlab:server/group/name.",
        ),
        ({"locations": ["gitlab:corp/a/b?c"]}, "'gitlab:corp/a/b?c' is not a project: write gitlab:server/group/name."),
        ({"locations": ["gitlab:corp/a/b/"]}, "'gitlab:corp/a/b/' is not a project: write gitlab:server/group/name."),
        ({"locations": [5]}, "5 is not a project: write gitlab:server/group/name."),
        ({"locations": ["gitlab:other/a/b"]}, "There is no GitLab server 'other' here; there is corp."),
        ({"locations": [PLACE, PLACE]}, "locations names a project twice."),
        ({"actions": []}, "actions must be a list of scopes, such as read_repository."),
        ({"actions": ["read_api", "read_api"]}, "actions names a scope twice."),
    ],
)
def test_problem_is_said_in_a_sentence(provider: GitLab, changed: dict[str, object], problem: str) -> None:
    assert list(provider.problems({**SHOP, **changed})) == [problem]


@pytest.mark.parametrize("action", ["sudo", "self_rotate", "create_runner", "k8s_proxy", "read_repository:write", 5])
def test_other_scopes_cannot_be_asked_for(provider: GitLab, action: object) -> None:
    [problem] = provider.problems({**SHOP, "actions": [action]})
    assert "is not a scope: write one of read_repository, write_repository" in problem


def test_a_path_that_is_too_long_is_no_project_and_no_server_is_none(provider: GitLab) -> None:
    [problem] = provider.problems({**SHOP, "locations": [f"gitlab:corp/{'a' * 251}/shop"]})
    assert "is not a project" in problem
    assert list(GitLab("gitlab", {}).problems(SHOP)) == ["There is no GitLab server 'corp' here; there is none."]


def test_the_lead_reads_what_it_may_and_as_whom(provider: GitLab) -> None:
    two = {**SHOP, "locations": [PLACE, "gitlab:corp/acme/site"], "type": "gitlab-injected"}
    assert list(provider.sentences(two)) == [
        "Read the code of acme/group/shop and acme/site on GitLab (corp).",
        "Read all that the API shows of acme/group/shop and acme/site on GitLab (corp).",
        "On GitLab the token acts as a Reporter of the project.",
        "The gateway adds the token; the agent never has it.",
    ]
    assert "On GitLab the token acts as a Developer of the project." in provider.sentences(API)


def test_the_lead_reads_that_it_outlives_its_time_where_nobody_ends_it(provider: GitLab) -> None:
    life = provider.life([SHOP])
    assert (life.dies, life.longest_s) == ("at once", 90_000)
    assert life.left == "GitLab lets it live on until midnight UTC after its time is up."
    renewed = provider.life([API])
    assert (renewed.longest_s, renewed.left) == (None, "With the scope api it can renew itself, for a year and more.")


def test_each_project_has_a_token_of_its_own(provider: GitLab) -> None:
    site = "gitlab:corp/acme/site"
    both, one = {**SHOP, "locations": [PLACE, site]}, {**API, "locations": [site]}
    assert provider.slots([both, one]) == {PLACE: [SHOP], site: [{**SHOP, "locations": [site]}, one]}


def test_a_slot_of_a_long_path_is_cut_and_stays_its_own(provider: GitLab) -> None:
    first, second = (f"gitlab:corp/acme/{'deep/' * 10}{name}" for name in ("shop", "site"))
    slots = list(provider.slots([{**SHOP, "locations": [first, second]}]))
    assert slots[0] == f"{first[:47]}:{hashlib.sha256(first.encode()).hexdigest()[:16]}"
    assert [len(slot) for slot in slots] == [64, 64]
    assert slots[0] != slots[1]


@pytest.mark.parametrize(
    ("actions", "level"),
    [
        (["read_repository"], 20),
        (["read_registry", "read_api"], 20),
        (["write_repository"], 30),
        (["read_api", "write_registry"], 30),
        (["api"], 30),
    ],
)
def test_gitlab_is_asked_for_exactly_that_and_the_lowest_role(
    provider: GitLab, far: GitLabFarEnd, actions: list[str], level: int
) -> None:
    with time_machine.travel(datetime(2026, 11, 26, 12, tzinfo=UTC), tick=True):
        minted(provider, {**SHOP, "actions": actions})
    body = {"name": "dbr_x", "scopes": sorted(actions), "access_level": level, "expires_at": "2026-11-27"}
    assert far.asked == [body]


def test_objects_of_one_project_share_its_token(provider: GitLab, far: GitLabFarEnd) -> None:
    provider.mint(Intent("dbr_x", [SHOP, {**SHOP, "actions": ["write_repository"]}], 900), lambda handle: None)
    assert far.asked[0]["scopes"] == ["read_api", "read_repository", "write_repository"]


def test_what_is_promised_is_what_was_approved_and_the_rest_is_kept(provider: GitLab, far: GitLabFarEnd) -> None:
    with time_machine.travel(datetime(2026, 11, 26, 23, 50, tzinfo=UTC), tick=True):
        _, got, (before, after) = made(provider)
    left = got.expires_at - datetime(2026, 11, 26, 23, 50, tzinfo=UTC)
    assert timedelta(seconds=900) <= left < timedelta(seconds=905)
    assert before == {
        "project": "acme/group/shop",
        "project_id": 7,
        "scopes": ["read_api", "read_repository"],
        "ends_by": "2026-11-28T00:00:00+00:00",
    }
    assert got.handle == after == {**before, "token_id": 100, "expires_on": "2026-11-28"}
    assert got.secret == {
        "type": "gitlab",
        "token": far.tokens[100]["token"],
        "host": far.url.removeprefix("http://").removesuffix("/api/v4"),
        "project": "acme/group/shop",
        "username": "oauth2",
    }
    assert got.secret["token"] not in f"{got}"


def test_a_token_that_can_renew_itself_ends_when_its_successors_do(provider: GitLab) -> None:
    with time_machine.travel(datetime(2026, 11, 26, 12, tzinfo=UTC), tick=True):
        assert minted(provider, API).handle["ends_by"] == "2028-01-01T00:00:00+00:00"


def test_a_kill_revokes_the_token_and_tries_it(provider: GitLab, far: GitLabFarEnd) -> None:
    other = Intent("dbr_y", [SHOP], 900)
    held, kept = minted(provider), provider.mint(other, lambda handle: None)
    found = outcomes(provider, held)
    assert found["revoke"].evidence == {"answer": "revoked"}
    assert found["tried"].evidence == {"answer": "401: unauthorized", "active tokens of this name": 0}
    assert [one.done for one in found.values()] == [True, True]
    assert far.alive == [kept.handle["token_id"]]


def test_a_second_kill_finds_it_dead(provider: GitLab, far: GitLabFarEnd) -> None:
    held = minted(provider)
    outcomes(provider, held)
    assert outcomes(provider, held)["revoke"].evidence == {"answer": "there was none that is active"}
    # Some time after, GitLab forgets it altogether.
    far.tokens.clear()
    assert died(provider, held) == [True, True]


def test_a_token_that_still_works_is_not_called_dead(provider: GitLab, far: GitLabFarEnd) -> None:
    held = minted(provider)
    far.keeps = True
    found = outcomes(provider, held)
    assert [one.done for one in found.values()] == [False, False]
    assert found["revoke"].evidence == {"problem": "GitLab does not take it back: one of this name is active still."}
    assert found["tried"].evidence == {"answer": "200: it works"}


@pytest.mark.parametrize("status", [400, 404])
def test_a_refusal_that_looks_like_gone_is_not_believed(provider: GitLab, far: GitLabFarEnd, status: int) -> None:
    held = minted(provider)
    far.faults["DELETE"] = (status, {}, b"{}")
    assert outcomes(provider, held)["revoke"].done is False


def test_a_project_that_we_are_not_shown_any_more_is_no_proof(provider: GitLab, far: GitLabFarEnd) -> None:
    held = minted(provider)
    far.projects.clear()
    for step in provider.steps(Held(held.name, held.details, held.handle, None)):
        with pytest.raises(CredentialError, match="shows us no such project .404.: we could not list the tokens"):
            step.run()


def test_a_project_that_was_renamed_is_found_by_its_number(provider: GitLab, far: GitLabFarEnd) -> None:
    held = minted(provider)
    far.projects[7] = "acme/elsewhere/shop"
    assert died(provider, held) == [True, True]
    assert far.alive == []


def test_a_token_that_was_lost_is_found_by_its_name(provider: GitLab, far: GitLabFarEnd) -> None:
    held = minted(provider)
    # A longer name that holds it is another's.
    far.make(7, {"name": "dbr_x2", "scopes": ["read_api"], "expires_at": "2999-01-01"})
    found = outcomes(provider, Held(held.name, held.details, {}, None))
    assert found["revoke"].evidence == {"answer": "revoked"}
    assert found["tried"].evidence == {"answer": "not tried: the token is not known", "active tokens of this name": 0}
    assert far.alive == [101]


def test_a_lost_token_is_not_called_dead_before(provider: GitLab) -> None:
    held = minted(provider)
    _, tried = provider.steps(Held(held.name, held.details, held.handle, None))
    assert tried.run().evidence == {"answer": "not tried: the token is not known", "active tokens of this name": 1}
    assert tried.run().done is False


@pytest.mark.parametrize(("largest", "says_more"), [(100, True), (100, False), (50, True)])
def test_a_lost_token_is_found_on_a_later_page(
    provider: GitLab, far: GitLabFarEnd, largest: int, says_more: bool
) -> None:
    far.largest_page, far.says_more = largest, says_more
    for number in range(250):
        far.make(7, {"name": f"dbr_x{number}", "scopes": ["read_api"], "expires_at": "2999-01-01"})
    minted(provider)
    assert outcomes(provider, Held("dbr_x", [SHOP], {}, None))["revoke"].done
    assert len(far.alive) == 250
    query = {"state": "active", "search": "dbr_x", "per_page": "100"}
    assert far.pages[:3] == [query | {"page": page} for page in ("1", "2", "3")]


def test_a_list_without_an_end_proves_nothing(provider: GitLab, far: GitLabFarEnd) -> None:
    far.faults["GET"] = (200, {"X-Next-Page": "2"}, b"[]")
    with pytest.raises(CredentialError, match="has no end"):
        outcomes(provider, Held("dbr_x", [SHOP], {}, None))


def test_an_old_server_that_lists_dead_tokens_too_is_understood(provider: GitLab, far: GitLabFarEnd) -> None:
    held = minted(provider)
    far.faults["GET"] = (200, {}, json.dumps([{**far.shown(far.tokens[100]), "active": False}]).encode())
    assert outcomes(provider, held)["revoke"].done


def test_a_worker_that_died_after_the_answer_leaves_nothing_alive(
    provider: GitLab, far: GitLabFarEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(api: GitLabApi, *asked: Any) -> Any:
        asking(api, *asked)
        raise CredentialError("The worker was lost.")

    asking = GitLabApi.token
    monkeypatch.setattr(GitLabApi, "token", dies)
    held, _ = broken_off(provider)
    assert far.alive == [100]
    assert "token_id" not in held.handle
    assert died(provider, held) == [True, True]
    assert far.alive == []


def test_a_worker_that_died_before_it_asked_left_nothing(provider: GitLab) -> None:
    found = outcomes(provider, Held("dbr_x", [SHOP], {}, None))
    assert found["revoke"].evidence == {"answer": "there was none that is active"}
    assert found["tried"].done


def test_a_token_that_renewed_itself_dies_with_its_successor(provider: GitLab, far: GitLabFarEnd) -> None:
    held = minted(provider, API)
    heir = far.rotate(str((held.secret or {})["token"]))
    _, tried = provider.steps(held)
    assert tried.run().evidence == {"answer": "401: unauthorized", "active tokens of this name": 1}
    assert tried.run().done is False
    assert died(provider, held) == [True, True]
    assert heir["revoked"]


@pytest.mark.parametrize(
    ("lies", "wrong"),
    [
        ({"scopes": ["read_api", "read_repository", "write_repository"]}, "other scopes"),
        ({"scopes": ["read_api"]}, "other scopes"),
        ({"scopes": None}, "other scopes"),
        ({"access_level": 40}, "another role"),
        ({"name": "dbr_y"}, "another name"),
        ({"expires_at": None}, "another last day"),
        ({"expires_at": "2999-01-01"}, "another last day"),
        ({"active": False}, "it is not active"),
        ({"active": None}, "it is not active"),
    ],
)
def test_another_token_than_was_asked_for_is_revoked_at_once(
    provider: GitLab, far: GitLabFarEnd, lies: dict[str, Any], wrong: str
) -> None:
    far.lies = lies
    held, error = broken_off(provider)
    assert str(error) == f"GitLab gave another token than was asked for: {wrong}."
    assert (error.permanent, error.untouched, far.alive, held.handle["token_id"]) == (True, False, [], 100)


def test_another_token_that_cannot_be_revoked_at_once_is_not_called_untouched(
    provider: GitLab, far: GitLabFarEnd
) -> None:
    far.lies, far.faults["DELETE"] = {"access_level": 40}, (403, {}, b"{}")
    held, error = broken_off(provider)
    assert str(error) == "GitLab refused (403): we could not revoke the token."
    assert (error.permanent, error.untouched) == (True, False)
    far.faults.clear()
    assert died(provider, held) == [True, True]
    assert far.alive == []


def test_a_name_in_other_letters_is_not_asked_for(provider: GitLab, far: GitLabFarEnd) -> None:
    _, error = broken_off(provider, {**SHOP, "locations": ["gitlab:corp/ACME/group/shop"]})
    assert str(error) == "GitLab calls this project 'acme/group/shop': ask for it under that name."
    assert (error.permanent, error.untouched, far.asked) == (True, True, [])


def test_a_project_that_is_not_there_is_said(provider: GitLab) -> None:
    held, error = broken_off(provider, {**SHOP, "locations": ["gitlab:corp/acme/secret"]})
    assert str(error) == "GitLab shows us no such project (404): we could not find the project."
    assert (error.permanent, error.untouched, held.handle) == (True, True, {})


@pytest.mark.parametrize(
    ("fault", "permanent", "untouched"),
    [
        ((500, {}, b"busy"), False, False),
        ((503, {}, b"<html>"), False, False),
        ((429, {}, b""), False, False),
        ((403, {"Retry-After": "60"}, b"{}"), False, False),
        ((400, {}, b'{"message": "glpat-worker"}'), True, True),
        ((401, {}, b"{}"), True, True),
        ((403, {}, b"{}"), True, True),
        ((404, {}, b"<html>"), True, True),
        ((302, {"Location": "http://127.0.0.1:9/"}, b""), True, True),
        ((201, {}, b"<html>"), False, False),
        ((201, {}, b"[]"), False, False),
        ((201, {}, b'{"id": "100", "token": "glpat-x"}'), False, False),
        ((201, {}, b'{"id": 100, "token": null}'), False, False),
    ],
)
def test_faults_are_told_apart_and_nothing_is_repeated(
    provider: GitLab, far: GitLabFarEnd, fault: Any, permanent: bool, untouched: bool
) -> None:
    far.faults["POST"] = fault
    held, error = broken_off(provider)
    assert (error.permanent, error.untouched, error.silent) == (permanent, untouched, False)
    assert "glpat" not in str(error)
    assert died(provider, held) == [True, True]


@pytest.mark.parametrize(
    "fault", [(429, {}, b""), (502, {}, b""), (200, {}, b"<html>"), (200, {}, b"{}"), (200, {}, b"[5]")]
)
def test_a_list_that_cannot_be_read_proves_nothing(provider: GitLab, far: GitLabFarEnd, fault: Any) -> None:
    held = minted(provider)
    far.faults["GET"] = fault
    for step in provider.steps(Held(held.name, held.details, held.handle, None)):
        with pytest.raises(CredentialError) as raised:
            step.run()
        assert not raised.value.permanent


def test_another_answer_to_the_token_than_401_is_no_proof(provider: GitLab, far: GitLabFarEnd) -> None:
    _, tried = provider.steps(minted(provider))
    far.faults["GET"] = (403, {}, b"{}")
    with pytest.raises(CredentialError, match="refused .403.: we could not try the token"):
        tried.run()


@pytest.mark.parametrize("method", ["DELETE", "GET"])
def test_a_far_end_that_fails_is_asked_again(provider: GitLab, far: GitLabFarEnd, method: str) -> None:
    held = minted(provider)
    far.faults[method] = (503, {}, b"")
    with pytest.raises(CredentialError, match="busy or failing .503."):
        outcomes(provider, held)
    far.faults.clear()
    assert died(provider, held) == [True, True]


def test_who_is_away_is_silent(provider: GitLab, token_file: Path) -> None:
    held = minted(provider)
    with closing(GitLabApi(Server("http://127.0.0.1:9/api/v4", str(token_file)), 1)) as api:
        away = GitLab("gitlab", {"corp": api})
        _, error = broken_off(away)
        assert (str(error), error.silent) == ("GitLab does not answer: we could not find the project.", True)
        for step in away.steps(held):
            with pytest.raises(CredentialError, match="does not answer") as silent:
                step.run()
            assert silent.value.silent


@pytest.mark.parametrize("text", ["", "glpat-one\nglpat-two", "glpat-\u00e9", "\ufeffglpat-worker"])
def test_a_token_file_without_a_token_is_said(provider: GitLab, token_file: Path, text: str) -> None:
    token_file.write_text(text)
    _, error = broken_off(provider)
    assert str(error) == "A token_file of GITLAB_SERVERS holds no token."
    assert (error.permanent, error.untouched) == (True, True)


def test_our_own_token_that_is_missing_or_refused_is_said(provider: GitLab, token_file: Path) -> None:
    token_file.write_text("glpat-wrong")
    _, error = broken_off(provider)
    assert str(error) == "GitLab does not take the token of GITLAB_SERVERS (401): we could not find the project."
    token_file.unlink()
    _, error = broken_off(provider)
    assert str(error) == "A token_file of GITLAB_SERVERS cannot be read: FileNotFoundError."


def test_a_server_that_was_taken_out_of_the_settings_is_said(provider: GitLab) -> None:
    held = minted(provider)
    with pytest.raises(CredentialError, match="The server corp is not in GITLAB_SERVERS any more"):
        GitLab("gitlab", {}).steps(held)
    with pytest.raises(CredentialError, match="is no project"):
        gitlab_words.project("gitlab:corp")


def test_settings_name_the_server_and_hide_the_file() -> None:
    server = Server.of({"api": "https://gitlab.example/api/v4", "token_file": "/run/secrets/gitlab"})
    assert repr(server) == "Server(api='https://gitlab.example/api/v4')"


def test_gitlabs_client_finds_this_far_end_to_be_a_gitlab(far: GitLabFarEnd) -> None:
    with Gitlab(far.url.removesuffix("/api/v4"), private_token=WORKER) as client:
        manager = client.projects.get("acme/group/shop", lazy=True).access_tokens
        token = manager.create({"name": "n", "scopes": ["api"], "access_level": 20, "expires_at": "2999-01-01"})
        assert [one.id for one in manager.list(state="active", search="n", iterator=True)] == [token.id]
        with Gitlab(far.url.removesuffix("/api/v4"), private_token=token.token) as agent:
            assert agent.personal_access_tokens.get("self").id == token.id
            manager.delete(token.id)
            with pytest.raises(GitlabAuthenticationError):
                agent.personal_access_tokens.get("self")
