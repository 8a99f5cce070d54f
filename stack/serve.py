"""What `script/server` does: one step after another, each with its seconds, then watch until told to end."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from stack import ports
from stack.errors import StackError
from stack.follow import LogFollower
from stack.local import Stack
from stack.processes import PROCESSES, REPOSITORY, is_there
from stack.service import wait_until
from stack.supervisor import Supervisor

NEEDED_BYTES = 1_000_000_000
STEP_WIDTH = 24


@dataclass(frozen=True)
class ServeOptions:
    """The options of `script/server`."""

    data_dir: Path
    port: str | None = None
    rehearsal: bool = True
    verbose: bool = False


class Interrupted(BaseException):
    """Somebody asked us to end while we were still starting."""


def say(line: str) -> None:
    """One line for the person at the terminal."""
    print(line, flush=True)


def say_step(step: str, seconds: float) -> None:
    """A finished step."""
    say(f"  {step:<{STEP_WIDTH}} {seconds:5.1f} s")


@contextmanager
def step(name: str) -> Iterator[None]:
    """Time a step and say when it is done."""
    began = time.monotonic()
    yield
    say_step(name, time.monotonic() - began)


class Server:
    """Services, migrations, first people, processes; and the end of all of them."""

    def __init__(self, options: ServeOptions) -> None:
        self.options = options
        environ = {**os.environ, **({"PORT": options.port} if options.port else {})}
        self.stack = Stack(options.data_dir, ports.asked_for(environ))
        self.supervisor = Supervisor(tell=say)

    def run(self) -> None:
        """Return after a clean end; StackError where something is in the way."""
        began = time.monotonic()
        self.stack.open()
        try:
            set_handlers(interrupt)
            self._start()
            self._say_how_to_sign_in(time.monotonic() - began)
            self._watch()
        except Interrupted:
            pass
        finally:
            set_handlers(signal.SIG_IGN)
            say("Ending ...")
            self.supervisor.stop()
            self.stack.close()
            say("Everything has ended.")

    def _start(self) -> None:
        say(f"Drawbridge starts; data and logs are in {self.stack.data.root}")
        check_disk(self.stack.data.root)
        self.stack.start_all(say_step)
        env = self.stack.environment()
        with step("migrations"):
            manage({**env, "DATABASE_URL": env["DATABASE_OWNER_URL"]}, "migrate", "--verbosity=0")
        with step("people and profiles"):
            manage(env, "seed_local")
        with step("web, workers, log"):
            self._start_processes(env)

    def _start_processes(self, env: Mapping[str, str]) -> None:
        self.stack.supervise_services(self.supervisor)
        for process in PROCESSES:
            if not is_there(process):
                say(f"  {process.name}: not installed here, so it is not started")
            elif process.name != "rehearsal":
                self.stack.start_process(self.supervisor, process.name)
        wait_until(lambda: is_healthy(env["DRAWBRIDGE_URL"]), self.supervisor.running("web"))
        if self.options.rehearsal:
            self.stack.start_process(self.supervisor, "rehearsal")

    def _say_how_to_sign_in(self, seconds: float) -> None:
        env = self.stack.environment()
        say(f"\nDrawbridge answers at {env['DRAWBRIDGE_URL']} after {seconds:.1f} s. Sign in as")
        for person in json.loads(Path(env["PEOPLE_FILE"]).read_text()):
            say(f"  {person['role']:<10} {person['email']:<28} {person['password']}")
        say("Ctrl-C ends it.\n")

    def _watch(self) -> None:
        follower = LogFollower(self.stack.data, self.supervisor.names()) if self.options.verbose else None
        while True:
            self.supervisor.tick()
            if follower is not None:
                follower.print_new_lines()
            time.sleep(0.2)


def set_handlers(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    """One handler for everything that asks a server to end."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handler)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Begin to end. Whoever asks a second time is not heard, so that the ending is not interrupted."""
    set_handlers(signal.SIG_IGN)
    raise Interrupted


def check_disk(folder: Path) -> None:
    """Raise where the data would soon not fit."""
    free = shutil.disk_usage(folder).free
    if free < NEEDED_BYTES:
        raise StackError(f"{folder} has {free / 1e9:.1f} GB free, and 1 GB is needed. Make room and start again.")


def manage(env: Mapping[str, str], *arguments: str) -> None:
    """Run a management command; StackError with what it said if it fails."""
    ended = subprocess.run(  # noqa: S603
        [sys.executable, "manage.py", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
    )
    if ended.returncode:
        raise StackError(f"manage.py {arguments[0]} failed:\n{(ended.stderr or ended.stdout).strip()}")


def is_healthy(url: str) -> bool:
    """Whether the web process answers for its health with 200."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/healthz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
