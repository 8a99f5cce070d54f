"""What went wrong in many streams at once: events that were refused or failed, and findings.

By indexes of their own, and not by density: they are there as soon as they are committed, integrator or not.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from audit import chart, search

# So many are counted; a stream that has more has "100+".
MOST = 100


@dataclass(frozen=True)
class Alarm:
    """`refused` events were refused or failed, MOST if there are more. `at` is when the newest event of these, or a
    finding, was written here: what a sender says of the time does not count."""

    refused: int
    seq: int
    at: datetime


def of(streams: Sequence[uuid.UUID]) -> Mapping[uuid.UUID, Alarm]:
    """One query for all; a stream in which nothing went wrong is left out."""
    floors = [search.floor(stream) for stream in streams]
    asked: dict[str, Any] = {
        "streams": list(streams),
        "floors": floors,
        "most": MOST,
        "kinds": list(chart.LANES["findings"]),
    }
    with connection.cursor() as cursor:
        cursor.execute(ALARMS, asked)
        return {stream: Alarm(refused, seq, at) for stream, refused, seq, at in cursor.fetchall()}


ALARMS = """
SELECT asked.stream, counted.refused, newest.seq, newest.recorded_at
FROM unnest(%(streams)s::uuid[], %(floors)s::uuid[]) AS asked (stream, floor)
CROSS JOIN LATERAL (
    (SELECT seq, recorded_at FROM audit_event WHERE stream = asked.stream AND id >= asked.floor AND outcome = 1
    ORDER BY seq DESC LIMIT 1)
    UNION ALL
    (SELECT seq, recorded_at FROM audit_event WHERE stream = asked.stream AND id >= asked.floor AND outcome = 2
    ORDER BY seq DESC LIMIT 1)
    UNION ALL
    SELECT found.* FROM unnest(%(kinds)s::text[]) AS finding (kind), LATERAL (
        SELECT seq, recorded_at FROM audit_event
        WHERE stream = asked.stream AND id >= asked.floor AND kind = finding.kind ORDER BY seq DESC LIMIT 1
    ) AS found
    ORDER BY seq DESC LIMIT 1
) AS newest
CROSS JOIN LATERAL (
    SELECT count(*)::integer AS refused FROM (
        SELECT FROM audit_event
        WHERE stream = asked.stream AND id >= asked.floor AND outcome > 0 LIMIT %(most)s
    ) AS wrong
) AS counted
"""
