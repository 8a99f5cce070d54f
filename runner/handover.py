"""Handing credentials to a command through what its tools already read: a libpq service file and password file, a file
of AWS's configuration whose `credential_process` prints the newest keys, a helper for git that prints the newest token.
All else is files in the folder that DRAWBRIDGE_CREDENTIALS names: one for each field, and one of JSON.

They live in memory where there is /dev/shm, in a folder that only this user can enter, and are replaced in one step.
"""

import json
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
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
OVERRIDING_AWS = frozenset(
    {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_PROFILE"}
    | {"AWS_SHARED_CREDENTIALS_FILE", "AWS_REGION", "AWS_DEFAULT_REGION"}
)
POSTGRESQL, AWS, GITHUB, GITLAB = "postgresql", "aws", "github", "gitlab"
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
        if credential.slot in self._newest:
            self._before[credential.slot] = self._newest[credential.slot]
        self._newest[credential.slot] = credential

    def _write(self) -> None:
        self._write_postgresql()
        for one in self._of(GITHUB):
            write_private(self.folder / _token_file(one), _one_line(one.secret["token"]) + "\n")
        for one in self._others():
            self._write_fields(one)
        roles = self._of(AWS)
        for one in roles:
            write_private(self.folder / _keys_file(one), _process_answer(one))
        if roles:
            profiles = [self._profile(number, one) for number, one in enumerate(roles)]
            write_private(self._aws_file, "".join(profiles))

    def _write_fields(self, credential: Credential) -> None:
        """What no tool reads by itself: each field is a file, and all together are one of JSON, written last."""
        name = file_safe(credential.slot)
        for field, value in credential.secret.items():
            if field != "type":
                write_private(self.folder / f"{name}.{file_safe(field)}", f"{value}\n")
        whole = {**credential.secret, "expires_at": credential.expires_at.isoformat()}
        write_private(self.folder / f"{name}.json", json.dumps(whole))

    def _others(self) -> list[Credential]:
        return [one for one in self._newest.values() if one.type not in (POSTGRESQL, AWS, GITHUB)]

    def _of(self, *kinds: str) -> list[Credential]:
        return [one for one in self._newest.values() if one.type in kinds]

    def _write_postgresql(self) -> None:
        newest = self._of(POSTGRESQL)
        older = [one for one in self._before.values() if one.type == POSTGRESQL]
        # The passwords first: a service must never name a user whose password is not there yet.
        write_private(self._password_file, "".join(_password_line(self._routed(one)) for one in (*newest, *older)))
        write_private(self._service_file, "".join(_service(self._routed(one)) for one in newest))

    def _profile(self, number: int, credential: Credential) -> str:
        """The first one is the default. SDKs run the process again before its answer expires."""
        name = service_name(credential)
        keys = (self.seen_at or self.folder) / _keys_file(credential)
        lines = [f"region = {_one_line(credential.secret['region'])}", f"credential_process = /bin/cat {keys}", "", ""]
        heads = [f"[profile {_one_line(name)}]", *(["[default]"] if number == 0 else [])]
        return "".join("\n".join([head, *lines]) for head in heads)

    def _routed(self, credential: Credential) -> Credential:
        secret = credential.secret
        port = self.routes.get((str(secret["host"]), int(secret["port"])))
        return credential if port is None else replace(credential, secret={**secret, "host": LOCAL, "port": port})

    def environment(self, base: Mapping[str, str], session_id: str) -> dict[str, str]:
        """The command's environment: the way to the files, and nothing with which it could act as the runner."""
        kept = {
            name: value
            for name, value in base.items()
            if name not in self._overriding and (name in TOLD or not name.startswith("DRAWBRIDGE_"))
        }
        return {**kept, **self.variables(), "DRAWBRIDGE_SESSION_ID": session_id}

    @property
    def _overriding(self) -> frozenset[str]:
        return OVERRIDING | OVERRIDING_AWS if self._of(AWS) else OVERRIDING

    def variables(self) -> dict[str, str]:
        """Where the credentials are, for the tools that use them."""
        folder = self.seen_at or self.folder
        found: dict[str, str] = {}
        if self._others():
            found["DRAWBRIDGE_CREDENTIALS"] = str(folder)
        if databases := self._of(POSTGRESQL):
            found["PGSERVICEFILE"] = str(folder / self._service_file.name)
            found["PGPASSFILE"] = str(folder / self._password_file.name)
            found["PGSERVICE"] = service_name(databases[0])
        if self._of(AWS):
            found["AWS_CONFIG_FILE"] = str(folder / self._aws_file.name)
        return found | _git_configuration([(one, folder / _token_file(one)) for one in self._of(GITHUB, GITLAB)])

    @property
    def _service_file(self) -> Path:
        return self.folder / "pg_service.conf"

    @property
    def _aws_file(self) -> Path:
        return self.folder / "aws_config"

    @property
    def _password_file(self) -> Path:
        return self.folder / "pgpass"


def service_name(credential: Credential) -> str:
    """The last part of the slot: `postgresql:warehouse` is the service `warehouse`."""
    return credential.slot.rpartition(":")[2]


def file_safe(text: str) -> str:
    """`pki:services/shop.internal` is the files `pki_services_shop.internal.*`."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", text)


def _token_file(credential: Credential) -> str:
    return f"{file_safe(credential.slot)}.token"


def _git_configuration(tokens: Sequence[tuple[Credential, Path]]) -> dict[str, str]:
    """gitcredentials(7): a helper for each place, out of the environment (git-config(1), GIT_CONFIG_COUNT)."""
    if not tokens:
        return {}
    entries = {}
    for credential, path in tokens:
        username, host, places = _git_places(credential)
        entries[f"credential.https://{host}.useHttpPath"] = "true"
        helper = f'!f() {{ test "$1" = get && echo username={username} && echo "password=$(cat {path})"; }}; f'
        entries |= {f"credential.https://{host}/{place}.helper": helper for place in places}
    numbered = enumerate(entries.items())
    names = {
        f"GIT_CONFIG_{what}_{at}": entry[place] for at, entry in numbered for place, what in enumerate(("KEY", "VALUE"))
    }
    return {"GIT_CONFIG_COUNT": str(len(entries)), "GIT_TERMINAL_PROMPT": "0", **names}


def _git_places(credential: Credential) -> tuple[str, str, list[str]]:
    """The username, the host, and the paths that the token is for, which git compares by whole parts."""
    if credential.type == GITHUB:
        return "x-access-token", "github.com", [_word(service_name(credential))]
    host, project, username = (_word(credential.secret[name]) for name in ("host", "project", "username"))
    return username, host, [project, f"{project}.git"]


def _keys_file(credential: Credential) -> str:
    return f"aws_{service_name(credential)}.json"


def _process_answer(credential: Credential) -> str:
    """What AWS's SDKs read from a `credential_process`."""
    secret = credential.secret
    keys = {
        "Version": 1,
        "AccessKeyId": secret["access_key_id"],
        "SecretAccessKey": secret["secret_access_key"],
        "SessionToken": secret["session_token"],
        "Expiration": credential.expires_at.isoformat(),
    }
    return json.dumps(keys)


def _service(credential: Credential) -> str:
    secret = credential.secret
    fields = {"host": "host", "port": "port", "dbname": "dbname", "user": "username"}
    lines = [f"{name}={_one_line(secret[source])}" for name, source in fields.items()]
    return "\n".join([f"[{_one_line(service_name(credential))}]", *lines, "", ""])


def _password_line(credential: Credential) -> str:
    names = ("host", "port", "dbname", "username", "password")
    parts = [_one_line(credential.secret[name]).replace("\\", "\\\\").replace(":", "\\:") for name in names]
    return ":".join(parts) + "\n"


def _word(value: object) -> str:
    """For a place where a shell or git would read other characters as something else."""
    text = str(value)
    if not re.fullmatch(r"[A-Za-z0-9._:/-]+", text):
        raise RunnerError("The server sent a credential for a place that git cannot be told of.")
    return text


def _one_line(value: object) -> str:
    text = str(value)
    if not text.isprintable():
        raise RunnerError("The server sent a credential that does not fit into a service file.")
    return text
