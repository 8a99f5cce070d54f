"""What the battery has to know of each provider: how it is built, what is asked of it, and who can say what lives."""

import socket
import ssl
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pymysql
import redis
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from redis.exceptions import NoPermissionError

from sessions.providers.contract import Details
from sessions.providers.github import App, GitHub, GitHubApi
from sessions.providers.gitlab import GitLab, GitLabApi
from sessions.providers.gitlab import Server as GitLabServer
from sessions.providers.kubernetes import Kubernetes
from sessions.providers.mysql import MySql
from sessions.providers.oauth import OAuth, OAuthApi, Server
from sessions.providers.openbao_api import OpenBaoApi
from sessions.providers.openbao_token import OpenBaoToken
from sessions.providers.pki import Pki
from sessions.providers.ssh import Ssh
from sessions.providers.valkey import Valkey
from tests.sessions.providers import faulty
from tests.sessions.providers.case import TIMEOUT_S, Case, Secret
from tests.sessions.providers.cases_elsewhere import aws, postgresql
from tests.sessions.providers.engines import Engines
from tests.sessions.providers.github_far_end import INSTALLATION, GitHubFarEnd, github
from tests.sessions.providers.gitlab_far_end import WORKER, GitLabFarEnd, gitlab
from tests.sessions.providers.oauth_far_end import authorization_server


@contextmanager
def case(name: str, found: Engines, folder: Path) -> Iterator[Case]:
    with ExitStack() as stack:
        yield MAKERS[name](name, found, folder, stack)


def _engine(name: str, kind: Any, found: Engines, stack: ExitStack, details: Details, **more: Any) -> Case:
    far = stack.enter_context(faulty.before(found.api.address))
    api = OpenBaoApi(far.url, found.control["role_id"], found.control["secret_id"], TIMEOUT_S)
    return Case(name, kind(api, found.places), far, [details], **more)


def _kv(name: str, found: Engines, folder: Path, stack: ExitStack) -> Case:
    details = {"type": "openbao-token", "locations": ["kv:apps/shop/db"], "actions": ["read"]}
    ask = _asking(found)
    return _engine(
        name,
        OpenBaoToken,
        found,
        stack,
        details,
        inside=lambda secret: ask(secret, "GET", "apps/data/shop/db"),
        outside=lambda secret: (
            ask(secret, "GET", "apps/data/hr/salaries")
            or ask(secret, "POST", "apps/data/shop/db", {"data": {"password": "mine"}})
            or ask(secret, "LIST", "apps/metadata/shop")
            or ask(secret, "POST", "auth/token/create", {})
        ),
        alive=lambda credential: _tokens(found, credential),
    )


def _transit(name: str, found: Engines, folder: Path, stack: ExitStack) -> Case:
    details = {"type": "openbao-token", "locations": ["transit:keys/orders"], "actions": ["encrypt"]}
    ask, text = _asking(found), {"plaintext": "aGVsbG8="}
    sealed = found.root.adapter.post("/v1/transit/encrypt/orders", json=text)["data"]["ciphertext"]
    return _engine(
        name,
        OpenBaoToken,
        found,
        stack,
        details,
        inside=lambda secret: ask(secret, "POST", "transit/encrypt/orders", text),
        outside=lambda secret: (
            ask(secret, "POST", "transit/encrypt/other", text)
            or ask(secret, "POST", "transit/decrypt/orders", {"ciphertext": sealed})
            or ask(secret, "GET", "transit/export/encryption-key/orders")
        ),
        alive=lambda credential: _tokens(found, credential),
    )


def _asking(found: Engines) -> Callable[..., bool]:
    def ask(secret: Secret, method: str, path: str, fields: Any = None) -> bool:
        headers = {"X-Vault-Token": secret["token"]}
        answer = httpx.request(method, f"{found.api.address}/v1/{path}", json=fields, headers=headers, trust_env=False)
        assert answer.status_code in (200, 204, 403), answer.text
        return answer.status_code != 403

    return ask


