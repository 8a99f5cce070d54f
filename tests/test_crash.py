"""The short form of the crash drill; `script/drill crash` is the full one."""

import pytest

from stack import Stack
from tests.drills import crash

SESSIONS, SEED = 100, 20261123


@pytest.mark.usefixtures("committed")
def test_nothing_outlives_its_session_whatever_is_killed(stack: Stack) -> None:
    report = crash.run(stack, SESSIONS, SEED)
    assert report.problems == []
    assert report.sessions >= SESSIONS
    assert report.used > SESSIONS / 4
    assert sum(report.wounds.values()) >= 10
