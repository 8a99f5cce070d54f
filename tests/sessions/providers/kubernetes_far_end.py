"""A Kubernetes API server on loopback, as far as accounts, their rights and their tokens go.

Paths, methods and bodies are held against what the official client declares, which is made from Kubernetes' own OpenAPI
description: what it does not know is answered with 400. Tokens are JWTs that expire; one is good only while the account
that it was made for, by its uid, is there. Rights are those of the Roles that are bound to it (RBAC).
"""

import json
import re
import ssl
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import ValidationError

from tests.sessions.providers import kubernetes_wire
from tests.sessions.providers.kubernetes_description import OPERATIONS, Operation

OPENBAO, ISSUER = "token-of-openbao", "https://kubernetes.default.svc"
Object = dict[str, Any]
Answer = tuple[int, Object]


@dataclass
class KubernetesFarEnd:
    """`remembers` is how long a token that was good is let in without another look, as real servers do for ten seconds.
    `answers` are what an operation is answered with instead."""

    objects: dict[tuple[str, str, str], Object] = field(default_factory=dict)
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    remembers: timedelta = timedelta()
    longest_s: int = 86_400
    answers: dict[str, int] = field(default_factory=dict)
    asked: list[tuple[str, Object]] = field(default_factory=list)
    seen: dict[str, tuple[datetime, Object]] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def accounts(self, credential: str) -> list[Object]:
        """All that is there for a credential: its account, its role, and what binds them."""
        name = credential.replace("_", "-")
        return [each for each in self.objects.values() if each["metadata"]["name"] == name]

    def who(self, token: str) -> Object | None:
        """The account of a token; None where it is not good, or not any more."""
        at = datetime.now(UTC)
        until, known = self.seen.get(token, (at, {}))
        if at < until:
            return known
        try:
            claims = jwt.decode(token, self.key.public_key(), ["ES256"], audience=ISSUER)["kubernetes.io"]
        except jwt.InvalidTokenError:
            return None
        account = self.objects.get(("ServiceAccount", claims["namespace"], claims["serviceaccount"]["name"]))
        if account is None or account["metadata"]["uid"] != claims["serviceaccount"]["uid"]:
            return None
        self.seen[token] = (at + self.remembers, account)
        return account

    def may(self, account: Object, verb: str, resource: tuple[str, str], namespace: str) -> bool:
        name, home = account["metadata"]["name"], account["metadata"]["namespace"]
        for (kind, where, _), binding in self.objects.items():
            subjects = binding.get("subjects", []) if (kind, where) == ("RoleBinding", namespace) else []
            if not any(
                (one["kind"], one["name"], one["namespace"]) == ("ServiceAccount", name, home) for one in subjects
            ):
                continue
            role = self.objects.get((binding["roleRef"]["kind"], namespace, binding["roleRef"]["name"]), {"rules": []})
            for rule in role["rules"]:
                if verb in rule["verbs"] and resource[0] in rule["apiGroups"] and resource[1] in rule["resources"]:
                    return True
        return False

    def create(self, kind: str, namespace: str, body: Object) -> Answer:
        name = body["metadata"]["name"]
        if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", name):
            return status(422, "Invalid")
        if (kind, namespace, name) in self.objects:
            return status(409, "AlreadyExists")
        made = {**body, "metadata": {**body["metadata"], "namespace": namespace, "uid": str(uuid.uuid4())}}
        self.objects[kind, namespace, name] = made
        return 201, made

    def delete(self, kind: str, namespace: str, name: str) -> Answer:
        """What it owns is collected with it."""
        gone = self.objects.pop((kind, namespace, name), None)
        if gone is None:
            return status(404, "NotFound")
        owned = [
            each
            for each, one in self.objects.items()
            if any(owner["uid"] == gone["metadata"]["uid"] for owner in one["metadata"].get("ownerReferences") or [])
        ]
        for each in owned:
            del self.objects[each]
        return 200, {"kind": "Status", "apiVersion": "v1", "status": "Success"}

    def token(self, namespace: str, name: str, body: Object) -> Answer:
        account, at = self.objects.get(("ServiceAccount", namespace, name)), datetime.now(UTC)
        seconds = min(body["spec"].get("expirationSeconds", 3_600), self.longest_s)
        ends_at = at + timedelta(seconds=seconds)
        if account is None:
            return status(404, "NotFound")
        if seconds < 600:
            return status(422, "Invalid")
        claims = {
            "iss": ISSUER,
            "aud": [ISSUER],
            "iat": at,
            "nbf": at,
            "exp": ends_at,
            "jti": str(uuid.uuid4()),
            "sub": f"system:serviceaccount:{namespace}:{name}",
            "kubernetes.io": {
                "namespace": namespace,
                "serviceaccount": {"name": name, "uid": account["metadata"]["uid"]},
            },
        }
        made = {"token": jwt.encode(claims, self.key, "ES256"), "expirationTimestamp": ends_at.isoformat()}
        spec = {"audiences": [ISSUER], "expirationSeconds": seconds}
        return 201, {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {},
            "spec": spec,
            "status": made,
        }