def _tokens(found: Engines, credential: str) -> int:
    accessors = found.root.adapter.list("/v1/auth/token/accessors")["data"]["keys"]
    count = 0
    for accessor in accessors:
        token = found.api.token_of(accessor)
        count += token is not None and (token["meta"] or {}).get("credential") == credential
    return count


def _mysql(name: str, found: Engines, folder: Path, stack: ExitStack) -> Case:
    def allowed(secret: Secret, sql: str) -> bool:
        try:
            with found.mysql(secret["username"], secret["password"]) as agent, agent.cursor() as cursor:
                cursor.execute(sql)
        except pymysql.err.MySQLError as error:
            if error.args[0] in (1045, 1044, 1142, 1227, 4151):
                return False
            raise
        return True

    def alive(credential: str) -> int:
        with found.mysql() as admin, admin.cursor() as cursor:
            count: int = cursor.execute("SELECT 1 FROM mysql.user WHERE user = %s", [credential[:32]])
            return count

    return _engine(
        name,
        MySql,
        found,
        stack,
        {"type": "mysql", "locations": ["mysql://shop/shop.orders"], "actions": ["read"]},
        inside=lambda secret: allowed(secret, "SELECT * FROM shop.orders"),
        outside=lambda secret: (
            allowed(secret, "SELECT * FROM shop.people")
            or allowed(secret, "DELETE FROM shop.orders")
            or allowed(secret, "CREATE USER other")
        ),
        alive=alive,
    )


def _valkey(name: str, found: Engines, folder: Path, stack: ExitStack) -> Case:
    def allowed(secret: Secret, *command: str) -> bool:
        agent = found.valkey(secret["username"], secret["password"])
        try:
            agent.execute_command(*command)  # type: ignore[no-untyped-call]
        except (NoPermissionError, redis.AuthenticationError):
            return False
        finally:
            agent.close()
        return True

    return _engine(
        name,
        Valkey,
        found,
        stack,
        {"type": "valkey", "locations": ["valkey://cache/orders:"], "actions": ["read"]},
        inside=lambda secret: allowed(secret, "GET", "orders:1"),
        outside=lambda secret: (
            allowed(secret, "SET", "orders:1", "mine")
            or allowed(secret, "GET", "people:1")
            or allowed(secret, "KEYS", "*")
            or allowed(secret, "SCAN", "0")
            or allowed(secret, "RANDOMKEY")
            or allowed(secret, "EVAL", "return 1", "0")
            or allowed(secret, "ACL", "LIST")
            or allowed(secret, "FLUSHALL")
            or allowed(secret, "PUBLISH", "orders:1", "x")
        ),
        alive=lambda credential: sum(credential.upper() in each for each in found.valkey().acl_list()),
    )


def _pki(name: str, found: Engines, folder: Path, stack: ExitStack) -> Case:
    root = found.root

    def allowed(secret: Secret, purpose: str = "client") -> bool:
        """A real TLS server that reads the list of revoked certificates."""
        return _tls(secret, found, folder, purpose)

    def alive(credential: str) -> int:
        serials = root.adapter.list("/v1/pki/certs")["data"]["keys"]
        leases = len(found.api.leases_under(f"pki/issue/{credential}"))
        assert serials
        return leases

    return _engine(
        name,
        Pki,
        found,
        stack,
        {"type": "pki", "locations": ["pki:services/shop.internal"], "actions": ["client"]},
        inside=allowed,
        outside=lambda secret: _names(secret) != ["shop.internal"] or allowed(secret, "server"),
        alive=alive,
    )


def _names(secret: Secret) -> list[str]:
    found = x509.load_pem_x509_certificate(secret["certificate"].encode())
    return found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)


