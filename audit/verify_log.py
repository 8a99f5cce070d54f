"""The verifier's command: a log, or an evidence file, from its files alone. Imports no Django.

    drawbridge verify-log PLACE --key VKEY [--witness VKEY ... --quorum N] [--state FILE] [--from N] [--to N]

PLACE is a folder or a URL with checkpoint and tile/, or an evidence file: a ZIP, or the folder that it was unpacked to.

Exit codes:
    0  everything that was asked for is verified
    1  entries, tiles and signed root do not agree, or something is missing
    2  wrong usage
    3  no checkpoint, or not one that a given key signed
    4  the log does not continue the checkpoint that was seen last: forked or rolled back
    5  too few witnesses cosigned
    6  the log, or the state file, could not be read or written
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from audit import note, verify_evidence
from audit.checkpoint import Checkpoint
from audit.cosignature import Quorum, WitnessKey
from audit.errors import FormatError, LogError, ProofError, UnreachableError
from audit.note import VerifierKey
from audit.sources import Source, source
from audit.tiles import WIDTH
from audit.verify import Policy, Progress, Verified, exit_code, first_difference, verify
from audit.verify_evidence import VerifiedEvidence


class State:
    """The file with the checkpoint that was verified last. It is ours alone: guard it as you guard the keys."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def last(self) -> Checkpoint | None:
        """Raises UnreachableError for a file that is not what `remember` wrote, or could not write."""
        if self._path is None:
            return None
        try:
            if not self._path.exists():
                self._path.parent.mkdir(parents=True, exist_ok=True)
                return None
            return Checkpoint.parse(note.parse(self._path.read_bytes())[0])
        except (OSError, FormatError) as error:
            raise UnreachableError(f"the state cannot be read: {error}") from error

    def remember(self, verified: Verified) -> None:
        if self._path is None:
            return
        new = self._path.with_name(f"{self._path.name}.new")
        try:
            with new.open("wb") as file:
                file.write(verified.opened.data)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._path)
        except OSError as error:
            raise UnreachableError(f"the log is verified, but the state cannot be written: {error}") from error


def policy_of(given: argparse.Namespace) -> Policy:
    """Raises FormatError."""
    keys = tuple(VerifierKey.parse(text) for text in note.keys_of(given.key))
    witnesses = tuple(WitnessKey.parse(text) for text in note.keys_of(given.witness))
    least = len(witnesses) if given.quorum is None else given.quorum
    return Policy(given.origin or keys[-1].name, keys, Quorum(witnesses, least))


