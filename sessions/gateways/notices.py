"""Telling gateways at once what is over or has changed, through PostgreSQL's NOTIFY.

A notice may be lost and is never waited for: streams look by themselves each second, and leases are renewed each three.
It leaves after the commit, because one inside could make the commit fail, and with it a kill.
"""

import json
import uuid
from collections.abc import Iterable
from functools import partial

import structlog
from django.db import DatabaseError, connection, transaction

logger = structlog.get_logger()

CHANNEL = "drawbridge_gateways"
OVER, CHANGED = "over", "changed"
# A notice may have 8,000 bytes, and an id takes 40.
IN_ONE = 150


def after_commit(*, over: Iterable[uuid.UUID] = (), changed: Iterable[uuid.UUID] = ()) -> None:
    """Tell all gateways when the current transaction commits."""
    said = [*_parts(OVER, over), *_parts(CHANGED, changed)]
    transaction.on_commit(partial(_tell, said))


def _parts(what: str, ids: Iterable[uuid.UUID]) -> Iterable[str]:
    named = [str(one) for one in ids]
    for start in range(0, len(named), IN_ONE):
        yield json.dumps({what: named[start : start + IN_ONE]})


def _tell(said: list[str]) -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, part) FROM unnest(%s::text[]) AS part", [CHANNEL, said])
    except DatabaseError as error:
        logger.warning("gateways_not_told", error=str(error))