def _tls(secret: Secret, found: Engines, folder: Path, purpose: str) -> bool:
    """Whether the other side takes the certificate: a server that checks clients, or a client that checks servers."""
    made = Path(tempfile.mkdtemp(dir=folder))
    for file, text in (("own.pem", secret["certificate"] + "\n" + secret["private_key"]),):
        (made / file).write_text(text)
    authority = found.root.adapter.get("/v1/pki/ca/pem").text
    revoked = found.root.adapter.get("/v1/pki/crl/pem").text
    (made / "trust.pem").write_text(f"{authority}\n{revoked}\n")
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT if purpose == "client" else ssl.PROTOCOL_TLS_SERVER)
    judge = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if purpose == "client" else ssl.PROTOCOL_TLS_CLIENT)
    own.check_hostname = False if purpose == "client" else own.check_hostname
    own.verify_mode = ssl.CERT_NONE
    own.load_cert_chain(made / "own.pem")
    judge.load_verify_locations(made / "trust.pem")
    judge.verify_mode = ssl.CERT_REQUIRED
    judge.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    if purpose == "client":
        judge.load_cert_chain(found.server_certificate)
    left, right = socket.socketpair()
    with left, right:
        left.settimeout(5)
        right.settimeout(5)
        return _handshake(own, judge, server_is_judge=purpose == "client")


def _handshake(own: ssl.SSLContext, judge: ssl.SSLContext, *, server_is_judge: bool) -> bool:
    """Both sides in memory, a step each in turn; False where the judge refuses."""
    pipes = [ssl.MemoryBIO() for _ in range(2)]
    client, server = (own, judge) if server_is_judge else (judge, own)
    ends = [
        client.wrap_bio(pipes[0], pipes[1], server_hostname="shop.internal"),
        server.wrap_bio(pipes[1], pipes[0], server_side=True),
    ]
    judging = 1 if server_is_judge else 0
    finished = set()
    for _ in range(10):
        for number, end in enumerate(ends):
            try:
                end.do_handshake()
                finished.add(number)
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                return False
    return judging in finished


def _ssh(name: str, found: Engines, folder: Path, stack: ExitStack) -> Case:
    def allowed(secret: Secret, user: str) -> bool:
        made = Path(tempfile.mkdtemp(dir=folder))
        for file, text in (("key", secret["private_key"]), ("key-cert.pub", secret["certificate"])):
            (made / file).write_text(text)
            (made / file).chmod(0o600)
        options = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "IdentitiesOnly=yes"]
        command = ["ssh", "-F", "none", "-i", str(made / "key"), "-p", str(found.ports["sshd"])]
        command += [each for option in options for each in ("-o", option)]
        ended = subprocess.run([*command, f"{user}@127.0.0.1", "true"], capture_output=True, timeout=20)
        return ended.returncode == 0

    return _engine(
        name,
        Ssh,
        found,
        stack,
        {"type": "ssh", "locations": ["ssh:servers/deploy"], "actions": ["log in"]},
        inside=lambda secret: allowed(secret, "root"),
        outside=lambda secret: allowed(secret, "nobody"),
        alive=lambda credential: _tokens(found, credential),
        takes_back=False,
    )


def _kubernetes(name: str, found: Engines, folder: Path, stack: ExitStack) -> Case:
    trust = ssl.create_default_context(cafile=str(found.folder / "ca.pem"))

    def allowed(secret: Secret, path: str, method: str = "GET") -> bool:
        headers = {"Authorization": f"Bearer {secret['token']}"}
        answer = httpx.request(method, secret["server"] + path, headers=headers, verify=trust, trust_env=False)
        assert answer.status_code in (200, 401, 403), answer.text
        return answer.status_code == 200

    return _engine(
        name,
        Kubernetes,
        found,
        stack,
        {"type": "kubernetes", "locations": ["kubernetes:prod/shop/pods"], "actions": ["list"]},
        inside=lambda secret: allowed(secret, "/api/v1/namespaces/shop/pods"),
        outside=lambda secret: (
            allowed(secret, "/api/v1/namespaces/hr/pods")
            or allowed(secret, "/api/v1/namespaces/shop/pods/one")
            or allowed(secret, "/api/v1/namespaces/shop/pods/one", "DELETE")
            or allowed(secret, "/api/v1/namespaces/shop/secrets")
            or allowed(secret, "/apis/apps/v1/namespaces/shop/deployments")
        ),
        alive=lambda credential: len(found.cluster.accounts(credential)),
    )


