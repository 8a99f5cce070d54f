"""Writes a part of the log as OCSF, one event a line, for a SIEM that reads files.

Only what a checkpoint covers is written. The next file begins where this one ends: it says which leaf on stderr.

Exit codes, as those of `python -m audit.verify` where they mean the same:
    0  written
    1  an entry was pruned, or is no event
    2  wrong usage
    3  a checkpoint that no known key signed
    6  the log, or the file, cannot be reached
"""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit import siem
from audit.errors import LogError
from audit.proofs import Prover
from audit.siem import PrunedError
from audit.stores import tile_store
from audit.verify import exit_code

UNREACHABLE = 6


class Command(BaseCommand):
    help = "Write leaves of the log as OCSF (NDJSON), or set where the webhook goes on."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--from", type=int, default=0, dest="first", metavar="LEAF", help="first leaf, from 0")
        parser.add_argument("--to", type=int, metavar="LEAF", help="last leaf; else the last that is signed for")
        parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="else standard output")
        parser.add_argument("--resume-at", type=int, metavar="LEAF", help="the webhook goes on here; writes nothing")

    def handle(
        self, *args: Any, first: int, to: int | None, output: Path | None, resume_at: int | None, **options: Any
    ) -> None:
        if first < 0 or (to is not None and to < first) or (resume_at or 0) < 0:
            raise CommandError("The first leaf is 0, and --to is not before --from.", returncode=2)
        if resume_at is not None:
            siem.resume_at(resume_at)
            self.stdout.write(f"The webhook goes on at leaf {resume_at}.")
            return
        try:
            self._write(first, to, output)
        except LogError as error:
            raise CommandError(
                str(error), returncode=1 if isinstance(error, PrunedError) else exit_code(error)
            ) from error
        except (OSError, BotoCoreError, ClientError) as error:
            raise CommandError(f"the log or the file cannot be reached: {error}", returncode=UNREACHABLE) from error

    def _write(self, first: int, to: int | None, output: Path | None) -> None:
        tree = Prover().tree
        size = tree.size if tree else 0
        end = size if to is None else to + 1
        if tree is None or first >= size or end > size:
            raise CommandError(f"{size} leaves are signed for, the last one is {size - 1}.", returncode=2)
        with ExitStack() as stack:
            file: IO[bytes] = stack.enter_context(output.open("wb")) if output else sys.stdout.buffer
            for leaf in siem.leaves(tile_store(settings.LOG_STORE), first, end, size):
                file.write(siem.line(leaf, tree.origin))
        self.stderr.write(f"Written: leaves {first} to {end - 1}. The next file begins at {end}.")
