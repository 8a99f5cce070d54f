"""What died comes back, more slowly each time; a whole set ends together."""

import sys
from collections.abc import Callable
from pathlib import Path

from stack.process import Command
from stack.supervisor import Supervisor

Eventually = Callable[[Callable[[], bool]], bool]


def sleeper(name: str) -> Command:
    return Command(name, (sys.executable, "-c", "import time; time.sleep(600)"))


def test_killed_process_comes_back_under_another_pid(tmp_path: Path, eventually: Eventually) -> None:
    with Supervisor() as supervisor:
        supervisor.start(sleeper("web"), tmp_path / "web.log")
        before = supervisor.pid("web")
        supervisor.kill("web")
        assert eventually(lambda: supervisor.pid("web") != before)
        assert supervisor.running("web").exit_code() is None


def test_process_that_keeps_dying_is_started_more_and_more_slowly(tmp_path: Path, eventually: Eventually) -> None:
    told: list[str] = []
    with Supervisor(told.append) as supervisor:
        supervisor.start(Command("beat", (sys.executable, "-c", "raise SystemExit('no broker')")), tmp_path / "log")
        assert eventually(lambda: len(told) >= 6)
    assert told[:6] == [
        "beat ended (code 1) and starts again in 0.2 s.",
        "no broker",
        "beat ended (code 1) and starts again in 0.4 s.",
        "no broker",
        "beat ended (code 1) and starts again in 0.8 s.",
        "no broker",
    ]


def test_end_of_the_block_ends_every_process(tmp_path: Path) -> None:
    with Supervisor() as supervisor:
        runs = [supervisor.start(sleeper(name), tmp_path / name) for name in ("web", "beat")]
    assert [run.exit_code() for run in runs] == [143, 143]
