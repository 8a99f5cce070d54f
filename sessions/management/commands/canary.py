"""`manage.py canary`: set up the session by which the switch tests itself, or let it test itself now."""

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from sessions import canary
from sessions.errors import LifecycleError
from sessions.providers import registry


class Command(BaseCommand):
    help = "Test the kill switch with a session of its own. Exits with 1 where it would not have worked."

    def add_arguments(self, parser: CommandParser) -> None:
        help_ = "a file with the authorization_details (JSON list) to test with: makes or changes the canary's profile"
        parser.add_argument("--set-up", metavar="FILE", type=Path, help=help_)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["set_up"]:
            self._set_up(options["set_up"])
            return
        test = canary.run()
        if test is None:
            raise CommandError("There is no canary (set one up with --set-up FILE), or it is running just now.")
        for lane in test.lanes:
            word, took = "passed" if lane["passed"] else "FAILED", "" if lane["ms"] is None else f"{lane['ms']:.0f} ms"
            self.stdout.write(f"{word:8}{lane['lane']:40}{took:>10}  {lane['problem']}")
        if not test.passed:
            raise CommandError("The kill switch would not have worked.")

    def _set_up(self, path: Path) -> None:
        try:
            details = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise CommandError(f"{path} cannot be read as JSON: {error}") from error
        problems = registry.problems_of(details)
        if problems:
            raise CommandError("\n".join(problems))
        try:
            canary.set_up(details)
        except LifecycleError as error:
            raise CommandError(str(error)) from error
        self.stdout.write("The canary is set up. It runs every CANARY_EVERY_S seconds.")
