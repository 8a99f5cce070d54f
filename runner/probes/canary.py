"""Whoever a probe wants to reach: listens everywhere in the laboratory's network, and remembers what arrived."""

import select
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass

from runner.probes.probe import ADDRESSES, ALLOWED, EVIL, TCP_PORTS, UDP_PORTS

FIRST_S, LONGEST = 0.5, 65_536
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\ncanary\n"
PLACES = (*ADDRESSES, "127.0.0.1")


@dataclass(frozen=True)
class Arrived:
    """One connection or datagram: where it came to, and its first bytes."""

    address: str
    port: int
    data: bytes

    def crosses(self, nonce: str) -> bool:
        """Whether it should never have come. To ALLOWED only what lies outside of /ok/ should not."""
        if self.address != ALLOWED:
            return True
        return self.port == 8080 or b"denied" in self.data and nonce.encode() in self.data


class Canary:
    """Used as a context. Each arrival is answered: HTTP with 200, DNS with an address, `/redirect/N` with EVIL's."""

    def __enter__(self) -> "Canary":
        self._arrived: list[Arrived] = []
        self._lock = threading.Lock()
        self._streams = [_bound(socket.SOCK_STREAM, one, port) for one in PLACES for port in TCP_PORTS]
        self._datagrams = [_bound(socket.SOCK_DGRAM, one, port) for one in PLACES for port in UDP_PORTS]
        self._stops, self._stop = socket.socketpair()
        self._threads = [threading.Thread(target=self._watch, daemon=True)]
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.send(b".")
        self._threads[0].join(5)
        for one in (*self._streams, *self._datagrams, self._stops, self._stop):
            one.close()

    def taken(self) -> list[Arrived]:
        """What arrived since this was asked last."""
        with self._lock:
            arrived, self._arrived = self._arrived, []
        return arrived

    def _keep(self, arrived: Arrived) -> None:
        with self._lock:
            self._arrived.append(arrived)

    def _watch(self) -> None:
        every = [*self._streams, *self._datagrams, self._stops]
        while True:
            for ready in select.select(every, [], [])[0]:
                if ready is self._stops:
                    return
                with suppress(OSError):
                    self._take(ready)

    def _take(self, ready: socket.socket) -> None:
        address, port = ready.getsockname()[:2]
        if ready in self._datagrams:
            data, sender = ready.recvfrom(LONGEST)
            self._keep(Arrived(address, port, data))
            ready.sendto(_dns_answer(data), sender)
            return
        connection, _ = ready.accept()
        threading.Thread(target=self._talk, args=(connection, address, port), daemon=True).start()

    def _talk(self, connection: socket.socket, address: str, port: int) -> None:
        with connection:
            connection.settimeout(FIRST_S)
            data = b""
            with suppress(OSError):
                data = connection.recv(LONGEST)
            self._keep(Arrived(address, port, data))
            with suppress(OSError):
                connection.sendall(_answer(data, port))


def _answer(data: bytes, port: int) -> bytes:
    if port == 53:
        return len(_dns_answer(data[2:])).to_bytes(2, "big") + _dns_answer(data[2:])
    path = data.split(b" ")[1] if data.count(b" ") > 1 else b""
    if b"/redirect/" in path:
        there = b"http://" + EVIL.encode() + b"/" + path.rpartition(b"/")[2]
        return b"HTTP/1.1 302 Found\r\nLocation: " + there + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    return ANSWER


def _dns_answer(question: bytes) -> bytes:
    """No error, and nothing else: that it came is what counts."""
    return question[:2] + b"\x81\x80" + question[4:] if len(question) > 12 else b""


def _bound(kind: int, address: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((address, port))
    if kind == socket.SOCK_STREAM:
        made.listen(64)
    return made
