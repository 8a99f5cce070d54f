"""Tokens of Kubernetes: an account for each, with the rights that were approved, deleted when it has to die."""

import base64
import json
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import import_module
from inspect import getsource
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
import time_machine

from sessions.providers import kubernetes, kubernetes_words
from sessions.providers.contract import CredentialError, Details, Held, Intent, Minted
from sessions.providers.kubernetes import Kubernetes
from sessions.providers.openbao_api import OpenBaoApi
from sessions.providers.places import Place
from tests.sessions.providers.engines import Engines, engines
from tests.sessions.providers.kubernetes_far_end import KubernetesFarEnd

PODS = "kubernetes:prod/shop/pods"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    with engines(tmp_path_factory.mktemp("engines")) as running:
        yield running


@pytest.fixture
def cluster(found: Engines) -> Iterator[KubernetesFarEnd]:
    found.cluster.asked.clear()
    yield found.cluster
    found.cluster.answers.clear()
    found.cluster.remembers = timedelta()


@pytest.fixture
def provider(found: Engines, cluster: KubernetesFarEnd) -> Kubernetes:
    return Kubernetes(found.api, found.places)


@pytest.fixture
def alone() -> Kubernetes:
    places = {"prod": Place("kubernetes", "kubernetes", "api.prod.internal", 6443, allowed=["shop", "site"])}
    return Kubernetes(OpenBaoApi("http://127.0.0.1:1", "role", "secret", 1), places)


def asking(*locations: str, actions: Any = ("list",)) -> Details:
    return {"type": "kubernetes", "locations": list(locations) or [PODS], "actions": list(actions)}


def intent(*details: Details, ttl_s: int = 900) -> Intent:
    return Intent(f"dbr_{uuid.uuid4().hex}", details or [asking()], ttl_s, {"agent_session": "s-1", "agent": "a-1"})


def mint(provider: Kubernetes, asked: Intent | None = None) -> tuple[Held, Minted]:
    asked = asked or intent()
    made = provider.mint(asked, lambda handle: None)
    return Held(asked.name, asked.details, made.handle, made.secret), made


def outcomes(provider: Kubernetes, held: Held) -> dict[str, bool]:
    return {step.name: step.run().done for step in provider.steps(held)}


@pytest.mark.parametrize(
    ("details", "problem"),
    [
        (asking("kubernetes:prod/shop"), "'kubernetes:prod/shop' cannot be understood: write kubernetes:place/namesp"),
        (asking("kubernetes:prod/shop/*"), "'kubernetes:prod/shop/*' cannot be understood"),
        (asking("kubernetes:prod/shop/pods/log/x"), "cannot be understood"),
        (asking("kubernetes:prod/Shop/pods"), "cannot be understood"),
        (asking("kubernetes:test/shop/pods"), "There is no kubernetes place 'test' here; there is prod."),
        (asking("kubernetes:prod/kube-system/pods"), "'kube-system' is not among what prod allows."),
        (asking(actions=["*"]), "'*' is not an action"),
        (asking(actions=["impersonate"]), "'impersonate' is not an action"),
        (asking(PODS, PODS), "locations names one place twice."),
        (asking(PODS, "kubernetes:prod/site/pods"), "One object speaks of one namespace"),
        (asking("kubernetes:prod/shop/serviceaccounts/token", actions=["create"]), "it makes tokens of other accounts"),
        (
            asking("kubernetes:prod/shop/rolebindings.rbac.authorization.k8s.io", actions=["create"]),
            "rolebindings.rbac.authorization.k8s.io can only be read",
        ),
        (asking("kubernetes:prod/shop/secrets", actions=["create"]), "secrets can be read and deleted, not written"),
        (asking("kubernetes:prod/shop/secrets", actions=["patch"]), "secrets can be read and deleted, not written"),
        ({**asking(), "cluster": True}, "A kubernetes object has no field 'cluster'."),
    ],
)
def test_what_cannot_be_granted_is_said(alone: Kubernetes, details: Details, problem: str) -> None:
    assert any(problem in said for said in alone.problems(details)), list(alone.problems(details))


@pytest.mark.parametrize(
    "details",
    [
        asking(PODS, "kubernetes:prod/shop/pods/log", "kubernetes:prod/shop/deployments.apps", actions=["get"]),
        asking("kubernetes:prod/shop/deployments.apps/scale", actions=["patch"]),
        asking("kubernetes:prod/shop/roles.rbac.authorization.k8s.io", actions=["get", "list", "watch"]),
        asking("kubernetes:prod/shop/secrets", actions=["get", "delete"]),
    ],
)
def test_what_can_be_granted_has_no_problem(alone: Kubernetes, details: Details) -> None:
    assert list(alone.problems(details)) == []


