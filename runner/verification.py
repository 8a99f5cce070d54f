"""`drawbridge verify`: the probes, run and reported."""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.errors import RunnerError, Usage
from runner.probes.outcome import CROSSED, HELD, INVALID, SKIPPED, Outcome
from runner.sandbox.interface import Unavailable

EXIT_HELD, EXIT_CROSSED, EXIT_UNKNOWN = 0, 1, 2
PROGRAMS = {"unshare": "util-linux", "ip": "iproute2"}


@dataclass
class Verification:
    """What all probes together say of one kind of sandbox."""

    sandbox: str
    version: str
    outcomes: list[Outcome] = field(default_factory=list)

    def of(self, outcome: str) -> list[Outcome]:
        return [one for one in self.outcomes if one.outcome == outcome]

    @property
    def exit_code(self) -> int:
        if self.of(CROSSED):
            return EXIT_CROSSED
        return EXIT_UNKNOWN if self.of(INVALID) or not self.of(HELD) else EXIT_HELD

    def content(self, framework: str = "", framework_version: str = "") -> dict[str, Any]:
        return {
            "sandbox": self.sandbox,
            "version": self.version,
            "framework": framework,
            "framework_version": framework_version,
            "host": f"{platform.system()} {platform.release()} {platform.machine()}",
            "probes": len(self.outcomes),
            "crossed": [one.id for one in self.of(CROSSED)],
            "skipped": [one.id for one in self.outcomes if one.outcome in (SKIPPED, INVALID)],
            "report": [one.content() for one in self.outcomes],
        }


Tell = Callable[[int, int], None]


def verify(
    sandbox: str, image: str | None, ids: Sequence[str] | None, tell: Tell, command: Sequence[str] = ()
) -> Verification:
    """Run them; `tell` hears how many of how many are done. Raises RunnerError where they cannot run at all.

    `command` is somebody else's sandbox, as the beginning of a command line; then `sandbox` says nothing.
    """
    found: Verification | None = None
    total = 0
    for told in _told({"sandbox": sandbox, "image": image, "ids": ids, "command": list(command)}):
        if "error" in told:
            raise RunnerError(told["error"])
        if found is None:
            found, total = Verification(told["sandbox"], told["version"]), told["probes"]
        else:
            found.outcomes.append(Outcome.read(told))
            tell(len(found.outcomes), total)
    if found is None or len(found.outcomes) < total:
        raise RunnerError("The probes ended before they were done: nothing is known of this sandbox.")
    return found


def _told(wanted: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What the laboratory says, line by line: a process in a network of its own."""
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            raise Unavailable(f"{program} is not installed. Install it: apt-get install {package}.")
    own_user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = ["unshare", *own_user, "--net", "--mount", "--propagation", "private", "--"]
    command += [sys.executable, "-m", "runner.probes"]
    path = str(Path(__file__).resolve().parent.parent)
    with subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": path}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(dict(wanted)) + "\n")
        process.stdin.flush()
        try:
            for line in process.stdout:
                yield json.loads(line)
        finally:
            process.terminate()


def version_of(program: str) -> str:
    """What it prints of itself; nothing where there is none. Raises Usage for a program that is not here."""
    if not program:
        return ""
    if shutil.which(program) is None:
        raise Usage(f"There is no program {program!r} here, so its version cannot be told.")
    ran = subprocess.run([program, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    return (ran.stdout.strip().splitlines() or [""])[0][:64]


def known(ids: Sequence[str] | None) -> Sequence[str] | None:
    """Raises Usage for ids that are none."""
    from runner.probes.catalogue import probes

    unknown = set(ids or ()) - {one.id for one in probes()}
    if unknown:
        raise Usage(f"There is no probe {', '.join(sorted(unknown))}.")
    return ids or None


def show(found: Verification) -> None:
    """A table of what did not hold, and one line that says it all."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    telling = [one for one in found.outcomes if one.outcome != HELD]
    if telling:
        table = Table("probe", "what was tried", "outcome", "what was seen")
        for one in telling:
            style = "bold red" if one.outcome == CROSSED else "yellow"
            table.add_row(one.id, one.title, one.outcome, one.saw if one.outcome == CROSSED else one.why, style=style)
        console.print(table)
    held, crossed = len(found.of(HELD)), len(found.of(CROSSED))
    counts = f"{held} of {len(found.outcomes)} probes held, {crossed} crossed"
    rest = f", {len(found.of(SKIPPED))} skipped, {len(found.of(INVALID))} without a working control"
    console.print(f"{found.sandbox} {found.version}: {counts}{rest}.")