def bar(done: int, total: int) -> None:
    """A line on a terminal's stderr that is drawn over, some 100 times in all."""
    step = max(1, total // 100 // WIDTH) * WIDTH
    if done % step == 0 or done == total:
        filled = done * 40 // total
        sys.stderr.write(f"\r[{'#' * filled}{'.' * (40 - filled)}] {done:,} of {total:,}")
        sys.stderr.write("\n" if done == total else "")


def parser(prog: str) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog=prog,
        description="Verifies a log from its files alone.",
        epilog=(__doc__ or "").partition("Exit codes:")[1] + (__doc__ or "").partition("Exit codes:")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("place", help="folder or URL with checkpoint and tile/, or an evidence file")
    made.add_argument("--key", action="append", required=True, metavar="VKEY", help="the log's, or a file; repeat")
    made.add_argument("--origin", help="the log's origin; else the name of its last key")
    made.add_argument("--witness", action="append", default=[], metavar="VKEY", help="a witness's key; repeat")
    made.add_argument("--quorum", type=int, metavar="N", help="how many of them must have cosigned; else all")
    made.add_argument("--state", type=Path, metavar="FILE", help="remembers the last checkpoint, and compares with it")
    made.add_argument("--from", type=int, default=0, dest="first", metavar="N", help="first entry, counted from 0")
    made.add_argument("--to", type=int, metavar="N", help="last entry")
    made.add_argument("--against", metavar="PLACE", help="an older copy of the log: names what was hashed anew")
    made.add_argument("--authority", type=Path, metavar="PEM", help="evidence: who must have time-stamped it")
    made.add_argument("--unproven", action="store_true", help="evidence: let events without a proof pass")
    made.add_argument("--quiet", action="store_true", help="no progress bar")
    return made


def report(verified: Verified, seconds: float) -> str:
    tree, span = verified.opened.checkpoint, verified.span
    signed = ", ".join(f"{made.name}+{made.key_id.hex()}" for made in verified.opened.note.verified)
    names = ", ".join(sorted({made.name for made in verified.cosignatures})) or "no witness"
    since = f"continues the {verified.continues.size:,} seen last" if verified.continues else "nothing seen before"
    what = f"entries {span.start:,} to {span.stop - 1:,} of {tree.size:,}" if span else f"no entry of {tree.size:,}"
    gaps = verified.gaps
    gone = f"PRUNED {gaps.entries:,} of them, all below {gaps.minimum:,}: entry {gaps.said_by} says so\n"
    return (
        f"VERIFIED {what} ({verified.entries / seconds:,.0f} entries/s)\n{gone if gaps.missing else ''}"
        f"log {tree.origin}, root {tree.root.hex()}\n"
        f"signed by {signed}; cosigned by {names}; {since}"
    )


def main(
    arguments: Sequence[str] | None = None,
    prog: str = "python -m audit.verify",
    opened: Callable[[str], Source] = source,
) -> int:
    """The command line; `opened` makes a source of the place that was named. Returns the exit code."""
    return run(arguments, prog, opened)[0]


def run(arguments: Sequence[str] | None, prog: str, opened: Callable[[str], Source]) -> tuple[int, Verified | None]:
    """The exit code, and what was verified where that was a log."""
    parsing = parser(prog)
    given = parsing.parse_args(arguments)
    try:
        policy = policy_of(given)
    except FormatError as error:
        parsing.error(str(error))
    end = None if given.to is None else given.to + 1
    if given.first < 0 or (end is not None and end <= given.first):
        parsing.error("--from and --to are entries, the first is 0, and --to is not before --from")
    progress = bar if sys.stderr.isatty() and not given.quiet else None
    state, started = State(given.state), time.perf_counter()
    try:
        if verify_evidence.is_evidence(Path(given.place)):
            print(evidence_report(_evidence(given, policy, progress)))
            return 0, None
        with closing(opened(given.place)) as place:
            verified = verify(place, policy, last=state.last(), first=given.first, end=end, progress=progress)
        state.remember(verified)
    except LogError as error:
        print(f"FAILED{_where(error, given, opened)}: {error}", file=sys.stderr)
        return exit_code(error), None
    print(report(verified, time.perf_counter() - started))
    return 0, verified


def _evidence(given: argparse.Namespace, policy: Policy, progress: Progress | None) -> VerifiedEvidence:
    """Raises LogError."""
    try:
        authorities = given.authority.read_bytes() if given.authority else None
    except OSError as error:
        raise UnreachableError(f"the authority's certificates cannot be read: {error}") from error
    return verify_evidence.verify_evidence(
        Path(given.place), policy, progress, authorities=authorities, unproven=given.unproven
    )


def evidence_report(verified: VerifiedEvidence) -> str:
    tree = verified.opened.checkpoint
    unproven = f"; {len(verified.unproven):,} without a proof, as was allowed" if verified.unproven else ""
    stamped = (
        f"time-stamped {verified.stamped_at:%Y-%m-%d %H:%M:%S} UTC" if verified.stamped_at else "no time stamp checked"
    )
    names = ", ".join(sorted({made.name for made in verified.cosignatures})) or "no witness"
    return (
        f"VERIFIED evidence of {verified.events:,} events{unproven}\n"
        f"log {tree.origin} with {tree.size:,} entries, root {tree.root.hex()}\n"
        f"cosigned by {names}; {stamped}"
    )


def _where(error: LogError, given: argparse.Namespace, opened: Callable[[str], Source]) -> str:
    """The entry that is bad, if it can be named: by the log itself, or by an older copy of it."""
    index = error.index if isinstance(error, ProofError) else None
    if index is None and isinstance(error, ProofError) and given.against:
        try:
            with closing(opened(given.place)) as source, closing(opened(given.against)) as other:
                index = first_difference(source, other)
        except LogError as unreadable:
            return f" (the other copy could not be read: {unreadable})"
    return "" if index is None else f" at entry {index}"
