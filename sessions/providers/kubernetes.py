"""Kubernetes through OpenBao's kubernetes engine: an account of its own for each credential (ServiceAccount, Role and
RoleBinding), and a token of that account. What ends the lease deletes the account, and its token with it.

What may be asked is in kubernetes_words.
"""

import json
import ssl
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from sessions.providers import kubernetes_words
from sessions.providers.contract import CredentialError, Details, Held, Intent, Json, Life, Minted, Outcome, Step
from sessions.providers.engine import Engine
from sessions.providers.places import LONGEST_LIFE_S, Place
from sessions.providers.wording import slot_of

# The API server makes no token that lives shorter (its validation of a TokenRequest).
SHORTEST_S = 600
TIMEOUT_S = 5
REVIEW = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
# Names in Kubernetes have no underscore.
NAMED = '{{ .RoleName | replace "_" "-" }}'


class Kubernetes(Engine):
    kind = engine = "kubernetes"
    location = kubernetes_words.LOCATION
    example = "kubernetes:place/namespace/pods"
    actions = kubernetes_words.ACTIONS

    def problems(self, details: Details) -> Iterator[str]:
        found = list(super().problems(details))
        yield from found or kubernetes_words.lasting_problems(details)

    def slots(self, details: Sequence[Details]) -> Mapping[str, Sequence[Details]]:
        """One account for each namespace."""
        slots: dict[str, list[Details]] = {}
        for each in details:
            slots.setdefault(slot_of(f"kubernetes:{'/'.join(_namespace([each]))}"), []).append(each)
        return slots

    def sentences(self, details: Details) -> Iterator[str]:
        return kubernetes_words.sentences(details)

    def life(self, details: Sequence[Details]) -> Life:
        """The API server remembers for ten seconds that a token was good."""
        dies = "within ten seconds, with its account"
        if kubernetes_words.streams(details):
            dies += "; what is open then (logs, watches, shells) goes on until a gateway cuts it"
        return Life(SHORTEST_S, LONGEST_LIFE_S, dies, "its lease ends it.")

    def mint(self, intent: Intent, record: Callable[[Json], None]) -> Minted:
        return super().mint(replace(intent, ttl_s=max(intent.ttl_s, SHORTEST_S)), record)

    def role(self, intent: Intent, place: Place) -> Json:
        """The account has the credential's name, which the cluster's audit log shows with each of its requests."""
        lives = f"{intent.ttl_s}s"
        return {
            "allowed_kubernetes_namespaces": [_namespace(intent.details)[1]],
            "kubernetes_role_type": "Role",
            "generated_role_rules": json.dumps({"rules": kubernetes_words.rules(intent.details)}),
            "name_template": NAMED,
            "extra_annotations": {f"drawbridge/{name}": value for name, value in intent.labels.items()},
            "token_default_ttl": lives,
            "token_max_ttl": lives,
        }

    def asked(self, intent: Intent) -> Json | None:
        return {"kubernetes_namespace": _namespace(intent.details)[1], "ttl": f"{intent.ttl_s}s"}

    def secret(self, place: Place, data: Mapping[str, Any]) -> Json:
        found = {
            "server": server(place),
            "namespace": data["service_account_namespace"],
            "token": data["service_account_token"],
            "certificate_authority": authority(place),
        }
        return {"type": self.kind, **found, "kubeconfig": json.dumps(kubeconfig(found))}

    def handle(self, data: Mapping[str, Any]) -> Json:
        return {"account": f"{data['service_account_namespace']}/{data['service_account_name']}"}

    def proofs(self, held: Held, place: Place) -> Sequence[Step]:
        def tried() -> Outcome:
            if held.secret is None:
                left = len(self._leases(held, place))
                return Outcome(not left, {"tried": "no: the token is not known", "leases_left": left})
            alive = accepted(place, str(held.secret["token"]))
            return Outcome(not alive, {"tried": "yes", "answer": "it works" if alive else "401: unauthorized"})

        return [Step("tried", "proof", "Token refused by Kubernetes", tried, f"kubernetes {place.host}")]


def server(place: Place) -> str:
    return f"https://{place.host}:{place.port}"


def authority(place: Place) -> str:
    """Who vouches for the API server, in PEM; empty where that is whom everybody trusts."""
    if not place.ca_file:
        return ""
    try:
        return Path(place.ca_file).read_text()
    except (OSError, ValueError) as error:
        raise CredentialError(f"A ca_file of OPENBAO_PLACES cannot be read: {type(error).__name__}.") from error


def kubeconfig(secret: Json) -> Json:
    """What kubectl and its kin read, in JSON, which is YAML too."""
    cluster = {"server": secret["server"]}
    if secret["certificate_authority"]:
        cluster["certificate-authority-data"] = b64encode(secret["certificate_authority"].encode()).decode()
    context = {"cluster": "cluster", "user": "session", "namespace": secret["namespace"]}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "cluster", "cluster": cluster}],
        "users": [{"name": "session", "user": {"token": secret["token"]}}],
        "contexts": [{"name": "session", "context": context}],
        "current-context": "session",
    }


def accepted(place: Place, token: str) -> bool:
    """Whether the API server still knows whose token it is. CredentialError where it is not the one that judges."""
    trust = ssl.create_default_context(cadata=authority(place) or None)
    headers = {"Authorization": f"Bearer {token}"}
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        with httpx.Client(verify=trust, timeout=TIMEOUT_S) as client:
            answer = client.post(server(place) + REVIEW, headers=headers, json=body)
    except httpx.HTTPError as error:
        raise CredentialError("Kubernetes does not answer: we could not try the token.", silent=True) from error
    if answer.status_code in (200, 201, 403) and _kind(answer) in ("SelfSubjectReview", "Status"):
        return True
    if answer.status_code == 401 and _kind(answer) == "Status":
        return False
    raise CredentialError(f"Kubernetes did not judge the token ({answer.status_code}).")


def _kind(answer: httpx.Response) -> str:
    """Of Kubernetes' own answers; what a proxy before it says has none."""
    try:
        found = answer.json()
    except ValueError:
        return ""
    return str(found.get("kind", "")) if isinstance(found, dict) else ""


def _namespace(details: Sequence[Details]) -> tuple[str, str]:
    return kubernetes_words.namespace(details[0]["locations"][0])