def status(code: int, reason: str) -> Answer:
    said = f'thing "x" {"is forbidden: no" if code == 403 else reason}'
    return code, {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": reason,
        "code": code,
        "message": said,
    }


def read(body: bytes) -> Object:
    if body.startswith(kubernetes_wire.MAGIC):
        return kubernetes_wire.decoded(body)
    found: Object = json.loads(body) if body else {}
    return found


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10
    far: KubernetesFarEnd

    def log_message(self, *_: object) -> None:
        pass

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.far.lock:
            code, said = self.answer(read(body))
        raw = json.dumps(said).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    do_GET = do_POST = do_PUT = do_DELETE = handle_any

    def answer(self, body: Object) -> Answer:
        bearer = self.headers.get("Authorization", "").removeprefix("Bearer ")
        account = None if bearer == OPENBAO else self.far.who(bearer)
        if bearer != OPENBAO and account is None:
            return status(401, "Unauthorized")
        path = self.path.partition("?")[0]
        found = [(one, one.path.fullmatch(path)) for one in OPERATIONS if one.method == self.command]
        for operation, match in found:
            if match is not None:
                return self.asked(operation, match.groupdict(), body, account)
        return status(404, "NotFound")

    def asked(self, operation: Operation, where: dict[str, str], body: Object, account: Object | None) -> Answer:
        if operation.body is not None and body:
            try:
                operation.body.model_validate(body)
            except ValidationError:
                return status(400, "BadRequest")
        self.far.asked.append((operation.name, body))
        if operation.name in self.far.answers:
            return status(self.far.answers[operation.name], "Told")
        if operation.name == "create_self_subject_review":
            return 201, {
                **body,
                "status": {"userInfo": {"username": (account or {"metadata": {}})["metadata"].get("name")}},
            }
        if account is not None:
            allowed = self.far.may(account, operation.verb, operation.resource, where["namespace"])
            return (200, {"kind": "List", "items": []}) if allowed else status(403, "Forbidden")
        return managed(self.far, operation.name, where, body)


def managed(far: KubernetesFarEnd, name: str, where: dict[str, str], body: Object) -> Answer:
    """What OpenBao's own account may do."""
    verb, _, rest = name.partition("_namespaced_")
    if rest == "service_account_token":
        return far.token(where["namespace"], where["name"], body)
    kind = "".join(part.capitalize() for part in rest.split("_"))
    doing: Mapping[str, Callable[[], Answer]] = {
        "create": lambda: far.create(kind, where["namespace"], body),
        "delete": lambda: far.delete(kind, where["namespace"], where["name"]),
    }
    return doing[verb]()


@contextmanager
def kubernetes(far: KubernetesFarEnd, port: int, certificate: Path) -> Iterator[KubernetesFarEnd]:
    """Behind TLS, with this certificate and its key."""
    server = ThreadingHTTPServer(("127.0.0.1", port), type("Serving", (Handler,), {"far": far}))
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield far
    server.shutdown()
    server.server_close()
