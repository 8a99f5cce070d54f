"""Archives the log, or checks its archive, by hand.

Exit codes, as those of `python -m audit.verify` where they mean the same:
    0  archived, or nothing to archive; with --check: the archive is what it was
    1  with --check: something drifted; else: entries, tiles and signed root of the log do not agree
    2  wrong usage, or no ARCHIVE_STORE is set
    3  a checkpoint that no known key signed; a place that cannot keep an archive, or holds other bytes
    4  the log does not continue what was archived
    6  the log or the archive cannot be reached, or another process is archiving
"""

from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit import archiving
from audit.archive_manifest import Manifest
from audit.errors import LogError
from audit.verify import exit_code

UNREACHABLE = 6


class Command(BaseCommand):
    help = "Archive the log's closed segments to ARCHIVE_STORE, or check what was archived."

    def add_arguments(self, parser: CommandParser) -> None:
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--check", action="store_true", help="read all of the archive again, and name what drifted")
        which.add_argument("--force", action="store_true", help="archive all that is signed for, however little")

    def handle(self, *args: Any, check: bool, force: bool, **options: Any) -> None:
        if not settings.ARCHIVE_STORE:
            raise CommandError("ARCHIVE_STORE is empty. Set it to a folder, or to s3://bucket/prefix.", returncode=2)
        try:
            if check:
                self._check()
            else:
                self._archive(force)
        except archiving.BusyError as error:
            raise CommandError(str(error), returncode=UNREACHABLE) from error
        except LogError as error:
            raise CommandError(str(error), returncode=exit_code(error)) from error
        except (OSError, BotoCoreError, ClientError) as error:
            raise CommandError(f"the log's store cannot be read: {error}", returncode=UNREACHABLE) from error

    def _archive(self, force: bool) -> None:
        done = archiving.archive_closed(force=force, each=self._say)
        if not done:
            self.stdout.write("Nothing to archive.")
        self.stdout.write(archiving.archive_store(settings.ARCHIVE_STORE).keeping)

    def _say(self, manifest: Manifest) -> None:
        until = f"{manifest.retain_until:%Y-%m-%d}"
        self.stdout.write(f"Archived {manifest.span.words}: {len(manifest.files) + 1} files, kept until {until}.")

    def _check(self) -> None:
        checked = archiving.check_archive(self._draw if self.stdout.isatty() else None)
        if checked.drifts:
            drifts = "\n".join(map(str, checked.drifts))
            raise CommandError(f"{drifts}\n{len(checked.drifts)} files are not what they were.", returncode=1)
        self.stdout.write(f"All is as it was archived: {checked.segments} segments, {checked.files} files.")

    def _draw(self, done: int, total: int) -> None:
        self.stdout.write(f"\r{done} of {total} segments", ending="\n" if done == total else "")
