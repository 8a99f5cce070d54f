"""PostgreSQL refuses to run as root: where its files lie, and as whom it runs, when we are root."""

import os
import shutil
from pathlib import Path

from stack.data_dir import DataDir

# `nobody` exists everywhere, and initdb refuses a uid that has no name.
UNPRIVILEGED_UID = 65534
ELSEWHERE = Path("/var/lib/drawbridge")


def uid_for_postgres() -> int | None:
    """The uid to change to, or None where we are an ordinary user already."""
    return UNPRIVILEGED_UID if os.geteuid() == 0 else None


def can_be_entered(folder: Path) -> bool:
    """Whether other users may pass through every folder on the way to, and including, this one."""
    return all(parent.stat().st_mode & 0o001 for parent in (folder, *folder.parents))


def install_root(package: Path, version: str) -> Path:
    """Where PostgreSQL's programs can be run from: the wheel itself, or a copy where others cannot reach the wheel."""
    installed = package.parent
    if uid_for_postgres() is None or can_be_entered(package):
        return installed
    copy = ELSEWHERE / f"postgresql-{version}"
    if not copy.exists():
        draft = copy.with_name(f".{copy.name}.{os.getpid()}")
        for name in (f"{package.name}/pginstall18", f"{package.name}.libs"):
            shutil.copytree(installed / name, draft / name, symlinks=True)
        draft.chmod(0o755)
        draft.replace(copy)
    return copy


def cluster_folder(data: DataDir) -> Path:
    """The folder for PostgreSQL's files, made and owned by whom PostgreSQL runs as.

    It lies in the data folder, or, where we are root and other users cannot reach that (below /root, say), under
    /var/lib/drawbridge with a link to it in the data folder.
    """
    folder = data.path("postgres")
    uid = uid_for_postgres()
    if uid is not None and not folder.exists() and not can_be_entered(data.root):
        elsewhere = ELSEWHERE / data.secret_text("instance")
        elsewhere.mkdir(parents=True, exist_ok=True)
        elsewhere.chmod(0o711)
        ELSEWHERE.chmod(0o711)
        folder.symlink_to(elsewhere / "postgres")
        folder = elsewhere / "postgres"
    folder.mkdir(exist_ok=True)
    if uid is not None and folder.stat().st_uid != uid:
        os.chown(folder, uid, uid)
    folder.chmod(0o700)
    return folder.resolve()


def forget_cluster(data: DataDir) -> None:
    """Remove PostgreSQL's files where they lie outside the data folder; the rest goes with that folder."""
    link = data.path("postgres")
    if link.is_symlink():
        shutil.rmtree(link.resolve().parent)
