"""Watches this machine's clock: against its own monotonic one for jumps, and against the database's for drift."""

import time

from django.db import connection

from audit.event import now

TOLERATED_S = 30.0


class Clock:
    """A jump is told for as long as the process lives: events recorded before it and after it do not compare."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()
        self._jump = ""

    def problem(self) -> str | None:
        """What is wrong, in a sentence for people."""
        offset = time.time() - time.monotonic()
        if abs(jumped := offset - self._offset) > TOLERATED_S:
            way = "forward" if jumped > 0 else "back"
            self._jump = f"This machine's clock jumped {way} by {_span(abs(jumped))}, noticed at {now():%H:%M:%S} UTC."
            self._offset = offset
        return self._jump or self._differs()

    def _differs(self) -> str | None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT clock_timestamp()")
            [theirs] = cursor.fetchone()
        apart = abs((now() - theirs).total_seconds())
        if apart > TOLERATED_S:
            return f"This machine's clock and the database's are {_span(apart)} apart. Set both by NTP."
        return None


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "min"), (rest, "s")]
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "0 s"
