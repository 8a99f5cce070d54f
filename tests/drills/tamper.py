"""Tampers with a log as the database's superuser who can write to its files too, and looks who finds it.

    script/drill tamper

Each case works on a copy of one installation: its database, its files, its head. What finds it is what an operator has:
`manage.py verify_log` with the state of an earlier verification, and the integrator, which must refuse to go on.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from audit import checkpoint, merkle, tiles
from audit.checkpoint import Checkpoint
from audit.note import SigningKey
from audit.tile_store import FolderStore
from audit.tiles import CHECKPOINT, Edge, Tile
from stack import Stack
from tests.drills.stage import REPOSITORY, UP_S, standing
from tests.waiting import eventually

EVENTS, LATER = 700, 60
BAD = 300
UNGUARDED = "SET session_replication_role = replica"


@dataclass
class Copy:
    """One installation's copy, to be tampered with."""

    stack: Stack
    database: str
    folder: Path
    env: Mapping[str, str]

    @property
    def files(self) -> Path:
        return self.folder / "log-files"

    @property
    def head(self) -> Path:
        return self.folder / "log-head"

    def sql(self, *statements: str) -> list[Any]:
        """As superuser, with every trigger off. Returns the last statement's rows."""
        with self.stack.postgres.connect(self.database) as superuser:
            superuser.execute(UNGUARDED)
            for statement in statements:
                answer = superuser.execute(statement.encode())
            return answer.fetchall() if answer.description else []

    def run(self, *arguments: str, integrator: bool = False) -> "subprocess.CompletedProcess[str]":
        url = self.env["DATABASE_INTEGRATOR_URL" if integrator else "DATABASE_URL"]
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=REPOSITORY,
            env={**os.environ, **self.env, "DATABASE_URL": url},
            capture_output=True,
            text=True,
            timeout=120,
        )

    def verify(self) -> "subprocess.CompletedProcess[str]":
        known = ("--state", str(self.folder / "state"), "--against", str(self.folder / "backup-files"))
        return self.run("verify_log", "--quiet", *known)

    def integrate(self) -> "subprocess.CompletedProcess[str]":
        return self.run("integrate", "--once", integrator=True)

    def append(self, count: int) -> None:
        """Events as the product writes them."""
        subprocess.run(
            [sys.executable, "-m", "tests.drills.tamper", "--append", str(count)],
            cwd=REPOSITORY,
            env={**os.environ, **self.env},
            check=True,
            timeout=120,
        )

    def rewrite(self, changed: Mapping[int, bytes], signer: SigningKey | None = None) -> None:
        """Make the files anew with other entries in these places, signed with `signer` or under the old signature."""
        old, store = self.files, FolderStore(self.folder / "anew")
        tree = Checkpoint.parse((old / CHECKPOINT).read_bytes().partition(b"\n\n")[0] + b"\n")
        entries = [entry for index in range(-(-tree.size // 256)) for entry in bundle(old, index, tree.size)]
        entries = [changed.get(index, entry) for index, entry in enumerate(entries)]
        edge, written = Edge().grown([merkle.leaf_hash(entry) for entry in entries])
        written |= tiles.bundles_grown(0, (), entries)
        store.write({tile.path: data for tile, data in written.items()})
        signed = (old / CHECKPOINT).read_bytes()
        if signer:
            signed = checkpoint.sign(Checkpoint(tree.origin, edge.size, edge.root()), [signer])
        store.swap(CHECKPOINT, None, signed)
        shutil.rmtree(old)
        (self.folder / "anew").rename(old)


def bundle(files: Path, index: int, size: int) -> list[bytes]:
    tile = tiles.tile_of(tiles.ENTRIES, index, size)
    return tiles.decode_bundle((files / tile.path).read_bytes(), tile.width)


@dataclass(frozen=True)
class Case:
    """`exits` and `index` are what verify_log must say; `refused`, that the integrator must not go on."""

    name: str
    act: Callable[[Copy], None]
    exits: int
    index: int | None = None
    refused: bool = False
    says: str = ""


@dataclass
class Result:
    case: Case
    verified: "subprocess.CompletedProcess[str]"
    integrated: "subprocess.CompletedProcess[str] | None" = None
    problems: list[str] = field(default_factory=list)

    @property
    def index(self) -> int | None:
        named = re.search(r"FAILED at entry (\d+)", self.verified.stderr)
        return int(named[1]) if named else None


def at(leaf: int, copy: Copy) -> tuple[str, int]:
    """The stream and number of the event at a leaf."""
    [(stream, seq)] = copy.sql(
        f"SELECT stream, first_seq + {leaf} - first_leaf FROM audit_run WHERE first_leaf <= {leaf} "
        "ORDER BY first_leaf DESC LIMIT 1"
    )
    return str(stream), int(seq)


def alter(copy: Copy) -> None:
    stream, seq = at(BAD, copy)
    copy.sql(
        "UPDATE audit_event SET body = convert_to(replace(convert_from(body, 'UTF8'), 'SELECT', 'DELETE'), 'UTF8') "
        f"WHERE stream = '{stream}' AND seq = {seq}"
    )


def alter_column(copy: Copy) -> None:
    stream, seq = at(BAD, copy)
    copy.sql(f"UPDATE audit_event SET kind = 'agent.note' WHERE stream = '{stream}' AND seq = {seq}")


def delete(copy: Copy) -> None:
    stream, seq = at(BAD, copy)
    copy.sql(f"DELETE FROM audit_event WHERE stream = '{stream}' AND seq = {seq}")


def delete_tail(copy: Copy) -> None:
    """All of the last appends, and the head row as it was before them."""
    copy.sql(
        f"DELETE FROM audit_event AS e USING audit_run AS r WHERE r.stream = e.stream AND r.first_leaf >= {EVENTS} "
        "AND e.seq BETWEEN r.first_seq AND r.last_seq",
        f"DELETE FROM audit_run WHERE first_leaf >= {EVENTS}",
        f"UPDATE audit_head SET size = {EVENTS}, published_size = 0, published_root = sha256('')",
        "UPDATE audit_stream AS s SET last_seq = "
        "(SELECT coalesce(max(last_seq), 0) FROM audit_run WHERE stream = s.id)",
    )


def reorder(copy: Copy) -> None:
    """Two appends of a hundred events each change places."""
    copy.sql(
        f"UPDATE audit_run SET first_leaf = -1 WHERE first_leaf = {BAD}",
        f"UPDATE audit_run SET first_leaf = {BAD} WHERE first_leaf = {BAD + 100}",
        f"UPDATE audit_run SET first_leaf = {BAD + 100} WHERE first_leaf = -1",
    )


def insert(copy: Copy) -> None:
    stream, _ = at(BAD, copy)
    copy.sql(
        "INSERT INTO audit_event SELECT gen_random_uuid(), stream, 100000, occurred_at, recorded_at, outcome, kind, "
        f"actor, host, path, body FROM audit_event WHERE stream = '{stream}' AND seq = 5"
    )


def altered(copy: Copy) -> bytes:
    """The body after it was altered in its row."""
    alter(copy)
    stream, seq = at(BAD, copy)
    [(body,)] = copy.sql(f"SELECT body FROM audit_event WHERE stream = '{stream}' AND seq = {seq}")
    return bytes(body)


def double(copy: Copy) -> None:
    """The number of the log's last event a second time, in the partition of another month."""
    stream, seq = at(EVENTS + LATER - 1, copy)
    copy.sql(
        "INSERT INTO audit_event SELECT '01890000-0000-7000-8000-000000000001', stream, seq, occurred_at, recorded_at, "
        "outcome, 'session.approved', actor, host, path, body FROM audit_event "
        f"WHERE stream = '{stream}' AND seq = {seq}"
    )


def backdate(copy: Copy) -> None:
    stream, seq = at(BAD, copy)
    copy.sql(
        "UPDATE audit_event SET recorded_at = recorded_at - interval '1 year' "
        f"WHERE stream = '{stream}' AND seq = {seq}"
    )


def claim_place(copy: Copy) -> None:
    """A row and a run that nobody integrated, far behind the end."""
    stream, _ = at(BAD, copy)
    copy.sql(
        "INSERT INTO audit_event SELECT gen_random_uuid(), stream, 100000, occurred_at, recorded_at, outcome, kind, "
        f"actor, host, path, body FROM audit_event WHERE stream = '{stream}' AND seq = 5",
        f"INSERT INTO audit_run (stream, first_seq, last_seq, first_leaf) VALUES ('{stream}', 100000, 100000, 10^12)",
    )


def rehash(copy: Copy) -> None:
    copy.rewrite({BAD: altered(copy)})


def replace_key(copy: Copy) -> None:
    copy.rewrite({BAD: altered(copy)}, SigningKey.generate(copy.env["LOG_ORIGIN"]))


def steal_key(copy: Copy) -> None:
    """With the log's own key: only what was seen before, or a witness, can tell."""
    copy.rewrite({BAD: altered(copy)}, SigningKey.parse(Path(copy.env["LOG_SIGNING_KEYS_FILE"]).read_text()))


def swap_tiles(copy: Copy) -> None:
    first, second = (copy.files / Tile(0, index).path for index in (0, 1))
    held = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(held)


def swap_bundle(copy: Copy) -> None:
    first, second = (copy.files / Tile(tiles.ENTRIES, index).path for index in (1, 0))
    first.write_bytes(second.read_bytes())


def remove_bundle(copy: Copy) -> None:
    (copy.files / Tile(tiles.ENTRIES, 1).path).unlink()


def remove_checkpoint(copy: Copy) -> None:
    (copy.files / CHECKPOINT).unlink()
    (copy.head / CHECKPOINT).unlink()


def restore_backup(copy: Copy) -> None:
    """The database alone, as it was before the last appends."""
    clone(copy.stack, "before", copy.database)


def fork(copy: Copy) -> None:
    """A restored database goes on beside the log, with an integrator of its own and other events."""
    restore_backup(copy)
    copy.append(LATER)


CASES = (
    Case("alter an event's row", alter, 1, BAD),
    Case("alter a column beside the body", alter_column, 1, BAD),
    Case("delete an event's row", delete, 1, BAD),
    Case("delete the tail, and set the head row back", delete_tail, 1, EVENTS, refused=True),
    Case("reorder events", reorder, 1, BAD),
    Case("insert a row", insert, 1, says="no append accounts for it"),
    Case("insert a row under a number that is taken", double, 1, EVENTS + LATER - 1),
    Case("insert a row and claim a place for it", claim_place, 1, says="claims to be entry 1000000000000"),
    Case("change when an event was recorded", backdate, 1, BAD),
    Case("hash everything anew, row and files", rehash, 1, BAD),
    Case("hash everything anew, with a key of one's own", replace_key, 3, refused=True),
    Case("hash everything anew, with the log's stolen key", steal_key, 4, BAD, refused=True),
    Case("restore an old backup of the database", restore_backup, 1, EVENTS, refused=True),
    Case("fork: a second integrator on the restored backup", fork, 1, EVENTS, refused=True),
    Case("swap two tiles", swap_tiles, 1, 0),
    Case("put one bundle in another's place", swap_bundle, 1, 256),
    Case("remove a bundle", remove_bundle, 1, 256),
    Case("remove the checkpoint, here and in the head store", remove_checkpoint, 3, refused=True),
)


def clone(stack: Stack, source: str, name: str) -> None:
    with stack.postgres.connect("postgres") as superuser:
        superuser.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
        superuser.execute(f"CREATE DATABASE {name} TEMPLATE {source} OWNER drawbridge_owner".encode())
        superuser.execute(f"GRANT CONNECT ON DATABASE {name} TO drawbridge_app, drawbridge_integrator".encode())


@contextmanager
def installation(stack: Stack) -> Iterator[Callable[[str], Copy]]:
    """An installation with EVENTS events, whose database was backed up, and LATER more; gives copies of it."""
    origin = Copy(stack, "drawbridge", stack.data.root, stack.environment())
    with stack.processes("witness"):
        eventually(lambda: "on 127.0.0.1" in stack.data.log("witness").read_text(), UP_S)
        origin.append(EVENTS)
        origin.integrate().check_returncode()
        clone(stack, "drawbridge", "before")
        origin.verify().check_returncode()
        origin.append(LATER)
        origin.integrate().check_returncode()
    yield lambda name: copied(origin, name)


def copied(origin: Copy, name: str) -> Copy:
    folder = origin.folder / name
    (folder / "backup-files").parent.mkdir()
    for part in ("log-files", "log-head"):
        shutil.copytree(origin.folder / part, folder / part)
    shutil.copy(origin.folder / "state", folder / "state")
    shutil.copytree(origin.folder / "log-files", folder / "backup-files")
    clone(origin.stack, "drawbridge", name)
    changed = {
        url: origin.env[url].rpartition("/")[0] + f"/{name}" for url in ("DATABASE_URL", "DATABASE_INTEGRATOR_URL")
    }
    places = {"LOG_STORE": str(folder / "log-files"), "LOG_HEAD_STORE": str(folder / "log-head")}
    alone = {"LOG_WITNESSES": "[]", "LOG_WITNESS_QUORUM": "0", "ARCHIVE_STORE": ""}
    return Copy(origin.stack, name, folder, {**origin.env, **changed, **places, **alone})


def check(copy: Copy, case: Case) -> Result:
    """Tamper, and hold what finds it against what should."""
    case.act(copy)
    result = Result(case, copy.verify())
    if case.refused:
        result.integrated = copy.integrate()
    said = result.verified
    if said.returncode != case.exits or result.index != case.index or case.says not in said.stderr:
        result.problems.append(f"verify_log: exit code {said.returncode}, entry {result.index}: {said.stderr.strip()}")
    if case.refused and (result.integrated is None or result.integrated.returncode == 0):
        result.problems.append("the integrator went on")
    return result


def append(count: int) -> None:
    import django

    django.setup()
    from django.db import transaction

    from audit import log
    from audit.event import NewEvent

    streams = [uuid.uuid4() for _ in range(2)]
    for start in range(0, count, 100):
        stream = streams[start // 100 % 2]
        numbers = range(start, min(start + 100, count))
        data = [{"statement": f"SELECT {number}", "host": "db.example.test"} for number in numbers]
        events = [NewEvent("db.statement", stream, "person:p", "agent:a", one, agent="agent:a") for one in data]
        with transaction.atomic():
            log.append_batch(stream, events)


def table(results: list[Result]) -> Table:
    made = Table("tampering", "verify_log", "first bad entry", "integrator")
    for result in results:
        integrator = "refuses" if result.integrated and result.integrated.returncode else ""
        index = "" if result.index is None else str(result.index)
        made.add_row(result.case.name, f"exit code {result.verified.returncode}", index, integrator)
    return made


def main() -> int:
    if sys.argv[1:2] == ["--append"]:
        append(int(sys.argv[2]))
        return 0
    with standing() as stack, installation(stack) as copy_of:
        cases = track(list(enumerate(CASES)), "tampering", console=Console(stderr=True))
        results = [check(copy_of(f"case{number}"), case) for number, case in cases]
    Console().print(table(results))
    problems = [f"{result.case.name}: {problem}" for result in results for problem in result.problems]
    print(json.dumps(problems, indent=2) if problems else "Each of them was found.")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
