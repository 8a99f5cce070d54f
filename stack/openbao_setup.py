"""OpenBao's mounts, policies and roles, brought to what this version wants. Every step may be repeated."""

from importlib.resources import files
from typing import Any

import hvac

from stack.databases import ADMIN, WAREHOUSE
from stack.openbao import OpenBao
from stack.postgres import Postgres, password_name

SETUP_POLICY = "drawbridge-setup"
CONTROL_POLICY = "drawbridge-control"
SECRETS = "agent-secrets"
SCRAM = "scram-sha-256"
COMMON = {"token_no_default_policy": True, "token_type": "service", "bind_secret_id": True}
SETUP_TOKENS = {**COMMON, "token_ttl": "5m", "token_max_ttl": "5m"}
# The control plane's own tokens live for as long as something renews them within the hour.
CONTROL_TOKENS = {**COMMON, "token_period": "1h"}
SESSION_TOKENS = {
    "orphan": True,
    "renewable": False,
    "allowed_policies_glob": ["drawbridge-session-*"],
    "token_explicit_max_ttl": "1h",
    "token_no_default_policy": True,
    "token_type": "service",
}


def provision_openbao(openbao: OpenBao, postgres: Postgres) -> None:
    """Use the root token once and revoke it; do everything else, now and later, with the set-up role's rights."""
    recovery = openbao.recovery()
    if recovery["root_token"] is not None:
        root = openbao.client(recovery["root_token"])
        make_mounts(root)
        recovery["setup"] = make_setup_role(root)
        openbao.data.write_json("openbao/recovery.json", recovery)
        root.auth.token.revoke_self()
        openbao.data.write_json("openbao/recovery.json", {**recovery, "root_token": None})
    client = openbao.client()
    client.auth.approle.login(**recovery["setup"])
    apply_settings(client, postgres)
    keep_control_role(openbao, client)
    client.auth.token.revoke_self()


def make_mounts(root: hvac.Client) -> None:
    """Mount what is not mounted yet."""
    if "database/" not in root.read("sys/mounts")["data"]:
        write(root, "sys/mounts/database", type="database")
    if f"{SECRETS}/" not in root.read("sys/mounts")["data"]:
        write(root, f"sys/mounts/{SECRETS}", type="kv", options={"version": "2"})
    if "approle/" not in root.read("sys/auth")["data"]:
        write(root, "sys/auth/approle", type="approle")


def make_setup_role(root: hvac.Client) -> dict[str, str]:
    """The role under which later starts work, as arguments of an AppRole login."""
    write_policy(root, SETUP_POLICY)
    role = f"auth/approle/role/{SETUP_POLICY}"
    write(root, role, token_policies=[SETUP_POLICY], **SETUP_TOKENS)
    return login_of(root, role)


def apply_settings(client: hvac.Client, postgres: Postgres) -> None:
    """Policies, the token role of sessions, and the connection to the warehouse."""
    write_policy(client, CONTROL_POLICY)
    write(client, "auth/token/roles/drawbridge-session", **SESSION_TOKENS)
    write(client, "sys/mounts/database/tune", default_lease_ttl="15m", max_lease_ttl="1h")
    write(
        client,
        "database/config/warehouse",
        plugin_name="postgresql-database-plugin",
        allowed_roles=["dbr_*"],
        connection_url=f"postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{postgres.port}/{WAREHOUSE}",
        username=ADMIN,
        password=postgres.data.secret_text(password_name(ADMIN)),
        # A PostgreSQL role is named after its OpenBao role, so a second mint of the same intent fails.
        username_template="{{.RoleName}}",
        password_authentication=SCRAM,
        max_open_connections=16,
        max_idle_connections=8,
    )


def put_secret(openbao: OpenBao, name: str, value: str) -> None:
    """Keep a team's long-lived secret, or the next version of it: what a profile calls kv:NAME."""
    client = openbao.client()
    client.auth.approle.login(**openbao.recovery()["setup"])
    write(client, f"{SECRETS}/data/{name}", data={"value": value})
    client.auth.token.revoke_self()


def keep_control_role(openbao: OpenBao, client: hvac.Client) -> None:
    """The control plane's AppRole; its two halves are kept as files, made on first start only."""
    role = "auth/approle/role/drawbridge"
    write(client, role, token_policies=[CONTROL_POLICY], **CONTROL_TOKENS)
    if not openbao.data.path("secrets", "openbao-secret-id").exists():
        login = login_of(client, role)
        openbao.data.write("secrets/openbao-role-id", login["role_id"])
        openbao.data.write("secrets/openbao-secret-id", login["secret_id"])


def login_of(client: hvac.Client, role: str) -> dict[str, str]:
    """The role id and a new secret id that does not expire."""
    role_id = client.read(f"{role}/role-id")["data"]["role_id"]
    return {"role_id": role_id, "secret_id": write(client, f"{role}/secret-id")["data"]["secret_id"]}


def write_policy(client: hvac.Client, name: str) -> None:
    """Write one of our policy files."""
    write(client, f"sys/policies/acl/{name}", policy=files("stack").joinpath("policies", f"{name}.hcl").read_text())


def write(client: hvac.Client, path: str, **fields: object) -> Any:
    """POST fields to a path. hvac's own methods lack some of the fields that we need."""
    return client.adapter.post(f"/v1/{path}", json=fields)
