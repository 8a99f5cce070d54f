"""One PostgreSQL that grants can reach: logging in there as an agent would, and cutting agents off without OpenBao."""

import os
import re
import socket
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import psycopg

from sessions.providers.contract import CredentialError

CONNECT_TIMEOUT_S = 3
ANSWER_TIMEOUT_S = 5.0
Connection = psycopg.Connection[tuple[Any, ...]]

# libpq does not hand on the SQLSTATE of a refused log-in, so it is told by the server's words (lc_messages English).
# Anything else (no free connection, a server that starts, a network that fails) says nothing about the credential.
REFUSALS = (
    (re.compile(r'FATAL:  password authentication failed for user "'), "28P01"),
    (re.compile(r'FATAL:  role "\w+" is not permitted to log in'), "28000"),
    (re.compile(r'FATAL:  role "\w+" does not exist'), "28000"),
)


@dataclass(frozen=True)
class Target:
    """A database as settings.TARGETS describes it, with OpenBao's mount and connection for it."""

    name: str
    host: str
    port: int
    dbname: str
    mount: str
    connection: str
    cutter_user: str
    cutter_password_file: str

    def connect(self, user: str, password: str) -> Connection:
        return psycopg.connect(
            host=self.host,
            port=self.port,
            dbname=self.dbname,
            user=user,
            password=password,
            autocommit=True,
            connect_timeout=CONNECT_TIMEOUT_S,
            application_name="drawbridge",
            tcp_user_timeout=CONNECT_TIMEOUT_S * 1000,
        )


@dataclass(frozen=True)
class Refused:
    """PostgreSQL's answer to a log-in that it did not allow."""

    sqlstate: str
    message: str


def log_in(target: Target, user: str, password: str) -> Connection | Refused:
    """Try a credential. CredentialError where the answer, or its absence, says nothing about the credential."""
    try:
        return target.connect(user, password)
    except psycopg.OperationalError as error:
        message = first_line(error)
        for pattern, sqlstate in REFUSALS:
            if found := pattern.search(message):
                return Refused(sqlstate, message[found.start() :])
        raise CredentialError(f"The database {target.name} did not judge the log-in: {message}") from None


class Kept:
    """A connection that is closed when nobody holds this any more, at the latest when its thread has gone."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.close = weakref.finalize(self, connection.close)

    def ask(self, query: LiteralString, values: Sequence[str] = ()) -> list[tuple[Any, ...]]:
        with hung_up_after(ANSWER_TIMEOUT_S, self.connection):
            return self.connection.execute(query, values).fetchall()


@contextmanager
def hung_up_after(seconds: float, connection: Connection) -> Iterator[None]:
    """libpq waits for ever on a server that keeps the line and says nothing; a shut socket makes it raise."""
    with socket.socket(fileno=os.dup(connection.fileno())) as line:
        timer = threading.Timer(seconds, hang_up, [line])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


def hang_up(line: socket.socket) -> None:
    with suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)


class Witness:
    """A session opened with the credential just before the cut, to see whether an open session outlives it."""

    def __init__(self, target: Target, user: str, password: str) -> None:
        self._session: Kept | None = None
        self.absence = ""
        try:
            opened = log_in(target, user, password)
        except CredentialError as error:
            self.absence = f"none could be opened: {error}"
            return
        if isinstance(opened, Refused):
            self.absence = f"none could be opened: {opened.message}"
        else:
            self._session = Kept(opened)

    def death(self) -> str | None:
        """How the session ended; None while it answers. Without a session, raises CredentialError."""
        if self._session is None:
            raise CredentialError(f"There is no witness: {self.absence or 'it was closed'}")
        try:
            self._session.ask("SELECT 1")
        except psycopg.OperationalError as error:
            return f"{error.sqlstate or 'connection closed'}: {first_line(error)}"
        return None

    @property
    def is_open(self) -> bool:
        return self._session is not None

    def close(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None


class Cutter:
    """The role that may end the roles OpenBao made in one database. One connection per thread, kept open.

    Every method asks PostgreSQL alone, and raises CredentialError where that does not answer.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self._local = threading.local()

    def cut(self, name: str) -> tuple[bool, int]:
        """Forbid log-in and tell the open sessions to end: whether the role existed, how many were told."""
        existed, ended = self._row("SELECT role_existed, sessions_ended FROM drawbridge.cut(%s)", [name])
        return existed, ended

    def may_log_in(self, name: str) -> bool | None:
        """What the catalog says of the role; None where there is no such role."""
        row = self._rows("SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", [name])
        return row[0][0] if row else None

    def roles(self) -> set[str]:
        """All roles that were made for credentials."""
        return {name for (name,) in self._rows("SELECT rolname FROM pg_roles WHERE rolname ~ '^dbr_[0-9a-f]{32}$'", [])}

    def sessions(self, name: str) -> int:
        """How many sessions of the role are open."""
        (count,) = self._row("SELECT count(*) FROM pg_stat_activity WHERE usename = %s", [name])
        return int(count)

    def _row(self, query: LiteralString, values: Sequence[str]) -> tuple[Any, ...]:
        return self._rows(query, values)[0]

    def _rows(self, query: LiteralString, values: Sequence[str]) -> list[tuple[Any, ...]]:
        """A kept connection may have died unseen (PostgreSQL restarted): then ask once more on a new one."""
        try:
            kept: Kept | None = getattr(self._local, "kept", None)
            if kept is not None:
                try:
                    return kept.ask(query, values)
                except psycopg.OperationalError:
                    del self._local.kept
            self._local.kept = kept = Kept(self._connect())
            return kept.ask(query, values)
        except psycopg.OperationalError as error:
            raise CredentialError(f"The database {self.target.name} does not answer: {first_line(error)}") from None
        except psycopg.Error as error:
            said = f"The database {self.target.name} refuses its cutter: {first_line(error)} ({error.sqlstate})"
            raise CredentialError(said) from None

    def _connect(self) -> Connection:
        try:
            password = Path(self.target.cutter_password_file).read_text(encoding="utf-8").strip()
        except OSError as error:
            said = f"The password file of the cutter of {self.target.name} cannot be read: {error.strerror}."
            raise CredentialError(said) from None
        return self.target.connect(self.target.cutter_user, password)


def targets_of(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Target]:
    """The PostgreSQL targets of settings.TARGETS."""
    return {
        name: Target(name=name, **{key: value for key, value in fields.items() if key != "kind"})
        for name, fields in settings.items()
        if fields["kind"] == "postgresql"
    }


def first_line(error: psycopg.Error) -> str:
    """libpq's words without the hints below them; they name the server and the role, never the password."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
