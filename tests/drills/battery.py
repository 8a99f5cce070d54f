"""The battery that every provider has to pass, and its table in docs/battery.md.

script/drill battery [--write]
"""

import argparse
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path

from script import check
from tests.drills.stage import REPOSITORY

TABLE = REPOSITORY / "docs/battery.md"
TESTS = "tests/sessions/providers/test_battery.py"
INTRODUCTION = """# The battery

What each provider has to keep, against its far end behind a proxy that misbehaves when told to. Written by
`script/drill battery --write`; `script/test` runs all of it. The numbers are tests passed of tests run.

`postgresql` to `kubernetes` are made by a real OpenBao; their secrets are used at a real PostgreSQL, OpenBao, MariaDB,
Valkey, TLS server (with the list of revoked certificates) and sshd. Kubernetes, GitHub, GitLab, AWS and OAuth 2.0 are
stand-ins; GitHub's holds what it is asked against GitHub's own description, those of Kubernetes and GitLab against what
their official Python clients declare, and AWS's is moto with the denies that it lacks. PostgreSQL's proxy stands before
OpenBao: what cuts asks PostgreSQL itself, and is not held up by it.

Faults are 429 with Retry-After, 500, 503, a page of HTML, a connection that is lost before the far end was asked or
after it did as it was told, and one that is slow beyond the time-out. A crash loses the answer to the first, second
... request of a mint: whatever was made has to be found by its name and ended, or never be called revoked (GitHub and
OAuth 2.0: only who shows the token can take it back; AWS: only who has the keys can see them refused). SSH certificates
die by themselves alone: no step calls them dead before.

"""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="script/drill battery")
    parser.add_argument("--write", action="store_true", help=f"write {TABLE.relative_to(REPOSITORY)}")
    asked = parser.parse_args(arguments)
    check.ensure_programs()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        ended = subprocess.run([sys.executable, "-m", "pytest", "-q", TESTS, f"--junitxml={report}"], cwd=REPOSITORY)
        text = table(counted(report))
    print(text)
    if asked.write:
        TABLE.write_text(INTRODUCTION + text)
    return ended.returncode


def counted(report: Path) -> Mapping[str, Mapping[str, tuple[int, int]]]:
    """By test and provider: how many passed, of how many."""
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for one in ET.parse(report).iter("testcase"):
        name, _, parameters = str(one.get("name")).partition("[")
        provider = parameters.rstrip("]").split("-")[0]
        row = found.setdefault(name.removeprefix("test_").replace("_", " "), {})
        passed, run = row.get(provider, (0, 0))
        failed = one.find("failure") is not None or one.find("error") is not None
        row[provider] = passed + (not failed), run + 1
    return found


def table(found: Mapping[str, Mapping[str, tuple[int, int]]]) -> str:
    providers = list(dict.fromkeys(provider for row in found.values() for provider in row))
    lines = [f"| | {' | '.join(providers)} |", f"| --- |{' --- |' * len(providers)}"]
    for test, row in found.items():
        cells = (f"{row[one][0]} of {row[one][1]}" if one in row else "" for one in providers)
        lines.append(f"| {test} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