@pytest.mark.parametrize(
    ("resource", "actions", "said"),
    [
        ("pods", ["get"], ["Read pods in the namespace shop of prod (Kubernetes)."]),
        (
            "jobs.batch",
            ["create"],
            [
                "Make new jobs.batch in the namespace shop of prod (Kubernetes).",
                "This runs programs there, as any account of the namespace; a kill does not end them.",
            ],
        ),
        (
            "pods/exec",
            ["get"],
            [
                "Read pods/exec in the namespace shop of prod (Kubernetes).",
                "This runs programs there, as any account of the namespace; a kill does not end them.",
            ],
        ),
        (
            "services/proxy",
            ["get"],
            [
                "Read services/proxy in the namespace shop of prod (Kubernetes).",
                "This reaches what listens in pods, past the gateways' rules.",
            ],
        ),
        (
            "secrets",
            ["list"],
            [
                "List, with all that is in them, secrets in the namespace shop of prod (Kubernetes).",
                "Keys that are read there stay known after a kill.",
            ],
        ),
        (
            "workflows.argoproj.io",
            ["create"],
            [
                "Make new workflows.argoproj.io in the namespace shop of prod (Kubernetes).",
                "What a change of 'workflows.argoproj.io' sets off is not known here: Kubernetes itself has none.",
            ],
        ),
        ("workflows.argoproj.io", ["get"], ["Read workflows.argoproj.io in the namespace shop of prod (Kubernetes)."]),
    ],
)
def test_the_lead_reads_what_it_can_do(alone: Kubernetes, resource: str, actions: list[str], said: list[str]) -> None:
    assert list(alone.sentences(asking(f"kubernetes:prod/shop/{resource}", actions=actions))) == said


@pytest.mark.parametrize(
    ("resource", "action", "open_things"),
    [("pods", "get", False), ("pods", "watch", True), ("pods/log", "get", True), ("pods/exec", "create", True)],
)
def test_the_lead_reads_what_a_kill_leaves_open(
    alone: Kubernetes, resource: str, action: str, open_things: bool
) -> None:
    life = alone.life([asking(f"kubernetes:prod/shop/{resource}", actions=[action])])
    assert life.dies.startswith("within ten seconds")
    assert ("goes on until a gateway cuts it" in life.dies) is open_things
    assert (life.shortest_s, life.left) == (600, "its lease ends it.")


def test_there_is_an_account_for_each_namespace(alone: Kubernetes) -> None:
    shop, site = asking(), asking("kubernetes:prod/site/pods")
    more = asking("kubernetes:prod/shop/services", actions=["get"])
    assert alone.slots([shop, site, more]) == {"kubernetes:prod/shop": [shop, more], "kubernetes:prod/site": [site]}


def test_what_two_objects_allow_is_not_mixed() -> None:
    objects = [
        asking(PODS, "kubernetes:prod/shop/deployments.apps", actions=["list", "get"]),
        asking("kubernetes:prod/shop/pods/log", actions=["get"]),
    ]
    assert kubernetes_words.rules(objects) == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    ]


def test_what_is_called_dangerous_is_called_so_by_kubernetes() -> None:
    named = kubernetes_words.WORKLOADS | kubernetes_words.STREAMS | {"serviceaccounts/token", "secrets"}
    known = set()
    for module in ("core_v1_api", "apps_v1_api", "batch_v1_api"):
        source = getsource(import_module(f"kubernetes.client.api.{module}"))
        group = {"core_v1_api": "", "apps_v1_api": ".apps", "batch_v1_api": ".batch"}[module]
        for path in re.findall(r"resource_path='[^']+/namespaces/\{namespace\}/([^']+)'", source):
            name, *rest = path.replace("/{name}", "").replace("/{path}", "").split("/")
            known.add("/".join([name + group, *rest]))
    assert named <= known


def test_the_cluster_knows_whose_account_it_is(provider: Kubernetes, cluster: KubernetesFarEnd) -> None:
    held, made = mint(provider)
    (role,) = [body for name, body in cluster.asked if name == "create_namespaced_role"]
    assert role["metadata"]["name"] == held.name.replace("_", "-")
    assert role["metadata"]["annotations"] == {"drawbridge/agent_session": "s-1", "drawbridge/agent": "a-1"}
    assert role["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
    claims = jwt.decode(made.secret["token"], options={"verify_signature": False})
    assert claims["sub"] == f"system:serviceaccount:shop:{held.name.replace('_', '-')}"
    assert claims["exp"] - claims["iat"] == 900
    assert made.handle["account"] == f"shop/{held.name.replace('_', '-')}"
    assert outcomes(provider, held) == dict.fromkeys(["lease", "token", "token_lookup", "tried", "tidy"], True)
    assert cluster.accounts(held.name) == []


def test_the_agent_gets_what_kubectl_reads(provider: Kubernetes, found: Engines) -> None:
    held, made = mint(provider)
    config = json.loads(made.secret["kubeconfig"])
    (cluster,), (user,) = config["clusters"], config["users"]
    assert cluster["cluster"]["server"] == made.secret["server"] == f"https://127.0.0.1:{found.ports['kubernetes']}"
    authority = base64.b64decode(cluster["cluster"]["certificate-authority-data"]).decode()
    assert authority == made.secret["certificate_authority"] == (found.folder / "ca.pem").read_text()
    assert user["user"] == {"token": made.secret["token"]}
    assert config["contexts"][0]["context"]["namespace"] == "shop"
    outcomes(provider, held)


def test_it_is_not_called_dead_while_the_server_remembers_it(provider: Kubernetes, cluster: KubernetesFarEnd) -> None:
    cluster.remembers = timedelta(seconds=10)
    held, made = mint(provider)
    assert kubernetes.accepted(provider._places["prod"], made.secret["token"])
    done = outcomes(provider, held)
    assert (done["lease"], done["tried"], cluster.accounts(held.name)) == (True, False, [])
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=11)):
        assert outcomes(provider, held)["tried"]


