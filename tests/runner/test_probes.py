"""The probes: all of them hold in our sandbox, each could have crossed, and a hole is found."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from runner.errors import RunnerError
from runner.probes import inside
from runner.probes.catalogue import probes
from runner.probes.hellos import encrypted
from runner.probes.outcome import CROSSED, HELD, INVALID, SKIPPED, Outcome
from runner.verification import EXIT_CROSSED, EXIT_HELD, EXIT_UNKNOWN, Verification, verify
from tests.serving import REPOSITORY


def test_there_are_more_than_a_hundred_each_with_its_own_name_and_a_function_that_exists():
    found = probes()
    assert len(found) >= 120
    assert len({one.id for one in found}) == len({one.title for one in found}) == len(found)
    assert all(callable(getattr(inside, one.what)) for one in found)
    assert sum(bool(one.source) for one in found) > 60


def test_every_probe_holds_in_bubblewrap_and_every_control_crosses():
    heard: list[tuple[int, int]] = []
    found = verify("bubblewrap", None, None, lambda done, total: heard.append((done, total)))
    assert [
        (one.id, one.outcome, one.saw, one.why) for one in found.outcomes if one.outcome in (CROSSED, INVALID)
    ] == []
    # What this machine's kernel was built without cannot be tried on it.
    assert {one.id for one in found.of(SKIPPED)} <= {"K13", "K14", "K24"}
    assert found.exit_code == EXIT_HELD
    assert heard[-1] == (len(found.outcomes), len(probes()))


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [([HELD], EXIT_HELD), ([HELD, SKIPPED], EXIT_HELD), ([HELD, CROSSED, INVALID], EXIT_CROSSED),
     ([HELD, INVALID], EXIT_UNKNOWN), ([SKIPPED], EXIT_UNKNOWN)],
)  # fmt: skip
def test_the_exit_code_tells_held_crossed_and_unknown_apart(outcomes, code):
    found = Verification("x", "1", [Outcome(str(at), "t", "t", "", one) for at, one in enumerate(outcomes)])
    assert found.exit_code == code


def test_the_report_names_what_crossed_and_what_was_not_judged():
    outcomes = [
        Outcome("A", "t", "t", "", CROSSED),
        Outcome("B", "t", "t", "", INVALID),
        Outcome("C", "t", "t", "", HELD),
    ]
    content = Verification("bubblewrap", "0.8.0", outcomes).content("claude-code", "2.0")
    assert (content["probes"], content["crossed"], content["skipped"]) == (3, ["A"], ["B"])
    assert content["report"][0]["id"] == "A"
    assert (content["framework"], content["framework_version"]) == ("claude-code", "2.0")


def test_the_command_writes_the_report_and_its_exit_code(tmp_path: Path):
    command = [
        sys.executable,
        "-m",
        "runner",
        "verify",
        "--probe",
        "N01",
        "--probe",
        "F01",
        "--json",
        str(tmp_path / "r"),
    ]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "2 of 2 probes held" in ended.stdout
    assert [one["control"] for one in json.loads((tmp_path / "r").read_text())["report"]] == ["crossed", "crossed"]


def test_a_probe_that_does_not_exist_is_named():
    ended = subprocess.run(
        [sys.executable, "-m", "runner", "verify", "--probe", "Z99"], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert (ended.returncode, "Z99" in ended.stderr) == (2, True)


def test_the_hello_that_hides_its_name_is_one_that_the_gateway_reads():
    from gateway.clienthello import read

    hello = read(encrypted("secure.probe"))
    assert hello is not None
    assert (hello.name, hello.hidden) == ("secure.probe", True)


@pytest.mark.parametrize("command", [(), ("env",)], ids=["none", "a command"])
def test_what_is_no_sandbox_crosses(command: tuple[str, ...]):
    found = verify("none", None, ["N01", "F01", "X04", "L01"], lambda *_: None, command)
    assert (found.sandbox, [one.outcome for one in found.outcomes]) == (
        command[0] if command else "none",
        [CROSSED] * 4,
    )


def test_a_frameworks_own_sandbox_is_probed_by_its_command():
    command = ("bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--unshare-net", "--")
    found = verify("none", None, ["N01", "F05"], lambda *_: None, command)
    assert [one.outcome for one in found.outcomes] == [HELD, CROSSED]
    assert (found.sandbox, found.version.split(" ")[0]) == ("bwrap", "bubblewrap")


def test_a_command_that_is_not_there_is_said():
    with pytest.raises(RunnerError, match="no command 'nothing-here'"):
        verify("none", None, ["N01"], lambda *_: None, ("nothing-here",))
