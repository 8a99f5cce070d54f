"""Locks between processes, by name, in PostgreSQL: gone with the connection of whoever held one."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import OperationalError, connection

from sessions.providers.contract import CredentialError


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Without a transaction: what is done under it may take seconds. Raises CredentialError where it is taken."""
    with connection.cursor() as cursor:
        try:
            cursor.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [name])
        except OperationalError as error:
            raise CredentialError(f"Another worker is at {name} now.") from error
        try:
            yield
        finally:
            cursor.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [name])
