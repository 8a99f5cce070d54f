"""Makes the log's next signing key. What else is to do stands in docs/operations.md."""

import os
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit.errors import FormatError
from audit.note import KeyList, SigningKey


class Command(BaseCommand):
    help = "Appends a new key to a file of signing keys, oldest first, and prints its verifier key."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "file", type=Path, help="the file that LOG_SIGNING_KEYS_FILE names; made where there is none"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["file"]
        made = SigningKey.generate(settings.LOG_ORIGIN)
        try:
            keys = KeyList.parse(path.read_text()).rotated(made) if path.exists() else KeyList((made,))
        except (OSError, FormatError) as error:
            raise CommandError(f"{path} is not a file of signing keys: {error}") from error
        write(path, "".join(f"{key.format()}\n" for key in keys.keys))
        self.stdout.write(str(made.verifier))


def write(path: Path, text: str) -> None:
    """Replaces the file in one step, readable by its owner alone."""
    draft = path.with_name(f".{path.name}.new")
    with open(draft, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
