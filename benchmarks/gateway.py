"""Requests through the gateway, beside none, squid, sandbox-runtime's proxy and mitmproxy, all in the same run.

    script/bench gateway [--json] [--seconds S] [--rounds N]

"tunnel" is a GET over TLS through CONNECT, and the proxy sees nothing of it; "blind" is the same where the ends do no
cryptography (a real ClientHello, one small answer), so that nearly all of the time is the proxy's; "inspect" is a GET
over TLS that the proxy looks into, with a credential put in. Connections are kept or new. Each figure is the median of
the rounds, and in each round all take their turn.
"""

import argparse
import base64
import json
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks import proxies
from benchmarks.proxies import LOCAL, REPOSITORY, Proxy
from script import check
from tests import go_programs
from tests.gateway import documents
from tests.gateway.bed.control_plane import ControlPlane, Session
from tests.gateway.bed.far_end import certified
from tests.gateway.bed.processes import gateway_process

HOST, BLIND, SECRET = "api.bench.example", "blind.bench.example", "sk-bench-0123456789abcdef"
PROGRAMS = {"squid": Path("/usr/sbin/squid"), "nodejs": Path("/usr/bin/node")}
IDLE = 500
Figures = dict[str, Any]


class Bench:
    """Far ends, proxies, and the program that asks."""

    def __init__(self, folder: Path, open_: ExitStack) -> None:
        self.load = LOCAL / "load"
        go_programs.build(REPOSITORY / "benchmarks/load", self.load, LOCAL / "go-build")
        self.far_ca, _ = certified(folder, HOST, BLIND, "localhost")
        far = subprocess.Popen(
            [self.load, "serve", folder / "far.pem", folder / "far.key"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        open_.callback(far.communicate)
        assert far.stdout is not None
        self.ports: dict[str, int] = json.loads(far.stdout.readline())
        self.plane = ControlPlane(30.0)
        open_.callback(self.plane.close)
        hosts = f"127.0.0.1 {HOST} {BLIND}\n"
        self.process = open_.enter_context(gateway_process(self.plane, folder / "gateway", hosts, self.far_ca))
        self.ours = self.as_session(self.begin(), folder / "session.pem")
        header = f"Authorization: Bearer {SECRET}"
        self.proxies: dict[str, Proxy | None] = {
            "direct": None,
            "ours": self.ours,
            "squid": open_.enter_context(proxies.squid(folder / "squid")),
            "srt": open_.enter_context(proxies.sandbox_runtime()),
            "mitmproxy": open_.enter_context(proxies.mitmproxy(folder / "mitmproxy", self.far_ca, header)),
        }

    def begin(self) -> Session:
        near = {"network": "127.0.0.0/8"}
        inject = {"slot": "secret:bench", "as": "bearer"}
        rules = [documents.tunnel(id=f"1.{port}", host=BLIND, port=port, **near) for port in self.ports.values()]
        web = self.ports["web"]
        rules.append(documents.rule(id="2", host=HOST, port=web, path="/", methods=None, inject=inject, **near))
        return self.plane.begin(*rules, lives_s=7200, secrets={"secret:bench": {"type": "secret", "value": SECRET}})

    def as_session(self, session: Session, ca_file: Path) -> Proxy:
        """The gateway as this session sees it: with its own credentials, and its own authority."""
        pair = base64.b64encode(f"{session.id}:{session.secret}".encode()).decode()
        asked = ["curl", "-sf", "-x", f"http://{session.id}:{session.secret}@127.0.0.1:{self.process.port}"]
        asked.append("http://gateway.drawbridge.internal/ca.pem")
        ca_file.write_bytes(subprocess.run(asked, capture_output=True, check=True).stdout)
        return Proxy(self.process.port, HOST, f"Basic {pair}", str(ca_file))

    def ask(self, name: str, kind: str, kept: bool, connections: int, seconds: float) -> Figures:
        proxy = self.proxies[name]
        port = self.ports["blind" if kind == "blind" else "web"]
        host = proxy.host if proxy else "localhost"
        ours = proxy.ca_file if proxy and kind == "inspect" else ""
        asked = {
            "proxy": f"127.0.0.1:{proxy.port}" if proxy else "",
            "authorization": proxy.authorization if proxy else "",
            "host": BLIND if host == HOST and kind != "inspect" else host,
            "port": str(port),
            "cafile": ours or str(self.far_ca),
            "blind": kind == "blind",
            "kept": kept,
            "connections": connections,
            "seconds": seconds,
            "headers": "Authorization: Bearer placeholder\r\n",
        }
        ran = subprocess.run([self.load, "ask"], input=json.dumps(asked), capture_output=True, text=True, check=True)
        measured: Figures = json.loads(ran.stdout)
        if measured["errors"]:
            raise RuntimeError(f"{name}, {kind}: {measured['errors']} requests failed: {measured['why']}")
        return measured


THROUGH = ("direct", "ours", "squid", "srt")
WHO = {"tunnel": THROUGH, "blind": THROUGH, "inspect": ("direct", "ours", "mitmproxy")}


def cases() -> list[tuple[str, bool, int, str]]:
    """Kind, whether connections are kept, how many, by whom."""
    return [
        (kind, kept, connections, name)
        for kind, names in WHO.items()
        for kept in (False, True)
        for connections in (1, 32)
        for name in names
    ]


def measured(bench: Bench, seconds: float, rounds: int, console: Console) -> dict[str, Figures]:
    """By "kind new|kept connections who": the medians."""
    found: dict[str, list[Figures]] = {}
    turns = [case for _ in range(rounds) for case in cases()]
    for kind, kept, connections, name in track(turns, "Asking", console=console):
        figures = bench.ask(name, kind, kept, connections, seconds)
        found.setdefault(f"{kind} {'kept' if kept else 'new'} {connections} {name}", []).append(figures)
    return {
        case: {key: round(median(one[key] for one in several), 3) for key in ("rps", "p50_ms", "p99_ms")}
        for case, several in found.items()
    }


def idle_kib(bench: Bench, folder: Path, count: int) -> float:
    """What a session takes that made one inspected request and keeps its connection, in KiB of resident memory."""
    port = bench.ports["web"]
    before, kept = bench.process.resident_kib, []
    for _ in range(count):
        one = bench.as_session(bench.begin(), folder / "one.pem")
        connection = socket.create_connection(("127.0.0.1", one.port))
        connection.sendall(
            f"CONNECT {HOST}:{port} HTTP/1.1\r\nProxy-Authorization: {one.authorization}\r\n\r\n".encode()
        )
        assert connection.recv(4_096).startswith(b"HTTP/1.1 200")
        inside = ssl.create_default_context(cafile=one.ca_file).wrap_socket(connection, server_hostname=HOST)
        inside.sendall(f"GET /v1/rows HTTP/1.1\r\nHost: {HOST}:{port}\r\n\r\n".encode())
        assert inside.recv(4_096).startswith(b"HTTP/1.1 200")
        kept.append(inside)
    grown = bench.process.resident_kib - before
    for inside in kept:
        inside.close()
    return round(grown / count, 1)


def summary(cases: Mapping[str, Figures], kib: float) -> Figures:
    tunnels = {name: cases[f"tunnel new 32 {name}"]["rps"] for name in WHO["tunnel"]}
    added = cases["inspect kept 1 ours"]["p50_ms"] - cases["inspect kept 1 direct"]["p50_ms"]
    return {
        "tunnel_new_32": {
            "rps": tunnels["ours"],
            **{f"{name}_rps": rps for name, rps in tunnels.items() if name != "ours"},
        },
        "inspect_keepalive": {
            "rps": cases["inspect kept 32 ours"]["rps"],
            "mitmproxy_rps": cases["inspect kept 32 mitmproxy"]["rps"],
            "direct_rps": cases["inspect kept 32 direct"]["rps"],
        },
        "inspect_added_p50_ms": round(added, 3),
        "kib_per_idle_session": kib,
        "cases": cases,
    }


def shown(found: Figures, console: Console) -> None:
    table = Table("case", "who", "requests/s", "p50 ms", "p99 ms", title="Requests through proxies")
    for case, figures in found["cases"].items():
        what, _, name = case.rpartition(" ")
        table.add_row(what, name, f"{figures['rps']:,.0f}", f"{figures['p50_ms']:.2f}", f"{figures['p99_ms']:.2f}")
    console.print(table)
    tunnels, inspected = found["tunnel_new_32"], found["inspect_keepalive"]
    console.print(f"new tunnels, 32 at once: {tunnels['rps'] / tunnels['squid_rps']:.2f} of squid's rate")
    console.print(f"inspected, 32 at once: {inspected['rps'] / inspected['mitmproxy_rps']:.1f} times mitmproxy's rate")
    console.print(f"added by inspecting, p50: {found['inspect_added_p50_ms']} ms")
    console.print(f"an idle session: {found['kib_per_idle_session']} KiB")


def main() -> None:
    parser = argparse.ArgumentParser(prog="script/bench gateway")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    check.ensure_programs(PROGRAMS)
    console = Console(stderr=options.json)
    with tempfile.TemporaryDirectory() as made, ExitStack() as open_:
        bench = Bench(Path(made), open_)
        kib = idle_kib(bench, Path(made), IDLE)
        found = summary(measured(bench, options.seconds, options.rounds, console), kib)
    if options.json:
        print(json.dumps(found))
    else:
        shown(found, console)


if __name__ == "__main__":
    main()
