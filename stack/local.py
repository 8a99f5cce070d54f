"""A whole local stack: the three services of one data folder, provisioned, and the processes beside them."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType

from stack import ports, processes
from stack.data_dir import DataDir
from stack.databases import provision_databases
from stack.environment import environment
from stack.openbao import OpenBao
from stack.openbao_setup import provision_openbao
from stack.postgres import Postgres
from stack.process import Leashed
from stack.service import Service, launch
from stack.supervisor import Supervisor
from stack.unprivileged import forget_cluster
from stack.valkey import Valkey

Tell = Callable[[str, float], None]


class Stack:
    """PostgreSQL, Valkey and OpenBao of one data folder. `with Stack(folder) as stack:` starts, provisions and stops.

    Nothing of it outlives the process that started it.
    """

    def __init__(self, data_dir: Path, chosen_ports: Mapping[str, int] | None = None, for_tests: bool = False) -> None:
        self.data = DataDir(data_dir)
        self.for_tests = for_tests
        self._asked = dict(chosen_ports or {})
        self._running: dict[str, Leashed] = {}
        self._lock: int | None = None

    @classmethod
    @contextmanager
    def temporary(cls) -> Iterator["Stack"]:
        """A running stack on free ports in a folder of its own, which is removed at the end. For tests and benches."""
        folder = Path(tempfile.mkdtemp(prefix="drawbridge-"))
        try:
            with cls(folder, for_tests=True) as stack:
                yield stack
        finally:
            forget_cluster(DataDir(folder))
            shutil.rmtree(folder)

    def open(self) -> None:
        """Make the folder, take its lock, decide the ports."""
        self.data.create()
        self._lock = self.data.lock()
        try:
            remembered = self.data.read_json("ports.json") or {}
            self.ports = ports.choose(remembered, self._asked, prefer=not self.for_tests)
        except BaseException:
            self.close()
            raise
        self.data.write_json("ports.json", self.ports)
        self.postgres = Postgres(self.data, self.ports["postgres"])
        self.valkey = Valkey(self.data, self.ports["valkey"])
        self.openbao = OpenBao(self.data, self.ports["openbao"], self.ports["openbao_cluster"])
        self.services: dict[str, Service] = {s.name: s for s in (self.postgres, self.valkey, self.openbao)}

    def start_all(self, tell: Tell = lambda step, seconds: None) -> None:
        """Start the three services at the same time and provision them; `tell` hears of each step and its seconds."""

        def timed_start(name: str) -> None:
            began = time.monotonic()
            self.start(name)
            tell(name, time.monotonic() - began)

        for name in ("postgres-superuser", "valkey"):
            self.data.secret(name)
        with ThreadPoolExecutor() as pool:
            openbao = pool.submit(timed_start, "openbao")
            valkey = pool.submit(timed_start, "valkey")
            timed_start("postgres")
            began = time.monotonic()
            provision_databases(self.postgres, self.for_tests)
            valkey.result()
            openbao.result()
        provision_openbao(self.openbao, self.postgres)
        environment(self.data.root)
        tell("roles and policies", time.monotonic() - began)

    def environment(self) -> dict[str, str]:
        """The environment for Django processes."""
        return environment(self.data.root)

    def start(self, name: str) -> None:
        """Start one service ("postgres", "valkey" or "openbao") and wait until it answers."""
        self._running[name] = self.launch(name)

    def launch(self, name: str) -> Leashed:
        """One service, prepared, started and answering."""
        service = self.services[name]
        service.prepare()
        return launch(service, self.data.log(name), self._held())

    def stop(self, name: str) -> None:
        """Stop one service; `start` brings it back with its data on the same port."""
        self._running.pop(name).stop()

    def kill(self, name: str) -> None:
        """kill -9 one service; `start` brings it back."""
        self._running.pop(name).kill()

    def restart(self, name: str) -> None:
        """Stop and start one service."""
        self.stop(name)
        self.start(name)

    def pid(self, name: str) -> int:
        """The pid of one service."""
        return self._running[name].pid

    def supervise_services(self, supervisor: Supervisor) -> None:
        """Hand the running services to a supervisor, which brings them back when they die."""
        for name in list(self._running):
            supervisor.adopt(name, self._running.pop(name), partial(self.launch, name))

    def start_process(self, supervisor: Supervisor, name: str, extra_env: Mapping[str, str] | None = None) -> Leashed:
        """Start one row of the process table under a supervisor."""
        process = next(row for row in processes.PROCESSES if row.name == name)
        env = {**self.environment(), **(extra_env or {})}
        command = processes.command(process, self.data.root, env)
        return supervisor.start(command, self.data.log(name), self._held())

    @contextmanager
    def processes(self, *names: str, extra_env: Mapping[str, str] | None = None) -> Iterator[Supervisor]:
        """Run these rows of the process table as the server does, until the block ends. Migrations are the caller's."""
        with Supervisor() as supervisor:
            for name in names:
                self.start_process(supervisor, name, extra_env)
            yield supervisor

    def _held(self) -> tuple[int, ...]:
        return () if self._lock is None else (self._lock,)

    def close(self) -> None:
        """Stop what runs, all at the same time, and give the folder free."""
        for running in self._running.values():
            running.ask_to_stop()
        for name in list(self._running):
            self.stop(name)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> "Stack":
        self.open()
        try:
            self.start_all()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
