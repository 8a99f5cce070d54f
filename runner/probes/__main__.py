"""`python -m runner.probes`: in a network namespace of its own, told by one line of JSON what to do, tells each outcome
as one line.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from runner.errors import RunnerError
from runner.probes.catalogue import probes
from runner.probes.laboratory import Laboratory
from runner.probes.trial import Trial
from runner.sandbox import choice
from runner.sandbox.command import Command
from runner.sandbox.interface import Sandbox, Unavailable


def main() -> int:
    told = json.loads(sys.stdin.readline())
    wanted = [one for one in probes() if told["ids"] is None or one.id in told["ids"]]
    try:
        sandbox = _sandbox(told)
        _tell({"sandbox": sandbox.name, "version": sandbox.version, "probes": len(wanted)})
        with (
            tempfile.TemporaryDirectory(prefix="drawbridge-probes-") as folder,
            Laboratory(Path(folder)) as laboratory,
            Trial(laboratory, sandbox) as trial,
        ):
            for outcome in trial.outcomes(wanted):
                _tell(outcome.content())
    except RunnerError as error:
        _tell({"error": str(error), "exit_code": error.exit_code})
        return error.exit_code
    return 0


def _sandbox(told: dict[str, Any]) -> Sandbox:
    """Raises RunnerError."""
    other = Command(told["command"] or ())
    if told["command"]:
        why = other.available()
        if why is not None:
            raise Unavailable(why)
        return other
    return choice.chosen(told["sandbox"], told["image"]) or other


def _tell(content: object) -> None:
    print(json.dumps(content), flush=True)


if __name__ == "__main__":
    sys.exit(main())
