"""Which processes a whole Drawbridge consists of, beside its three services. This table is the only place."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from stack.process import Command

REPOSITORY = Path(__file__).resolve().parent.parent
WORKER = ("-A", "webapp", "worker", "--pool", "threads", "--concurrency", "8", "--without-gossip", "--without-mingle")
WEB = ("webapp.asgi:application", "--host", "{host}", "--port", "{port}", "--no-access-log")
WITNESS_KEYS = ("--key", "{data}/secrets/witness-key", "--log", "{data}/log.vkeys")
WITNESS = ("--folder", "{data}/witness", *WITNESS_KEYS, "--listen", "127.0.0.1:{witness}")
WARNINGS = ("--loglevel", "WARNING")


@dataclass(frozen=True)
class Process:
    """A Python module with its arguments; `{port}`, `{host}`, `{data}` and `{witness}` in them are filled in.

    `database` names the variable that holds its DATABASE_URL, where it is not the application's role. Where there is an
    `only`, it gets no variables but those that begin so: what it does not need to know it is not told.
    """

    name: str
    module: str
    arguments: tuple[str, ...] = ()
    database: str = "DATABASE_URL"
    only: str = ""


# Revocation has a worker of its own, so that it never waits behind issuing.
PROCESSES = (
    Process("web", "uvicorn", (*WEB, "--timeout-graceful-shutdown", "5")),
    Process("worker-revoke", "celery", (*WORKER, "-Q", "revoke", "-n", "revoke@%h", *WARNINGS)),
    Process("worker-issue", "celery", (*WORKER, "-Q", "issue,sweep,log", "-n", "issue@%h", *WARNINGS)),
    Process("beat", "celery", ("-A", "webapp", "beat", "-s", "{data}/beat-schedule", *WARNINGS)),
    Process("integrator", "manage", ("integrate",), "DATABASE_INTEGRATOR_URL"),
    Process("witness", "audit.witness", WITNESS),
    Process("gateway", "gateway", only="GATEWAY_"),
    Process("rehearsal", "runner.rehearsal"),
)


def command(process: Process, data_dir: Path, env: Mapping[str, str]) -> Command:
    """How to run one of them with the environment of a stack."""
    host = os.environ.get("WEB_HOST", "127.0.0.1")
    known = {"port": env["PORT"], "host": host, "data": data_dir, "witness": env["WITNESS_PORT"]}
    arguments = [argument.format(**known) for argument in process.arguments]
    argv = (sys.executable, "-m", process.module, *arguments)
    return Command(process.name, argv, {**given(process, env), "PYTHONUNBUFFERED": "1"}, cwd=REPOSITORY)


def given(process: Process, env: Mapping[str, str]) -> dict[str, str]:
    """What it is told of the environment of its stack."""
    if process.only:
        return {name: value for name, value in env.items() if name.startswith((process.only, "NO_PROXY", "no_proxy"))}
    return {**env, "DATABASE_URL": env[process.database]}


def is_there(process: Process) -> bool:
    """Whether it can be started: the gateway is a package whose programs may be installed elsewhere."""
    return process.module != "gateway" or find_spec("gateway.__main__") is not None
