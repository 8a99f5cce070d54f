"""Prunes what is past retention, by hand. Run it with the integrator's DATABASE_URL: no other role may.

Exit codes:
    0  pruned, or nothing to prune
    1  the database refused, or what is archived cannot be believed
    2  a setting is wrong
    6  the log's files or the archive cannot be reached, or this process may not prune
"""

from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from audit import retention
from audit.errors import LogError, UnreachableError
from audit.event import now
from audit.retention import NotHereError, Step

UNREACHABLE = (UnreachableError, NotHereError, OSError, BotoCoreError, ClientError)


class Command(BaseCommand):
    help = "Prune entries older than LOG_RETAIN_DAYS, whole months at a time, but for what a legal hold covers."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="say what would go, and change nothing")

    def handle(self, *args: Any, dry_run: bool, **options: Any) -> None:
        try:
            gone = self._would() if dry_run else retention.prune(each=self._say)
        except ImproperlyConfigured as error:
            raise CommandError(str(error), returncode=2) from error
        except UNREACHABLE as error:
            raise CommandError(str(error), returncode=6) from error
        except (LogError, DatabaseError) as error:
            raise CommandError(str(error).strip(), returncode=1) from error
        if not gone:
            self.stdout.write("Nothing to prune.")

    def _would(self) -> int:
        steps = retention.plan(now())
        for step in steps:
            self._say(step, "Would prune")
        return len(steps)

    def _say(self, step: Step, done: str = "Pruned") -> None:
        where = f"entries {step.first:,} to {step.end - 1:,}"
        kept = f"{step.held:,} stay under {len(step.holds)} legal holds, {step.own:,} are the log's own"
        self.stdout.write(f"{done} {step.pruned:,} of {where}: {kept}.")
