"""One evidence file of six events of a session, between events of another."""

from pathlib import Path

import pytest

from tests.audit.evidence import papers
from tests.audit.evidence.papers import OTHER, Log, body


@pytest.fixture
def log() -> Log:
    """Leaves 0 and 4 are another session's; 1 to 3 and 5 to 7 are the session's events 1 to 6."""
    own = [body(seq, data={"path": f"/file-{seq}"}) for seq in range(1, 7)]
    return Log([body(1, OTHER), *own[:3], body(2, OTHER), *own[3:]])


@pytest.fixture
def file(log: Log, tmp_path: Path) -> Path:
    path = tmp_path / "evidence.zip"
    papers.write(path, log, [item for item in log.items() if item.stream == str(papers.SESSION)])
    return path
