"""How a gateway is set up: by its environment (docs/running-a-gateway.md)."""

import os
import socket
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from gateway import dsse
from gateway.addresses import Address
from gateway.errors import BadPolicy

EVERYWHERE = {"0.0.0.0", "::", ""}  # noqa: S104
# Bytes of a folder so that the path of a socket in it, "/" and 27 more, stays within the kernel's 107.
LONGEST_SOCKETS = 79


class BadSettings(Exception):
    """Something is missing or wrong. The text says which variable, and what it should be."""


@dataclass(frozen=True)
class Settings:
    """`address` is what sandboxes are told; `hosts` a file like /etc/hosts that is looked into before DNS."""

    control_url: str
    token: str
    keys: dsse.Keys
    listen: tuple[str, int]
    address: str
    spool: Path
    sockets: Path | None = None
    hosts: Path | None = None
    ca_file: Path | None = None

    @classmethod
    def read(cls, env: Mapping[str, str] = os.environ) -> "Settings":
        """Raises BadSettings."""
        listen = _listen(_needed(env, "GATEWAY_LISTEN"))
        try:
            keys = dsse.keys_of(_needed(env, "GATEWAY_POLICY_KEYS"))
            token = Path(_needed(env, "GATEWAY_TOKEN_FILE")).read_text().strip()
        except BadPolicy as error:
            raise BadSettings(f"GATEWAY_POLICY_KEYS: {error}") from error
        except OSError as error:
            raise BadSettings(f"GATEWAY_TOKEN_FILE cannot be read: {error.strerror}.") from error
        return cls(
            control_url=_needed(env, "GATEWAY_CONTROL_URL").rstrip("/"),
            token=token,
            keys=keys,
            listen=listen,
            address=env.get("GATEWAY_ADDRESS", f"{listen[0]}:{listen[1]}"),
            spool=Path(_needed(env, "GATEWAY_SPOOL")),
            sockets=_sockets(env),
            hosts=_path(env, "GATEWAY_HOSTS"),
            ca_file=_path(env, "GATEWAY_CA_FILE"),
        )


def own_addresses(host: str, port: int) -> Collection[tuple[Address, int]]:
    """Where this gateway can be reached: nobody may be sent there through it."""
    if host not in EVERYWHERE:
        return {(ip_address(host), port)}
    found = {entry[4][0] for entry in socket.getaddrinfo(socket.gethostname(), None)}
    return {(ip_address(one), port) for one in found | {"127.0.0.1", "::1"} if isinstance(one, str)}


def _needed(env: Mapping[str, str], name: str) -> str:
    value = env.get(name, "")
    if not value:
        raise BadSettings(f"{name} is not set. A gateway cannot run without it.")
    return value


def _path(env: Mapping[str, str], name: str) -> Path | None:
    return Path(env[name]) if env.get(name) else None


def has_room(folder: Path) -> bool:
    """True if a unix socket in the folder keeps the kernel's limit for its path."""
    return len(os.fsencode(folder.absolute())) <= LONGEST_SOCKETS


def _sockets(env: Mapping[str, str]) -> Path | None:
    folder = _path(env, "GATEWAY_SOCKETS")
    if folder is not None and not has_room(folder):
        raise BadSettings(
            f"GATEWAY_SOCKETS is {folder}, which is too long for unix sockets in it: "
            f"name a folder of at most {LONGEST_SOCKETS} bytes, such as /run/drawbridge."
        )
    return folder


def _listen(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    try:
        return str(ip_address(host.strip("[]"))), int(port)
    except ValueError as error:
        raise BadSettings(f"GATEWAY_LISTEN is {text!r}, and should be ADDRESS:PORT, such as 0.0.0.0:18080.") from error
