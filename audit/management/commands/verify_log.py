"""Verifies this installation's log, its files as an auditor would, and then the database's rows against them."""

import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from audit import comparison, verify_log
from audit.errors import LogError, ProofError
from audit.sources import Source, source
from audit.stores import SCHEME, tile_store
from audit.tile_store import TileStore
from audit.verify import Verified, exit_code


class Stored:
    """A tile store as a verifier reads it."""

    def __init__(self, store: TileStore) -> None:
        self.read = store.read

    def close(self) -> None:
        """Holds nothing open."""


def opened(place: str) -> Source:
    return Stored(tile_store(place)) if place.startswith(SCHEME) else source(place)


class Command(BaseCommand):
    help = "Verifies the log's files, and holds the database's rows against them. Exit codes: docs/audit-log.md."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("place", nargs="?", default=settings.LOG_STORE, help="the files; else LOG_STORE")
        parser.add_argument("--key", action="append", default=[], metavar="VKEY", help="else LOG_VERIFIER_KEYS")
        parser.add_argument("--state", metavar="FILE", help="remembers the last checkpoint, and compares with it")
        parser.add_argument("--against", metavar="PLACE", help="an older copy of the files: names what was hashed anew")
        parser.add_argument("--from", type=int, default=0, dest="first", metavar="N", help="first entry")
        parser.add_argument("--to", type=int, metavar="N", help="last entry; the database is compared up to the end")
        parser.add_argument("--quiet", action="store_true", help="no progress bar")
        parser.add_argument("--files-only", action="store_true", help="leave the database out")

    def handle(self, *args: Any, **options: Any) -> None:
        keys = options["key"] or settings.LOG_VERIFIER_KEYS
        code, verified = verify_log.run(_arguments(options, keys), "manage.py verify_log", opened)
        if verified is not None and not options["files_only"]:
            code = self._compare(options["place"], verified, options["first"], options["quiet"])
        if code:
            sys.exit(code)

    def _compare(self, place: str, verified: Verified, first: int, quiet: bool) -> int:
        size, minimum = verified.opened.checkpoint.size, verified.gaps.minimum
        progress = verify_log.bar if sys.stderr.isatty() and not quiet else None
        try:
            done = comparison.compare(opened(place), size, first=first, minimum=minimum, progress=progress)
        except LogError as error:
            where = f" at entry {error.index}" if isinstance(error, ProofError) and error.index is not None else ""
            self.stderr.write(f"FAILED{where}: {error}")
            return exit_code(error)
        self.stdout.write(f"VERIFIED the database's {done:,} rows against the log")
        return 0


def _arguments(options: dict[str, Any], keys: list[str]) -> list[str]:
    given = [options["place"], "--origin", settings.LOG_ORIGIN, "--from", str(options["first"])]
    for key in keys:
        given += ["--key", key]
    for witness in settings.LOG_WITNESSES:
        given += ["--witness", witness["key"]]
    if settings.LOG_WITNESSES:
        given += ["--quorum", str(settings.LOG_WITNESS_QUORUM)]
    for name in ("to", "state", "against"):
        if options[name] is not None:
            given += [f"--{name}", str(options[name])]
    return given + (["--quiet"] if options["quiet"] else [])
