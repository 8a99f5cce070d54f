"""drawbridge exec: what the command gets, what is reported, and that it ends with its session."""

import json
import os
import signal
import sys
import time
import uuid
from pathlib import Path

import psutil
import pytest

from sessions import lifecycle
from sessions.models import AgentSession, Credential
from tests import factories
from tests.runner.conftest import Runner
from tests.serving import free_port, kill, mint, serve

QUERY = "import psycopg; print(psycopg.connect('').execute('SELECT count(*) > 0, current_user FROM orders').fetchone())"
STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if len(sys.argv) > 2:
    child = subprocess.Popen([sys.executable, __file__, sys.argv[2]])
open(sys.argv[1], "w").write(str(os.getpid()))
while True:
    time.sleep(1)
"""


def events(session_id: uuid.UUID, prefix: str = "process.") -> list[dict[str, object]]:
    return [event for event in factories.events_of(session_id) if event["kind"].startswith(prefix)]


def python(code: str) -> list[str]:
    return ["exec", "--", sys.executable, "-c", code]


def test_the_command_reaches_the_database_by_its_service(runner: Runner) -> None:
    runner.begin()
    ended = runner.run(*python(QUERY))

    assert ended.returncode == 0, ended.stderr
    assert "True, 'dbr_" in ended.stdout


def test_the_command_gets_no_token_and_no_key(runner: Runner) -> None:
    session_id = runner.begin()
    ended = runner.run(
        *python("import json, os; print(json.dumps(dict(os.environ)))"),
        DRAWBRIDGE_AGENT_KEY=runner.key,
        PGPASSWORD="another",
    )

    environment = json.loads(ended.stdout)
    assert environment["DRAWBRIDGE_SESSION_ID"] == str(session_id)
    assert not any(part in ended.stdout for part in ("dbk_", "dbs_", "dbd_", "PGPASSWORD"))
    assert not Path(environment["PGSERVICEFILE"]).parent.exists()


def test_the_files_are_in_memory_for_the_owner_alone(runner: Runner) -> None:
    runner.begin()
    code = (
        "import os, stat; f = os.environ['PGPASSFILE']; d = os.path.dirname(f);"
        "print(d, oct(os.stat(d).st_mode & 0o777), oct(os.stat(f).st_mode & 0o777))"
    )
    folder, *modes = runner.run(*python(code)).stdout.split()

    assert modes == ["0o700", "0o600"]
    assert folder.startswith("/dev/shm/") or not os.access("/dev/shm", os.W_OK)


def test_start_and_end_are_reported_with_the_exit_code(runner: Runner) -> None:
    session_id = runner.begin()
    assert runner.run(*python("raise SystemExit(7)")).returncode == 7

    started, ended = events(session_id)
    assert (started["kind"], started["data"]["argv"][0]) == ("process.started", sys.executable)
    assert (ended["kind"], ended["outcome"], ended["data"]["exit_code"]) == ("process.ended", "failure", 7)


@pytest.mark.parametrize(("command", "code"), [(["/nonexistent/x"], 127), (["/etc/hostname"], 126)])
def test_a_command_that_cannot_run_says_so(runner: Runner, command: list[str], code: int) -> None:
    runner.begin()
    ended = runner.run("exec", "--", *command)

    said = [line for line in ended.stderr.splitlines() if line.startswith("drawbridge: ")]
    assert (ended.returncode, len(said), "Traceback" in ended.stderr) == (code, 1, False)


def test_a_session_of_its_own_is_ended_after_the_command(runner: Runner, eventually) -> None:
    process = runner.start(
        "exec", "--profile", "warehouse-orders", "--purpose", "Once", "--", sys.executable, "-c", "print('ran')"
    )
    assert eventually(lambda: AgentSession.objects.filter(purpose="Once", state="requested").exists())
    row = AgentSession.objects.filter(purpose="Once").latest("requested_at")
    lifecycle.approve(row.id, row.team.memberships.get(person__name="Lead").person, row.grant_hash)
    mint(row.id)
    out, err = process.communicate(timeout=30)

    assert (process.returncode, out) == (0, "ran\n"), err
    row.refresh_from_db()
    assert (row.state, row.end_reason) == ("ended", "completed")


def test_a_second_command_gets_a_credential_of_its_own(runner: Runner, eventually) -> None:
    session_id = runner.begin()
    assert runner.run(*python("")).returncode == 0
    process = runner.start(*python(QUERY))
    assert eventually(lambda: Credential.objects.filter(agent_session=session_id, generation=2).exists())
    mint(session_id)
    out, err = process.communicate(timeout=30)

    assert "True, 'dbr_" in out, err


def test_a_kill_ends_a_stubborn_command_and_its_children(runner: Runner, tmp_path: Path, eventually) -> None:
    session_id = runner.begin()
    script, one, two = tmp_path / "stubborn.py", tmp_path / "one", tmp_path / "two"
    script.write_text(STUBBORN)
    process = runner.start("exec", "--", sys.executable, str(script), str(one), str(two))
    assert eventually(lambda: all(path.exists() and path.read_text() for path in (one, two)))
    began = time.monotonic()
    kill(session_id)
    _, err = process.communicate(timeout=30)
    took = time.monotonic() - began

    assert process.returncode == 137
    assert "killed" in err
    assert 4.9 < took < 8
    assert not any(alive(int(path.read_text())) for path in (one, two))
    assert events(session_id)[-1]["data"] == {"pid": int(one.read_text()), "exit_code": 137, "because": "killed"}


def test_a_kill_gives_a_polite_command_its_time(runner: Runner, tmp_path: Path, eventually) -> None:
    session_id = runner.begin()
    note = tmp_path / "note"
    code = (
        "import signal, sys, time; from pathlib import Path\n"
        f"note = Path({str(note)!r})\n"
        "signal.signal(signal.SIGTERM, lambda *_: (note.write_text('tidied'), sys.exit(0)))\n"
        "note.write_text('ready')\ntime.sleep(60)"
    )
    process = runner.start(*python(code))
    assert eventually(lambda: note.exists() and note.read_text() == "ready")
    began = time.monotonic()
    kill(session_id)
    process.communicate(timeout=30)

    assert (process.returncode, note.read_text()) == (137, "tidied")
    assert time.monotonic() - began < 3


def test_the_end_of_the_session_ends_the_command_with_124(runner: Runner, eventually) -> None:
    session_id = runner.begin()
    process = runner.start(*python("import time; time.sleep(60)"))
    assert eventually(lambda: len(events(session_id)) == 1)
    lifecycle.expire(session_id)
    _, err = process.communicate(timeout=30)

    assert (process.returncode, "expired" in err) == (124, True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signals_reach_the_command(runner: Runner, eventually, number: signal.Signals) -> None:
    session_id = runner.begin()
    process = runner.start(*python("import time; time.sleep(60)"))
    assert eventually(lambda: len(events(session_id)) == 1)
    process.send_signal(number)
    process.communicate(timeout=30)

    assert process.returncode == 128 + number or (number == signal.SIGINT and process.returncode in (1, 130))


def test_the_next_generation_replaces_the_files(runner: Runner, tmp_path: Path, eventually) -> None:
    session_id = runner.begin()
    names = tmp_path / "names"
    code = (
        "import os, time; f = os.environ['PGSERVICEFILE']; seen = []\n"
        "while len(seen) < 2:\n"
        "    user = [line for line in open(f) if line.startswith('user=')][0]\n"
        "    seen += [user] if user not in seen else []\n"
        f"    open({str(names)!r}, 'w').write(''.join(seen)); time.sleep(0.05)\n" + QUERY
    )
    process = runner.start(*python(code))
    assert eventually(lambda: names.exists() and names.read_text().count("user=") == 1)
    first = Credential.objects.get(agent_session=session_id)
    lifecycle.rotate(first.id)
    mint(session_id)
    out, err = process.communicate(timeout=30)

    second = Credential.objects.get(agent_session=session_id, generation=2)
    assert names.read_text().split() == [f"user={first.name}", f"user={second.name}"]
    assert second.name in out, err


def test_a_server_that_is_away_does_not_end_the_command(
    runner: Runner, tmp_path: Path, stack_environment: dict[str, str], eventually
) -> None:
    port, go = free_port(), tmp_path / "go"
    with serve(stack_environment, tmp_path / "log", port) as url:
        runner.url = url
        runner.log_in()
        session_id = runner.begin()
        code = f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.05)\n{QUERY}"
        process = runner.start(*python(code))
        assert eventually(lambda: len(events(session_id)) == 1)
    time.sleep(1)
    go.touch()
    out, err = process.communicate(timeout=30)
    assert (process.returncode, "True, 'dbr_" in out) == (0, True), err
    assert "1 events could not be sent" in err
    assert [event["kind"] for event in events(session_id)] == ["process.started"]

    with serve(stack_environment, tmp_path / "log", port):
        assert runner.run("end").returncode == 0
    assert [event["kind"] for event in events(session_id)] == ["process.started", "process.ended"]


def test_one_command_at_a_time_works_in_a_session(runner: Runner, eventually) -> None:
    session_id = runner.begin()
    first = runner.start(*python("import time; time.sleep(60)"))
    assert eventually(lambda: len(events(session_id)) == 1)

    assert runner.run(*python("")).returncode == 2
    first.terminate()
    first.communicate(timeout=30)


def test_a_session_can_be_ended_while_its_command_sends_its_own_events(runner: Runner, eventually) -> None:
    session_id = runner.begin()
    process = runner.start(*python("import time; time.sleep(60)"))
    assert eventually(lambda: len(events(session_id)) == 1)
    ended = runner.run("end")
    _, err = process.communicate(timeout=30)

    assert (ended.returncode, process.returncode) == (0, 124), ended.stderr + err
    assert [event["kind"] for event in events(session_id)] == ["process.started", "process.ended"]


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
