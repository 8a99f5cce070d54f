"""The environment that every Django process of a local stack gets."""

import base64
import json
import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.settings import has_room
from stack.data_dir import DataDir
from stack.databases import APP, CONTROL, CUTTER, INTEGRATOR, OWNER, WAREHOUSE
from stack.errors import StackError
from stack.log_keys import log_environment
from stack.postgres import Postgres, password_name
from stack.valkey import Valkey


def environment(data_dir: Path) -> dict[str, str]:
    """What the processes of a provisioned data folder need to know. Secrets go as files where a file is possible."""
    data = DataDir(data_dir)
    ports = data.read_json("ports.json")
    if ports is None:
        raise StackError(f"There is no stack in {data.root} yet. Start it once with script/server.")
    postgres = Postgres(data, ports["postgres"])
    policy_keys = data.secret("policy-keys.json", first_policy_keys)
    no_proxy = ",".join(filter(None, (os.environ.get("NO_PROXY"), "127.0.0.1", "localhost")))
    return {
        "NO_PROXY": no_proxy,
        "no_proxy": no_proxy,
        "LOCAL_MODE": "1",
        "ALLOWED_HOSTS": "127.0.0.1,localhost",
        "PORT": str(ports["web"]),
        "DRAWBRIDGE_URL": f"http://127.0.0.1:{ports['web']}",
        "DATABASE_URL": postgres.url(CONTROL, APP),
        "DATABASE_OWNER_URL": postgres.url(CONTROL, OWNER),
        "DATABASE_INTEGRATOR_URL": postgres.url(CONTROL, INTEGRATOR),
        "VALKEY_URL": Valkey(data, ports["valkey"]).url(),
        "OPENBAO_ADDR": f"http://127.0.0.1:{ports['openbao']}",
        "OPENBAO_ROLE_ID_FILE": str(data.path("secrets", "openbao-role-id")),
        "OPENBAO_SECRET_ID_FILE": str(data.path("secrets", "openbao-secret-id")),
        "SECRET_KEY_FILE": str(data.secret("secret-key", lambda: secrets.token_urlsafe(64))),
        "ENVELOPE_KEYS_FILE": str(data.secret("envelope-keys.json", first_envelope_keys)),
        "TARGETS_FILE": str(write_targets(data, ports["postgres"])),
        "POLICY_KEYS_FILE": str(policy_keys),
        "GATEWAY_POLICY_KEYS": ",".join(verifiers_of(policy_keys)),
        "GATEWAY_TOKEN_FILE": str(data.path("secrets", "gateway-token")),
        "GATEWAY_CONTROL_URL": f"http://127.0.0.1:{ports['web']}",
        "GATEWAY_LISTEN": f"127.0.0.1:{ports['gateway']}",
        "GATEWAY_SPOOL": str(data.path("gateway-spool")),
        **sockets(data.path("gateway-sockets")),
        "PEOPLE_FILE": str(data.path("people.json")),
        **log_environment(data, ports["witness"]),
    }


def sockets(folder: Path) -> dict[str, str]:
    """None in a folder that is too deep for unix sockets; sandboxes of our own do not need them."""
    return {"GATEWAY_SOCKETS": str(folder)} if has_room(folder) else {}


def first_envelope_keys() -> str:
    """A list of one key; later keys are appended, oldest to newest."""
    return json.dumps([{"id": "k1", "key": base64.b64encode(secrets.token_bytes(32)).decode()}])


def first_policy_keys() -> str:
    """A list of one key, which signs what gateways may pass on; later keys are appended, oldest to newest."""
    seed = Ed25519PrivateKey.generate().private_bytes_raw()
    return json.dumps([{"key": base64.b64encode(seed).decode()}])


def verifiers_of(policy_keys: Path) -> list[str]:
    """The public halves, each 32 bytes in base64: what gateways believe."""
    seeds = [base64.b64decode(entry["key"]) for entry in json.loads(policy_keys.read_text())]
    publics = [Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw() for seed in seeds]
    return [base64.b64encode(public).decode() for public in publics]


def write_targets(data: DataDir, port: int) -> Path:
    """The systems that agents can be given access to, keyed by the name that grants use."""
    warehouse = {
        "kind": "postgresql",
        "host": "127.0.0.1",
        "port": port,
        "dbname": WAREHOUSE,
        "mount": "database",
        "connection": "warehouse",
        "cutter_user": CUTTER,
        "cutter_password_file": str(data.secret(password_name(CUTTER))),
    }
    return data.write_json("targets.json", {"warehouse": warehouse})
