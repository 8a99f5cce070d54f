import base64
import socket
from pathlib import Path

import pytest

from gateway.settings import LONGEST_SOCKETS, BadSettings, Settings


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    token = tmp_path / "token"
    token.write_text("t" * 40)
    return {
        "GATEWAY_POLICY_KEYS": base64.b64encode(b"k" * 32).decode(),
        "GATEWAY_TOKEN_FILE": str(token),
        "GATEWAY_CONTROL_URL": "http://127.0.0.1:1/",
        "GATEWAY_LISTEN": "127.0.0.1:2",
        "GATEWAY_SPOOL": str(tmp_path),
    }


@pytest.mark.parametrize("name", ["GATEWAY_POLICY_KEYS", "GATEWAY_TOKEN_FILE", "GATEWAY_CONTROL_URL", "GATEWAY_SPOOL"])
def test_what_is_missing_is_named(env: dict[str, str], name: str) -> None:
    del env[name]
    with pytest.raises(BadSettings, match=f"{name} is not set"):
        Settings.read(env)


def test_a_folder_too_deep_for_sockets_is_refused_at_the_start(env: dict[str, str]) -> None:
    env["GATEWAY_SOCKETS"] = "/" + "x" * LONGEST_SOCKETS
    with pytest.raises(BadSettings, match="too long for unix sockets in it: name a folder of at most 79 bytes"):
        Settings.read(env)


def test_the_deepest_folder_holds_a_socket(env: dict[str, str], tmp_path: Path) -> None:
    deepest = "/tmp/" + "x" * (LONGEST_SOCKETS - len("/tmp/"))
    env["GATEWAY_SOCKETS"] = deepest
    assert Settings.read(env).sockets == Path(deepest)
    with socket.socket(socket.AF_UNIX) as one, pytest.raises(OSError, match="No such file"):
        one.connect(f"{deepest}/{'x' * 22}.sock")
