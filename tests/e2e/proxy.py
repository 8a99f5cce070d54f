"""A small TCP proxy between a browser and the server, which cuts and refuses when told to."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

CHUNK = 65_536


class Proxy:
    """Listens on a port of its own on loopback. `streams` counts the event streams that were asked for through it."""

    def __init__(self, upstream_port: int) -> None:
        self.streams = 0
        self._upstream = ("127.0.0.1", upstream_port)
        self._lines: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = self._listen(0)
        self.port = int(self._listener.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *exception: object) -> None:
        hang_up(self._listener)
        self.cut()

    def cut(self) -> None:
        """Cut every connection there is. New ones are taken."""
        with self._lock:
            lines, self._lines = self._lines, set()
        for line in lines:
            hang_up(line)

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Cut everything, and refuse new connections until the block ends."""
        hang_up(self._listener)
        self.cut()
        try:
            yield
        finally:
            self._listener = self._listen(self.port)

    def _listen(self, port: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", port), backlog=64)
        threading.Thread(target=self._accept, args=[listener], name="proxy", daemon=True).start()
        return listener

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                threading.Thread(target=self._connect, args=[near], name="proxy-connect", daemon=True).start()

    def _connect(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(self._upstream, timeout=5)
        except OSError:
            hang_up(near)
            return
        far.settimeout(None)
        with self._lock:
            self._lines |= {near, far}
        threading.Thread(target=self._pump, args=[far, near], name="proxy-pump", daemon=True).start()
        self._pump(near, far)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while chunk := source.recv(CHUNK):
                if chunk.startswith(b"GET ") and b"/stream?" in chunk.partition(b"\r\n")[0]:
                    self.streams += 1
                sink.sendall(chunk)
        with self._lock:
            self._lines -= {source, sink}
        hang_up(source)
        hang_up(sink)


def hang_up(line: socket.socket) -> None:
    """Shut before closing: a thread that reads from it, or accepts on it, is then woken."""
    with suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)
    line.close()
