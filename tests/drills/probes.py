"""Every probe in every sandbox that is at hand: ours, and what others run agents in. Makes the table of docs/probes.md.

script/drill probes [--write]
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from runner.probes.catalogue import probes
from runner.probes.outcome import CROSSED, HELD, INVALID, SKIPPED
from runner.probes.probe import Probe
from runner.verification import Verification, verify
from script import check
from tests import node
from tests.drills.stage import REPOSITORY
from tests.runner.docker_daemon import IMAGE, docker_daemon

TABLE = REPOSITORY / "docs/probes.md"
# The example of bubblewrap's own manual for a shell without network, with the folder that one works in.
BWRAP = (
    'exec bwrap --ro-bind / / --dev /dev --proc /proc --bind "$PWD" "$PWD" --unshare-net --unshare-pid '
    '--die-with-parent -- "$@"'
)
# sandbox-runtime joins its arguments for a shell.
SRT = "import os, shlex, sys; os.execvp('node', ['node', *sys.argv[1:4], '-c', shlex.join(sys.argv[4:])])"
SRT_SETTINGS = {
    "network": {"allowedDomains": [], "deniedDomains": []},
    "filesystem": {
        "denyRead": ["~/.ssh", "~/.aws", "~/.kube", "~/.docker", "~/.config"],
        "allowWrite": ["."],
        "denyWrite": [],
    },
}
# What sandbox-runtime needs.
PROGRAMS = {"ripgrep": Path("/usr/bin/rg"), "socat": Path("/usr/bin/socat")}
SIGNS = {HELD: "held", CROSSED: "**crossed**", SKIPPED: "-", INVALID: "?"}
INTRODUCTION = """# Probes

What `drawbridge verify` tries, and what became of it. Written by `script/drill probes --write`.

Each probe is run inside the sandbox, where it has to fail, and again without a boundary, where it has to succeed: a
probe whose control fails counts for nothing (`?`). What has to arrive somewhere is counted by a canary outside. `-` is
what this machine's kernel does not have, or what asks for a gateway of ours where there is none. The laboratory is a
network namespace of its own, with servers in the places of the Internet, of metadata services, of resolvers and of this
machine.

"bubblewrap" and "docker" are ours. "bwrap" is bubblewrap as its manual shows it (read-only root, no network, one
writable folder); "srt" is sandbox-runtime {srt} with no domain allowed and the usual folders of keys denied. Neither
promises all that is tried here: the columns say what an agent could do in each, not that anything in them is broken.
All ran as {user}.

"""


def others(folder: Path) -> Iterator[tuple[str, Sequence[str]]]:
    """Names and commands of what is compared."""
    settings = folder / "srt.json"
    settings.write_text(json.dumps(SRT_SETTINGS))
    srt = node.installed() / "@anthropic-ai/sandbox-runtime/dist/cli.js"
    yield "bwrap", ["sh", "-c", BWRAP, "sh"]
    yield "srt", [sys.executable, "-c", SRT, str(srt), "--settings", str(settings)]


def run(console: Console) -> Mapping[str, Verification]:
    found: dict[str, Verification] = {}
    with tempfile.TemporaryDirectory() as folder:
        wanted: list[tuple[str, str, Sequence[str]]] = [("bubblewrap", "bubblewrap", ()), ("docker", "docker", ())]
        wanted += [(name, "none", command) for name, command in others(Path(folder))] + [("none", "none", ())]
        for name, sandbox, command in wanted:
            with console.status(name) as status:

                def tell(done: int, total: int, name: str = name) -> None:
                    status.update(f"{name}: {done} of {total}")

                found[name] = verify(sandbox, IMAGE, None, tell, command)
            console.print(f"{name}: {counts(found[name])}")
    return found


def counts(one: Verification) -> str:
    return ", ".join(f"{len(one.of(outcome))} {outcome}" for outcome in (HELD, CROSSED, SKIPPED, INVALID))


def table(found: Mapping[str, Verification]) -> str:
    """Markdown: one row for each probe."""
    outcomes = {name: {each.id: each.outcome for each in one.outcomes} for name, one in found.items()}
    lines = ["| probe | what is tried | source | " + " | ".join(found) + " |", "| --- " * (3 + len(found)) + "|"]
    for one in probes():
        signs = " | ".join(SIGNS[outcomes[name][one.id]] for name in found)
        lines.append(f"| {one.id} | {one.title} | {source(one)} | {signs} |")
    totals = " | ".join(f"{len(one.of(HELD))} held, {len(one.of(CROSSED))} crossed" for one in found.values())
    return "\n".join([*lines, f"| | **all {len(probes())}** | | {totals} |", ""])


def source(one: Probe) -> str:
    return one.source.replace("|", "\\|")


def main() -> int:
    parser = argparse.ArgumentParser(prog="script/drill probes")
    parser.add_argument("--write", action="store_true", help=f"write {TABLE.relative_to(REPOSITORY)}")
    options = parser.parse_args()
    console = Console()
    check.ensure_programs(PROGRAMS)
    with tempfile.TemporaryDirectory() as folder, docker_daemon(Path(folder)) as host:
        os.environ["DOCKER_HOST"] = host
        found = run(console)
    if options.write:
        package = node.installed() / "@anthropic-ai/sandbox-runtime/package.json"
        srt, user = json.loads(package.read_text())["version"], "root" if os.geteuid() == 0 else "an ordinary user"
        TABLE.write_text(INTRODUCTION.format(srt=srt, user=user) + table(found))
    ours = [one for name, one in found.items() if name in ("bubblewrap", "docker")]
    return int(any(one.of(CROSSED) or one.of(INVALID) for one in ours))


if __name__ == "__main__":
    sys.exit(main())
