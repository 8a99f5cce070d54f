"""drawbridge: ask for a session, work in it, end it.

Imports of what is slow stand in the commands, so that --help answers at once.
"""

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from runner.errors import RunnerError, Usage

if TYPE_CHECKING:
    from runner.client import Client
    from runner.confinement import Wanted
    from runner.sandbox.interface import Sandbox
    from runner.settings import Stored
    from runner.spool import Spool

EXIT_CODES = """
Exit codes: 2 usage, 3 denied, 4 nobody decided in time, 5 the server does not answer, 6 the server refused,
7 not logged in, 8 no sandbox works here. exec and run give the command's own, or 124 when its session ran
out, 137 when it was killed, 126 and 127 when the command cannot be run.
"""

app = typer.Typer(
    name="drawbridge",
    help="Short-lived, approved access for AI agents.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
F = TypeVar("F", bound=Callable[..., None])

Session = Annotated[str | None, typer.Option("--session", help="The session's id; without it, the last one.")]
Profile = Annotated[str | None, typer.Option("--profile", help="What to ask for: a profile of your team.")]
Purpose = Annotated[str | None, typer.Option("--purpose", help="What it is for. The lead reads this.")]
Duration = Annotated[str | None, typer.Option("--duration", help="How long: 900, 30m, 1h30m.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]


def plainly(command: F) -> F:
    """An expected failure is one sentence and an exit code, never a traceback."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except RunnerError as error:
            print(f"drawbridge: {error}", file=sys.stderr)
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt:
            raise typer.Exit(130) from None

    return run  # type: ignore[return-value]


@app.command()
@plainly
def login(
    url: Annotated[str | None, typer.Option("--url", envvar="DRAWBRIDGE_URL", help="Where Drawbridge is.")] = None,
    key_file: Annotated[Path | None, typer.Option("--key-file", help="A file that holds the agent key.")] = None,
) -> None:
    """Keep the address and the agent key, after trying them."""
    from runner import settings
    from runner.client import Client

    address = url or typer.prompt("Address of Drawbridge")
    key = settings.key_in(key_file) if key_file else settings.key_of_environment()
    key = key or typer.prompt("Agent key (dbk_...)", hide_input=True).strip()
    me = Client(address).who_am_i(key)
    path = settings.save_account(settings.Account(address.rstrip("/"), key))
    print(f"This is {me.name} of {me.team}; {me.owner} answers for it. Kept in {path}.")
    print(f"It may ask for: {', '.join(me.profiles) or 'nothing yet: its team offers no profile'}.")


@app.command()
@plainly
def request(
    profile: Profile = None,
    purpose: Purpose = None,
    duration: Duration = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the decision.")] = False,
    as_json: Json = False,
) -> None:
    """Ask for a session. Somebody has to approve it in a browser."""
    from runner import terminal

    client, stored = _ask(profile, purpose, duration, as_json)
    if wait:
        stored = _collected(client, stored)
        print(f"Approved: session {stored.session_id}.", file=sys.stderr)
        if as_json:
            terminal.print_json({"session_id": stored.session_id, "state": "approved"})


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@plainly
def exec(
    command: Annotated[list[str], typer.Argument(metavar="-- CMD...", help="The command and its arguments.")],
    session: Session = None,
    profile: Profile = None,
    purpose: Purpose = None,
    duration: Duration = None,
) -> None:
    """Run a command with the session's credentials: PGSERVICE, PGSERVICEFILE and PGPASSFILE are set for it.

    With --profile and --purpose it asks for a session first, and ends it after the command.
    """
    with _session_for(session, profile, purpose, duration) as (client, stored, own):
        code = _run_in(client, stored, command, ends=own)
    raise typer.Exit(code)


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@plainly
def run(
    command: Annotated[list[str], typer.Argument(metavar="-- CMD...", help="The command and its arguments.")],
    profile: Profile = None,
    purpose: Purpose = None,
    duration: Duration = None,
    session: Session = None,
    sandbox: Annotated[str, typer.Option("--sandbox", help="auto, bubblewrap, docker, or none.")] = "auto",
    image: Annotated[str | None, typer.Option("--image", help="The image of the container (docker).")] = None,
    workspace: Annotated[Path, typer.Option("--workspace", help="The folder that it may write to.")] = Path(),
    read: Annotated[list[Path] | None, typer.Option("--read", help="A folder outside that it may read.")] = None,
    env: Annotated[list[str] | None, typer.Option("--env", help="A variable of yours that it gets.")] = None,
    memory: Annotated[int | None, typer.Option("--memory", help="MiB that it may use.")] = None,
) -> None:
    """Ask for a session, and run a command in a sandbox that reaches only what was approved.

    The session ends with the command, unless it was named with --session.
    """
    from runner.confinement import Wanted
    from runner.sandbox import choice, filesystem
    from runner.sandbox.interface import Limits
    from runner.spool import say

    chosen = choice.chosen(sandbox, image)
    say(f"the sandbox is {chosen.name} {chosen.version}." if chosen else "there is NO sandbox, as you asked.")
    readable = [filesystem.checked(one) for one in read or ()]
    limits = Limits(memory_bytes=memory * 1024**2 if memory else None)
    wanted = Wanted(command, filesystem.checked(workspace), env or (), readable, limits)
    with _session_for(session, profile, purpose, duration) as (client, stored, own):
        code = _run_in(client, stored, command, ends=own, sandbox=chosen, wanted=wanted)
    raise typer.Exit(code)


@app.command()
@plainly
def verify(
    command: Annotated[list[str] | None, typer.Argument(help="Another sandbox, as it begins a command line.")] = None,
    sandbox: Annotated[str, typer.Option("--sandbox", help="auto, bubblewrap, docker, or none.")] = "auto",
    image: Annotated[str | None, typer.Option("--image", help="The image of the container (docker).")] = None,
    probe: Annotated[list[str] | None, typer.Option("--probe", help="Only the probe of this id.")] = None,
    as_json: Annotated[Path | None, typer.Option("--json", help="A file for the whole report.")] = None,
    report: Annotated[bool, typer.Option("--report", help="Send it to Drawbridge, for this agent.")] = False,
    framework: Annotated[str, typer.Option("--framework", help="The agent's program, such as claude.")] = "",
) -> None:
    """Try to get out of the sandbox in every way that is known, and say what held.

    A framework's own is probed by its command: `drawbridge verify -- srt`.
    Exit codes: 0 all held, 1 something crossed, 2 something could not be judged.
    """
    import json

    from runner import settings, terminal, verification
    from runner.client import Client

    account = settings.account() if report else None
    with terminal.progress("probes") as tell:
        ids = verification.known(probe)
        found = verification.verify(
            sandbox, image, ids, lambda done, total: tell(f"probes {done} of {total}"), command or ()
        )
    verification.show(found)
    content = found.content(framework, verification.version_of(framework))
    if as_json is not None:
        as_json.write_text(json.dumps(content, indent=2))
    if account is not None:
        Client(account.url).report_verification(account.key, content)
        print("Reported.")
    raise typer.Exit(found.exit_code)


@app.command()
@plainly
def more(
    allow: Annotated[list[str], typer.Option("--allow", help="'GET,POST https://host/path/', or 'forward tcp://h:p'.")],
    reason: Annotated[str, typer.Option("--reason", help="Why. The lead reads this.")],
    network: Annotated[str | None, typer.Option("--network", help="The range of an internal service (CIDR).")] = None,
    duration: Duration = None,
    session: Session = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the decision.")] = True,
) -> None:
    """Ask for what was denied, while the session goes on: a lead decides, and it adds only.

    The agent's next attempt passes as soon as this says that it was approved.
    """
    from runner import more as asking
    from runner import settings, terminal
    from runner.client import Client

    stored = settings.load(session)
    if stored.token is None:
        raise Usage("This session has not begun. Ask for more once it runs.")
    client = Client(stored.url)
    seconds = terminal.seconds(duration or "15m")
    asked = client.ask_more(stored.token, stored.session_id, asking.objects(allow, network), reason, seconds)
    print(f"A lead decides at {asked.link}")
    if wait:
        with terminal.progress("waiting for a decision") as tell:
            decided = asking.wait(client, stored.token, stored.session_id, asked, tell)
        until = f" until {decided.ends_at.astimezone():%H:%M:%S}" if decided.ends_at else ""
        print(f"Approved{until}.")


@app.command()
@plainly
def status(session: Session = None, as_json: Json = False) -> None:
    """Say how a session stands."""
    from runner import settings, terminal
    from runner.client import Client

    stored = settings.load(session)
    found = Client(stored.url).status(stored.token or settings.account().key, stored.session_id)
    if as_json:
        terminal.print_json({"session_id": found.session_id, "state": found.state, "end_reason": found.end_reason})
        return
    until = f" until {found.ends_at.astimezone():%H:%M:%S}" if found.ends_at and not found.over else ""
    print(f"{found.session_id}  {found.how}{until}  {found.purpose}")


@app.command()
@plainly
def end(session: Session = None) -> None:
    """End a session, or take the request back. Its credentials are revoked."""
    from runner import settings
    from runner.client import Client
    from runner.segments import Taken

    stored = settings.load(session)
    client = Client(stored.url)
    if stored.token is None:
        print(_end_without_token(client, stored.session_id))
        return
    # A command that is still running in it sends its own events.
    with suppress(Taken):
        _spool(client, stored).close()
    client.end(stored.token, stored.session_id)
    print("Ended. Its credentials are being revoked.")


@app.command(
    "verify-log", add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True}
)
def verify_log(context: typer.Context) -> None:
    """Verify a log, or an evidence file, from its files alone."""
    try:
        from audit import verify_log
    except ImportError as error:
        say = "verify-log is part of the whole Drawbridge, and this is the runner alone: install drawbridge."
        raise typer.BadParameter(say) from error
    raise typer.Exit(verify_log.main(context.args, "drawbridge verify-log"))


def _end_without_token(client: "Client", session_id: str) -> str:
    from runner import settings

    key = settings.account().key
    if client.status(key, session_id).state == "requested":
        client.withdraw(key, session_id)
        return "The request was taken back."
    client.end(key, session_id)
    return "Ended. Its credentials are being revoked."


def _ask(profile: str | None, purpose: str | None, duration: str | None, as_json: bool) -> "tuple[Client, Stored]":
    from runner import settings, terminal
    from runner.client import Client

    if not profile or not purpose:
        raise Usage("Say what you ask for and why: --profile and --purpose.")
    seconds = terminal.seconds(duration) if duration else None
    account = settings.account()
    client = Client(account.url)
    asked = client.ask(account.key, profile, purpose, seconds)
    stored = settings.Stored(
        asked.session_id, account.url, profile, purpose, device_code=asked.device_code, interval_s=asked.interval_s
    )
    settings.save(stored)
    terminal.show_request(asked, as_json)
    return client, stored


def _collected(client: "Client", stored: "Stored") -> "Stored":
    """The session with its token: waits for the decision if need be."""
    from dataclasses import replace

    from runner import settings, terminal
    from runner.asking import wait_for_token

    if stored.token is not None:
        return stored
    if stored.device_code is None:
        raise Usage("This session has no token here. Ask for a new one.")
    with terminal.progress("waiting for approval") as tell:
        granted = wait_for_token(client, stored.device_code, stored.interval_s, tell)
    begun = replace(stored, token=granted.token, device_code=None)
    settings.save(begun)
    return begun


@contextmanager
def _session_for(
    session: str | None, profile: str | None, purpose: str | None, duration: str | None
) -> "Iterator[tuple[Client, Stored, bool]]":
    """The session to work in, alone and with its token; and whether it is for this command only."""
    from runner import settings
    from runner.client import Client

    own = profile is not None or purpose is not None
    if own and session is not None:
        raise Usage("Give either --session, or --profile and --purpose.")
    if own:
        client, stored = _ask(profile, purpose, duration, as_json=False)
    else:
        stored = settings.load(session)
        client = Client(stored.url)
    with settings.alone(stored):
        yield client, _collected(client, stored), own


def _run_in(
    client: "Client",
    stored: "Stored",
    command: list[str],
    *,
    ends: bool,
    sandbox: "Sandbox | None" = None,
    wanted: "Wanted | None" = None,
) -> int:
    from runner.execution import Execution
    from runner.spool import say

    assert stored.token is not None
    spool = _spool(client, stored)
    execution = Execution(client, stored.token, stored.session_id, spool)
    code = None
    try:
        if sandbox is None or wanted is None:
            code = execution.run(command)
        else:
            from runner.confinement import Confinement

            with Confinement(sandbox, wanted, execution) as confinement:
                code = execution.run(command, confinement.start)
    finally:
        left = spool.close()
        if left:
            say(f"{left} events could not be sent; they are kept, and sent with the next command in this session.")
        if ends:
            _end_quietly(client, stored, code)
    return code


def _spool(client: "Client", stored: "Stored") -> "Spool":
    """What was reported in this session and not sent yet, and what will be."""
    from runner import settings
    from runner.spool import Spool

    assert stored.token is not None
    return Spool(settings.spool_file(stored.session_id), functools.partial(client.report, stored.token))


def _end_quietly(client: "Client", stored: "Stored", code: int | None) -> None:
    """The session was for this command alone. That it is over already, or nobody answers, changes nothing."""
    from runner.spool import say

    assert stored.token is not None
    try:
        client.end(stored.token, stored.session_id, exit_code=code)
    except RunnerError as error:
        if getattr(error, "over", False):
            return
        say(f"the session could not be ended, and goes on until its own end: {error}")


if __name__ == "__main__":
    app()
