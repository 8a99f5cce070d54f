"""Keeps processes running: starts them, brings back what died, ends them all."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from stack.errors import StackError
from stack.process import Command, Leashed, rotate

TICK_SECONDS = 0.1
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0
# A process that ran this long was healthy: its next death counts as the first one.
HEALTHY_SECONDS = 20.0


@dataclass
class Watched:
    """One process under supervision: how it is launched, and when it may be launched again."""

    launch: Callable[[], Leashed]
    running: Leashed
    started: float
    pause: float = FIRST_PAUSE_SECONDS
    due: float | None = None


class Supervisor:
    """Processes by name. Usable as a context manager: a thread then watches over them until the block ends."""

    def __init__(self, tell: Callable[[str], None] = lambda line: None) -> None:
        self._watched: dict[str, Watched] = {}
        self._tell = tell
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, command: Command, log_path: Path, held_fds: tuple[int, ...] = ()) -> Leashed:
        """Run a command and keep it running."""

        def launch() -> Leashed:
            rotate(log_path)
            return Leashed(command, log_path, held_fds)

        running = launch()
        self.adopt(command.name, running, launch)
        return running

    def adopt(self, name: str, running: Leashed, launch: Callable[[], Leashed]) -> None:
        """Watch over a process that runs already; `launch` brings it back."""
        self._watched[name] = Watched(launch, running, time.monotonic())

    def names(self) -> Iterable[str]:
        """Who is watched over."""
        return self._watched.keys()

    def running(self, name: str) -> Leashed:
        """The current run of that name. Its pid changes when it is brought back."""
        return self._watched[name].running

    def pid(self, name: str) -> int:
        """The pid of the command itself, not of its leash."""
        return self.running(name).pid

    def kill(self, name: str) -> None:
        """kill -9 it; it is brought back as after any other death."""
        self.running(name).kill()

    def tick(self) -> None:
        """Look at each process once: notice a death, bring back what is due."""
        now = time.monotonic()
        for name, watched in list(self._watched.items()):
            if watched.due is None and watched.running.exit_code() is not None:
                self._notice_death(name, watched, now)
            elif watched.due is not None and now >= watched.due:
                self._bring_back(name, watched)

    def _bring_back(self, name: str, watched: Watched) -> None:
        try:
            watched.running = watched.launch()
        except StackError as error:
            self._tell(str(error))
            self._plan_next_start(watched)
        else:
            watched.started, watched.due = time.monotonic(), None

    def _notice_death(self, name: str, watched: Watched, now: float) -> None:
        if now - watched.started > HEALTHY_SECONDS:
            watched.pause = FIRST_PAUSE_SECONDS
        pause = self._plan_next_start(watched)
        code = watched.running.exit_code()
        self._tell(f"{name} ended (code {code}) and starts again in {pause:.1f} s.")
        if lines := watched.running.last_lines(3):
            self._tell(lines)

    def _plan_next_start(self, watched: Watched) -> float:
        pause = watched.pause
        watched.due = time.monotonic() + pause
        watched.pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
        return pause

    def watch(self) -> None:
        """Watch until `stop` is called."""
        while not self._ending.wait(TICK_SECONDS):
            self.tick()

    def end_watch(self) -> None:
        """Let `watch` return. May be called from a signal handler."""
        self._ending.set()

    def stop(self) -> None:
        """End every process, all at the same time, and wait until nothing is left."""
        self.end_watch()
        if self._thread is not None:
            self._thread.join()
        for watched in self._watched.values():
            watched.running.ask_to_stop()
        for watched in self._watched.values():
            watched.running.stop()
        self._watched.clear()

    def __enter__(self) -> "Supervisor":
        self._thread = threading.Thread(target=self.watch, name="supervisor", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
