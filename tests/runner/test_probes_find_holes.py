"""Sandboxes with one hole each: the probe for it says crossed, so that held means something."""

import json
import subprocess
import sys

import pytest

from runner.sandbox import bubblewrap, filter
from tests.serving import REPOSITORY

NETWORK = """
bubblewrap.UNSHARED = tuple(one for one in bubblewrap.UNSHARED if one != "--unshare-net")
laboratory.Laboratory._start_gateway = lambda self: None
"""
PROCESSES = 'bubblewrap.UNSHARED = tuple(one for one in bubblewrap.UNSHARED if one != "--unshare-pid")'
NAMESPACES = """
filter.REFUSED, filter.NEW_NAMESPACES = {}, 0
bubblewrap.UNSHARED = tuple(one for one in bubblewrap.UNSHARED if one != "--disable-userns")
"""
FILES = """
mounts = bubblewrap._mounts
def with_tmp(spec, open_ones):
    argv = mounts(spec, open_ones)
    argv[argv.index("--dir"):argv.index("--dir")] = ["--ro-bind", "/tmp", "/tmp"]
    return argv
bubblewrap._mounts = with_tmp
"""
HOLES = {
    "network": (NETWORK, ["N01", "N03", "M01", "X11"]),
    "processes": (PROCESSES, ["X04"]),
    "system calls": ("filter.REFUSED = filter.ABSENT = {}", ["K08", "K11"]),
    "namespaces": (NAMESPACES, ["K01", "K19"]),
    "sockets": ("filter._socket = lambda: [(6, 0, 0, 0x7FFF0000)]", ["N13"]),
    "files": (FILES, ["F01", "F05", "F14"]),
}
RUN = """
import runner.probes.__main__ as probes
from runner.probes import laboratory
from runner.sandbox import bubblewrap, filter
{hole}
raise SystemExit(probes.main())
"""


@pytest.mark.parametrize("hole", HOLES)
def test_a_hole_is_found(hole: str):
    code, ids = HOLES[hole]
    ended = subprocess.run(
        ["unshare", "--net", "--mount", "--propagation", "private", sys.executable, "-c", RUN.format(hole=code)],
        cwd=REPOSITORY,
        input=json.dumps({"sandbox": "bubblewrap", "image": None, "ids": ids, "command": []}) + "\n",
        capture_output=True,
        text=True,
    )
    outcomes = {one["id"]: one["outcome"] for one in map(json.loads, ended.stdout.splitlines()) if "id" in one}
    assert outcomes == dict.fromkeys(ids, "crossed"), ended.stdout + ended.stderr


def test_the_holes_are_made_in_what_the_sandbox_really_uses():
    assert {"--unshare-net", "--unshare-pid", "--disable-userns"} <= set(bubblewrap.UNSHARED)
    assert "bpf" in filter.REFUSED