def test_an_account_that_kubernetes_keeps_is_not_called_dead(provider: Kubernetes, cluster: KubernetesFarEnd) -> None:
    held, _ = mint(provider)
    cluster.answers |= {"delete_namespaced_service_account": 500, "delete_namespaced_role": 500}
    steps = {step.name: step for step in provider.steps(held)}
    with pytest.raises(CredentialError, match="we could not revoke the lease"):
        steps["lease"].run()
    assert not steps["tried"].run().done
    cluster.answers.clear()
    assert all(outcomes(provider, held).values())


def test_rights_that_openbao_may_not_give_are_refused_for_good(provider: Kubernetes, cluster: KubernetesFarEnd) -> None:
    cluster.answers |= {"create_namespaced_role": 403}
    with pytest.raises(CredentialError, match="Kubernetes forbids that to the account that OpenBao has") as refused:
        mint(provider)
    assert refused.value.permanent


def test_a_token_that_cannot_be_made_is_tried_again_and_nothing_is_left_alive(
    provider: Kubernetes, cluster: KubernetesFarEnd
) -> None:
    cluster.answers |= {"create_namespaced_service_account_token": 500}
    asked = intent()
    with pytest.raises(CredentialError) as refused:
        mint(provider, asked)
    assert not refused.value.permanent
    cluster.answers.clear()
    assert all(outcomes(provider, Held(asked.name, asked.details, {}, None)).values())


def test_a_short_session_gets_the_shortest_token_there_is(provider: Kubernetes) -> None:
    held, made = mint(provider, intent(ttl_s=60))
    left = made.expires_at - datetime.now(UTC)
    assert timedelta(seconds=590) < left <= timedelta(seconds=600)
    with time_machine.travel(made.expires_at + timedelta(seconds=5)):
        assert not kubernetes.accepted(provider._places["prod"], made.secret["token"])
    outcomes(provider, held)


def test_a_cluster_that_makes_shorter_tokens_is_believed(provider: Kubernetes, cluster: KubernetesFarEnd) -> None:
    cluster.longest_s = 700
    held, made = mint(provider)
    assert made.expires_at <= datetime.now(UTC) + timedelta(seconds=700)
    cluster.longest_s = 86_400
    outcomes(provider, held)


@pytest.mark.parametrize(("status", "alive"), [(403, True), (404, None), (500, None), (401, False)])
def test_only_kubernetes_own_401_proves_death(
    provider: Kubernetes, cluster: KubernetesFarEnd, status: int, alive: bool | None
) -> None:
    held, made = mint(provider)
    cluster.answers |= {"create_self_subject_review": status}
    if alive is None:
        with pytest.raises(CredentialError, match=rf"did not judge the token \({status}\)"):
            kubernetes.accepted(provider._places["prod"], made.secret["token"])
    else:
        assert kubernetes.accepted(provider._places["prod"], made.secret["token"]) is alive
    cluster.answers.clear()
    outcomes(provider, held)


@pytest.mark.parametrize("status", [200, 401, 403])
def test_what_a_proxy_says_proves_nothing(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    said = httpx.Response(status, text="<html>sign in</html>")
    monkeypatch.setattr(httpx.Client, "post", lambda *_, **__: said)
    with pytest.raises(CredentialError, match="did not judge"):
        kubernetes.accepted(Place("kubernetes", "kubernetes", "api.prod.internal", 6443), "token")


def test_an_authority_that_cannot_be_read_and_a_server_that_is_away_are_told(tmp_path: Path) -> None:
    with pytest.raises(CredentialError, match="A ca_file of OPENBAO_PLACES cannot be read"):
        kubernetes.accepted(Place("kubernetes", "kubernetes", "h", 1, ca_file=str(tmp_path / "none")), "token")
    with pytest.raises(CredentialError, match="Kubernetes does not answer") as away:
        kubernetes.accepted(Place("kubernetes", "kubernetes", "127.0.0.1", 1), "token")
    assert away.value.silent
