"""A terminal of its own for a command in a sandbox: only its output reaches the caller's."""

import fcntl
import os
import signal
import struct
import sys
import termios
import threading
import tty
from contextlib import suppress
from types import TracebackType

PIECE = 65_536


class Console:
    """A pseudo terminal between the caller's and the command's. Used as a context: leaving it restores the caller's."""

    def __enter__(self) -> "Console":
        self._ours, self.theirs = os.openpty()
        self._outer = sys.stdin.fileno()
        self._before = termios.tcgetattr(self._outer)
        self._resized(signal.SIGWINCH, None)
        self._previous = signal.signal(signal.SIGWINCH, self._resized)
        tty.setraw(self._outer)
        self._wake_out, self._wake_in = os.pipe()
        self._output = threading.Thread(target=self._show, name="console-out", daemon=True)
        self._input = threading.Thread(target=self._type, name="console-in", daemon=True)
        self._output.start()
        self._input.start()
        return self

    def started(self) -> None:
        """The command has its end: ours is closed, so that its last output is followed by the end."""
        os.close(self.theirs)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._output.join(1.0)
        os.write(self._wake_in, b".")
        self._input.join(1.0)
        termios.tcsetattr(self._outer, termios.TCSAFLUSH, self._before)
        signal.signal(signal.SIGWINCH, self._previous)
        for one in (self._ours, self._wake_out, self._wake_in):
            os.close(one)

    def _show(self) -> None:
        """Until the command and all that it started have let go of the terminal."""
        with suppress(OSError):
            while data := os.read(self._ours, PIECE):
                _write_all(sys.stdout.fileno(), data)

    def _type(self) -> None:
        import select

        with suppress(OSError):
            while True:
                ready, _, _ = select.select([self._outer, self._wake_out], [], [])
                if self._wake_out in ready:
                    return
                data = os.read(self._outer, PIECE)
                if not data:
                    return
                _write_all(self._ours, data)

    def _resized(self, number: int, frame: object) -> None:
        with suppress(OSError):
            size = fcntl.ioctl(self._outer, termios.TIOCGWINSZ, struct.pack("HHHH", 0, 0, 0, 0))
            fcntl.ioctl(self._ours, termios.TIOCSWINSZ, size)


def _write_all(file: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]
