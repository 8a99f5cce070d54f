"""Malformed requests by the hundred thousand, against a gateway in a process of its own.

Half are from the corpus (tests/gateway/malformed.py). The others are requests that a rule allows, broken at random
bytes, cut, doubled and glued together: what arrives at the far end, as another HTTP server reads it, must be what
`decide` allows. The canary, which no rule names, must never be connected to.

    script/drill fuzz_gateway [REQUESTS] [SEED]
"""

import random
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from gateway.errors import BadName
from gateway.names import Authority, Host
from gateway.policy import Policy, Request, decide
from tests.gateway import documents
from tests.gateway.bed.control_plane import ControlPlane, Session
from tests.gateway.bed.far_end import Arrived, FarEnd
from tests.gateway.bed.gateways import signed_in
from tests.gateway.bed.processes import GatewayProcess, gateway_process
from tests.gateway.malformed import malformed_requests

HOST, CANARY, INSIDE = "api.example", "canary.evil.example", "/allowed/"
AT_ONCE, PATIENCE_S, LONGEST_ANSWER = 6, 3.0, 65_536
Task = tuple[str, bytes]


@dataclass
class Report:
    """`answers` by kind of request and first status. `problems` is empty if the promises held."""

    requests: int
    seconds: float = 0.0
    peak_kib: int = 0
    arrived: int = 0
    answers: dict[str, Counter[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


class Range:
    """The gateway, a far end that a rule allows, and a canary."""

    def __init__(self, folder: Path, open_: ExitStack) -> None:
        self.plane, self.far, self.canary = ControlPlane(30.0), FarEnd(), FarEnd()
        for one in (self.plane, self.far, self.canary):
            open_.callback(one.close)
        hosts = f"127.0.0.1 {HOST} {CANARY} allowed.com\n"
        self.gateway: GatewayProcess = open_.enter_context(gateway_process(self.plane, folder / "gateway", hosts))
        near = {"host": HOST, "port": self.far.port, "network": "127.0.0.0/8"}
        self.rules = [documents.rule(scheme="http", path=INSIDE, methods=["GET", "POST"], **near)]
        self.session: Session = self.plane.begin(*self.rules, lives_s=7_200)

    def templates(self) -> list[bytes]:
        """Requests that are allowed, by absolute form and inside CONNECT."""
        where = f"{HOST}:{self.far.port}"
        sign = signed_in(self.session)
        bodies = ("Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
        heads = [f"GET {{}}{INSIDE}a?b=c HTTP/1.1\r\nHost: {where}\r\n{{}}\r\n"]
        heads += [f"POST {{}}{INSIDE}p HTTP/1.1\r\nHost: {where}\r\n{{}}{body}" for body in bodies]
        connect = f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n{sign}\r\n"
        absolute = [head.format(f"http://{where}", sign) for head in heads]
        return [text.encode() for text in (*absolute, *(connect + head.format("", "") for head in heads))]

    def tasks(self, count: int, seed: int) -> Iterator[Task]:
        chance, templates, known = random.Random(seed), self.templates(), signed_in(self.session).encode()
        for raw in islice(malformed_requests(seed), count // 2):
            # Signed in, so that it is not the missing name that stops it.
            yield "corpus", raw.replace(b"\r\n", b"\r\n" + known, 1) if b"HTTP/1" in raw else raw
        for _ in range(count - count // 2):
            yield "broken", broken(chance, templates, self.canary.port)

    def asked(self, pool: ThreadPoolExecutor, count: int, seed: int) -> Iterator[tuple[str, str]]:
        """A few thousand at a time: all of them would not fit into memory."""
        tasks = self.tasks(count, seed)
        while some := list(islice(tasks, 2_000)):
            yield from pool.map(self.ask, some)

    def ask(self, task: Task) -> tuple[str, str]:
        """Kind, and the first status of the answer."""
        kind, raw = task
        answer = b""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.gateway.port), PATIENCE_S) as connection:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            while len(answer) < LONGEST_ANSWER and (more := connection.recv(65_536)):
                answer += more
        first = answer[9:12].decode("latin-1")
        return kind, first if answer.startswith(b"HTTP/1.1 ") else "closed" if not answer else "other"

    def check(self, report: Report) -> None:
        if self.canary.connections:
            report.problems.append(f"the canary was connected to {self.canary.connections} times")
        policy = Policy.read(documents.document(*self.rules, not_after="2126-01-01T00:00:00Z"))
        report.arrived = len(self.far.arrived)
        wrong = [one for one in self.far.arrived if not allowed(policy, one, self.far.port)]
        report.problems += [f"arrived, and is not allowed: {one.method} {one.path[:100]!r}" for one in wrong[:10]]
        for kind, statuses in report.answers.items():
            succeeded = sum(count for status, count in statuses.items() if kind == "corpus" and status.startswith("2"))
            if succeeded:
                report.problems.append(f"{succeeded} malformed requests were answered with success")
        if self.ask(("good", self.templates()[0]))[1] != "200":
            report.problems.append("a good request does not pass any more")


def broken(chance: random.Random, templates: list[bytes], canary_port: int) -> bytes:
    """One to three requests that were good, with some of their bytes changed."""
    data = bytearray(b"".join(chance.choice(templates) for _ in range(chance.randint(1, 3))))
    spices = (b"\r\n", b"\n", b"\0", b" ", b"\t", b":", b"%2e%2e/", b"/../", b"\\", b";", b"Content-Length: 3\r\n")
    spices += (b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", f"Host: {CANARY}:{canary_port}\r\n".encode(), b"\xff")
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0:
                data[at:at] = chance.choice(spices)
            case 1:
                del data[at : at + chance.randint(1, 20)]
            case 2:
                data[at : at + 1] = chance.randbytes(1)
            case 3:
                data[at:at] = data[max(0, at - chance.randint(1, 60)) : at]
            case _:
                del data[len(data) - chance.randint(0, 10) :]
    return bytes(data)


def allowed(policy: Policy, arrived: Arrived, port: int) -> bool:
    """Whether `decide` lets this through, as the far end's own parser understood it."""
    try:
        named = Authority.read(arrived.headers.get("Host", ""), 80)
    except BadName:
        return False
    request = Request("http", Host(HOST), port, arrived.method, arrived.path.partition("?")[0])
    return (named.host.text, named.port) == (HOST, port) and bool(decide(policy, request, datetime.now(UTC)))


def run(count: int, seed: int, console: Console) -> Report:
    report, began = Report(count), time.monotonic()
    with tempfile.TemporaryDirectory() as made, ExitStack() as open_:
        range_ = Range(Path(made), open_)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for kind, status in track(range_.asked(pool, count, seed), "Asking", total=count, console=console):
                report.answers.setdefault(kind, Counter())[status] += 1
        range_.check(report)
        report.peak_kib = range_.gateway.peak_kib
    report.seconds = time.monotonic() - began
    return report


def table(report: Report) -> Table:
    shown = Table("requests", "answers", "how many", title=f"{report.requests:,} malformed requests")
    for kind, statuses in report.answers.items():
        for status, count in sorted(statuses.items()):
            shown.add_row(kind, status, f"{count:,}")
    shown.add_row("arrived at the far end, all of them allowed", "", f"{report.arrived:,}")
    shown.add_row("peak memory of the gateway, MiB", "", f"{report.peak_kib / 1024:.0f}")
    shown.add_row("seconds", "", f"{report.seconds:.0f}")
    return shown


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(2**32)
    console = Console()
    console.print(f"seed {seed}")
    report = run(count, seed, console)
    console.print(table(report))
    for problem in report.problems:
        console.print(f"[red]{problem}")
    return int(bool(report.problems))


if __name__ == "__main__":
    sys.exit(main())