def _github(name: str, found: Engines, folder: Path, stack: ExitStack) -> Case:
    key = rsa.generate_private_key(65_537, 2_048)
    far = stack.enter_context(github(GitHubFarEnd(key.public_key())))
    (folder / "app.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    proxy = stack.enter_context(faulty.before(far.url))
    api = GitHubApi(App("123", INSTALLATION, str(folder / "app.pem"), proxy.url), TIMEOUT_S)
    stack.callback(api.close)
    return Case(
        name,
        GitHub("github", {"acme": api}),
        proxy,
        [{"type": "github", "locations": ["github:acme/shop"], "actions": ["contents:read"]}],
        inside=lambda secret: secret["token"] in far.alive,
        outside=lambda secret: (
            far.alive.get(secret["token"], {}).get("permissions", {"contents": "read"}) != {"contents": "read"}
        ),
        alive=lambda credential: len(far.alive),
        by_name=False,
    )


def _gitlab(name: str, found: Engines, folder: Path, stack: ExitStack) -> Case:
    far = stack.enter_context(gitlab(GitLabFarEnd()))
    proxy = stack.enter_context(faulty.before(far.url))
    (folder / "worker").write_text(WORKER)
    api = GitLabApi(GitLabServer(proxy.url, str(folder / "worker")), TIMEOUT_S)
    stack.callback(api.close)

    def row(secret: Secret) -> dict[str, Any]:
        [one] = [one for one in far.tokens.values() if one["token"] == secret["token"]]
        return one

    return Case(
        name,
        GitLab("gitlab", {"corp": api}),
        proxy,
        [{"type": "gitlab", "locations": ["gitlab:corp/acme/group/shop"], "actions": ["read_repository"]}],
        inside=lambda secret: far.active(row(secret)),
        outside=lambda secret: (row(secret)["scopes"], row(secret)["project"]) != (["read_repository"], 7),
        alive=lambda credential: sum(far.active(one) for one in far.tokens.values() if one["name"] == credential),
    )


def _oauth(name: str, found: Engines, folder: Path, stack: ExitStack) -> Case:
    far = stack.enter_context(authorization_server())
    proxy = stack.enter_context(faulty.before(far.url))
    (folder / "secret").write_text("client-secret")
    server = Server(
        f"{proxy.url}/token",
        "drawbridge",
        str(folder / "secret"),
        {"contacts.read": "Read all contacts"},
        f"{proxy.url}/revoke",
        f"{proxy.url}/introspect",
    )
    api = OAuthApi(server, TIMEOUT_S)
    stack.callback(api.close)
    return Case(
        name,
        OAuth({"crm": api}),
        proxy,
        [{"type": "oauth2", "locations": ["oauth:crm"], "actions": ["contacts.read"]}],
        inside=lambda secret: secret["token"] in far.alive,
        outside=lambda secret: {form["scope"] for form in far.forms if "scope" in form} != {"contacts.read"},
        alive=lambda credential: len(far.alive),
        by_name=False,
    )


MAKERS: Mapping[str, Callable[[str, Engines, Path, ExitStack], Case]] = {
    "postgresql": postgresql,
    "openbao kv": _kv,
    "openbao transit": _transit,
    "mysql": _mysql,
    "valkey": _valkey,
    "pki": _pki,
    "ssh": _ssh,
    "kubernetes": _kubernetes,
    "github": _github,
    "gitlab": _gitlab,
    "aws": aws,
    "oauth2": _oauth,
}
NAMES = tuple(MAKERS)
