"""The integrator's process. A second one waits until the first one ends."""

import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit.errors import LogError
from audit.integrator import Integrator, Pruning, publisher
from webapp import environment as env


class Command(BaseCommand):
    help = "Makes the log's tree out of committed events, and signs for it, until it is told to end."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="bring the log up to what is committed, and end")

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        integrator = Integrator(publisher(env.text("LOG_SIGNING_KEYS")), stop, lambda line: self.stdout.write(line))
        if not options["once"]:
            Pruning(stop).start()
            integrator.run()
            return
        try:
            size = integrator.once()
        except LogError as error:
            raise CommandError(f"The log is refused: {error}") from error
        self.stdout.write(f"{size} entries are signed for")
