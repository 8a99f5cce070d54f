"""Where log lines go: to standard output, and nowhere where that cannot take them.

A disk that is full under the log lines of a process must not keep it from killing, revoking and telling.
"""

from contextlib import suppress

from structlog import PrintLogger


class Printer(PrintLogger):
    """Prints a line, or loses it."""

    def msg(self, message: str) -> None:
        with suppress(OSError):
            super().msg(message)

    log = debug = info = warn = warning = fatal = failure = err = error = critical = exception = msg


def printer(*names: object) -> Printer:
    return Printer()
