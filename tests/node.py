"""What tests take from npm: Claude Code, to run under the sandbox, and a peer, to be measured beside."""

import hashlib
import shutil
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
LISTED = REPOSITORY / "tests/npm"
FOLDER = REPOSITORY / ".local/npm"


def installed() -> Path:
    """The folder of the locked packages, installed where the lock has changed since. Raises CalledProcessError."""
    lock = LISTED / "package-lock.json"
    digest, stamp = hashlib.sha256(lock.read_bytes()).hexdigest(), FOLDER / "installed"
    if not stamp.exists() or stamp.read_text() != digest:
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir(parents=True)
        for file in (lock, LISTED / "package.json"):
            shutil.copy(file, FOLDER)
        subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=FOLDER, check=True, timeout=600)
        stamp.write_text(digest)
    return FOLDER / "node_modules"
