"""The command line of the local stack: `serve` starts everything, `env` prints what a process needs to join it."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from stack.environment import environment
from stack.errors import StackError
from stack.processes import REPOSITORY
from stack.serve import ServeOptions, Server

EPILOG = "Ports can be chosen with PORT, POSTGRES_PORT, VALKEY_PORT, OPENBAO_PORT and GATEWAY_PORT."


def parser() -> argparse.ArgumentParser:
    """What the command line understands."""
    top = argparse.ArgumentParser(prog="stack", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", prog="script/server", epilog=EPILOG, description="Start a whole Drawbridge.")
    serve.add_argument("--data-dir", type=Path, default=REPOSITORY / ".local", help="where data are kept (.local)")
    serve.add_argument("--port", help="the port of the web pages (8000, remembered once chosen)")
    serve.add_argument("--no-rehearsal", action="store_true", help="leave the rehearsal agent out")
    serve.add_argument("--verbose", action="store_true", help="show every line that a process writes")
    env = commands.add_parser("env", description="Print the environment of a running stack, for eval in a shell.")
    env.add_argument("--data-dir", type=Path, default=REPOSITORY / ".local")
    return top


def main(arguments: Sequence[str]) -> int:
    """Exit code 0 after a clean end, 1 with one sentence on standard error where something is in the way."""
    options = parser().parse_args(arguments)
    try:
        if options.command == "env":
            for name, value in environment(options.data_dir).items():
                print(f"export {name}={shlex.quote(value)}")
        else:
            Server(ServeOptions(options.data_dir, options.port, not options.no_rehearsal, options.verbose)).run()
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    return 0
