"""Where the runner keeps what it must remember: the agent's key, and the tokens of its sessions. All of it is 0600."""

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from runner.errors import NotSignedIn, Usage


@dataclass(frozen=True)
class Account:
    """Which control plane, and the agent's key there."""

    url: str
    key: str = field(repr=False)


@dataclass(frozen=True)
class Stored:
    """A session that was asked for here: with the device code while it waits, with the token once it has begun."""

    session_id: str
    url: str
    profile: str
    purpose: str
    device_code: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    interval_s: int = 5


def config_file() -> Path:
    return _home("XDG_CONFIG_HOME", ".config") / "config.json"


def state_folder() -> Path:
    return _home("XDG_STATE_HOME", ".local/state") / "sessions"


def account() -> Account:
    """From the environment, else from the file that `drawbridge login` wrote. Raises NotSignedIn."""
    saved = _read(config_file()) or {}
    url = os.environ.get("DRAWBRIDGE_URL") or saved.get("url")
    key = key_of_environment() or saved.get("agent_key")
    if not url or not key:
        raise NotSignedIn("There is no agent key here. Run drawbridge login first.")
    return Account(str(url), str(key))


def key_of_environment() -> str | None:
    """DRAWBRIDGE_AGENT_KEY, or the content of the file that DRAWBRIDGE_AGENT_KEY_FILE names."""
    path = os.environ.get("DRAWBRIDGE_AGENT_KEY_FILE")
    return os.environ.get("DRAWBRIDGE_AGENT_KEY") or (key_in(Path(path)) if path else None)


def key_in(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, ValueError) as error:
        raise Usage(f"The key file {path} cannot be read: {error}.") from error


def save_account(one: Account) -> Path:
    write_private(config_file(), json.dumps({"url": one.url, "agent_key": one.key}, indent=2))
    return config_file()


def save(stored: Stored) -> None:
    """Keep a session, and make it the one that commands without --session mean."""
    write_private(_file_of(stored.session_id), json.dumps(asdict(stored)))
    write_private(state_folder() / "current", stored.session_id)


def load(session_id: str | None) -> Stored:
    """A session that was asked for here; without an id, the last one. Raises Usage."""
    if session_id is None:
        try:
            session_id = (state_folder() / "current").read_text()
        except OSError as error:
            raise Usage("No session was asked for here. Run drawbridge request first, or name --session.") from error
    raw = _read(_file_of(session_id))
    if raw is None:
        raise Usage(f"The session {session_id} was not asked for here.")
    return Stored(**raw)


def spool_file(session_id: str) -> Path:
    return _file_of(session_id).with_suffix(".events")


@contextmanager
def alone(stored: Stored) -> Iterator[None]:
    """One command at a time works in a session: a second one would take the first one's credentials."""
    lock = _file_of(stored.session_id).with_suffix(".lock")
    with open(os.open(lock, os.O_RDWR | os.O_CREAT, 0o600), "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Usage("Another drawbridge exec works in this session. Wait for it, or ask for a new one.") from error
        yield


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step; only its owner can read it, from the first byte."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _file_of(session_id: str) -> Path:
    try:
        return state_folder() / f"{UUID(session_id)}.json"
    except ValueError as error:
        raise Usage(f"{session_id!r} is not the id of a session.") from error


def _home(variable: str, default: str) -> Path:
    return Path(os.environ.get(variable) or Path.home() / default) / "drawbridge"


def _read(path: Path) -> Mapping[str, Any] | None:
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise Usage(f"{path} cannot be read: {error}. Remove it, and run drawbridge login again.") from error
    return found if isinstance(found, dict) else None
