"""Handing credentials to a command through what its tools already read: a libpq service file and password file.

They live in memory where there is /dev/shm, in a folder that only this user can enter, and are replaced in one step.
"""

import os
import shutil
import tempfile
import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from runner.errors import RunnerError
from runner.settings import write_private
from runner.shapes import Credential

LOCAL = "127.0.0.1"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108
# They would win over the files.
OVERRIDING = frozenset({"PGPASSWORD", "PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGSERVICE"})
TOLD = frozenset({"DRAWBRIDGE_URL"})


class Handover:
    """The folder with the files. Leaving it removes them.

    `seen_at` is where the command sees the folder, `routes` by which local port it reaches a host and port: in a
    sandbox they are others than here.
    """

    def __init__(self) -> None:
        self.seen_at: Path | None = None
        self.routes: Mapping[tuple[str, int], int] = {}
        self._newest: dict[str, Credential] = {}
        self._before: dict[str, Credential] = {}
        self._lock = threading.Lock()
        self._left = False

    def __enter__(self) -> "Handover":
        memory = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK | os.X_OK) else None
        self.folder = Path(tempfile.mkdtemp(prefix="drawbridge-", dir=memory))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._left = True
            shutil.rmtree(self.folder, ignore_errors=True)

    def take(self, credentials: Iterable[Credential]) -> None:
        """Put new credentials in place of those before them, which stay usable while they live."""
        with self._lock:
            if not self._left:
                for credential in credentials:
                    self._keep(credential)
                self._write()

    def _keep(self, credential: Credential) -> None:
        if credential.type != "postgresql":
            raise RunnerError(f"This runner cannot hand over credentials of the type {credential.type!r}: update it.")
        if credential.slot in self._newest:
            self._before[credential.slot] = self._newest[credential.slot]
        self._newest[credential.slot] = credential

    def _write(self) -> None:
        passwords = [_password_line(self._routed(one)) for one in (*self._newest.values(), *self._before.values())]
        # The passwords first: a service must never name a user whose password is not there yet.
        write_private(self._password_file, "".join(passwords))
        write_private(self._service_file, "".join(_service(self._routed(one)) for one in self._newest.values()))

    def _routed(self, credential: Credential) -> Credential:
        secret = credential.secret
        port = self.routes.get((str(secret["host"]), int(secret["port"])))
        return credential if port is None else replace(credential, secret={**secret, "host": LOCAL, "port": port})

    def environment(self, base: Mapping[str, str], session_id: str) -> dict[str, str]:
        """The command's environment: the way to the files, and nothing with which it could act as the runner."""
        kept = {
            name: value
            for name, value in base.items()
            if name not in OVERRIDING and (name in TOLD or not name.startswith("DRAWBRIDGE_"))
        }
        return {**kept, **self.variables(), "DRAWBRIDGE_SESSION_ID": session_id}

    def variables(self) -> dict[str, str]:
        """Where the credentials are, for the tools that use them."""
        if not self._newest:
            return {}
        folder = self.seen_at or self.folder
        return {
            "PGSERVICEFILE": str(folder / self._service_file.name),
            "PGPASSFILE": str(folder / self._password_file.name),
            "PGSERVICE": service_name(next(iter(self._newest.values()))),
        }

    @property
    def _service_file(self) -> Path:
        return self.folder / "pg_service.conf"

    @property
    def _password_file(self) -> Path:
        return self.folder / "pgpass"


def service_name(credential: Credential) -> str:
    """The last part of the slot: `postgresql:warehouse` is the service `warehouse`."""
    return credential.slot.rpartition(":")[2]


def _service(credential: Credential) -> str:
    secret = credential.secret
    fields = {"host": "host", "port": "port", "dbname": "dbname", "user": "username"}
    lines = [f"{name}={_one_line(secret[source])}" for name, source in fields.items()]
    return "\n".join([f"[{_one_line(service_name(credential))}]", *lines, "", ""])


def _password_line(credential: Credential) -> str:
    names = ("host", "port", "dbname", "username", "password")
    parts = [_one_line(credential.secret[name]).replace("\\", "\\\\").replace(":", "\\:") for name in names]
    return ":".join(parts) + "\n"


def _one_line(value: object) -> str:
    text = str(value)
    if not text.isprintable():
        raise RunnerError("The server sent a credential that does not fit into a service file.")
    return text
