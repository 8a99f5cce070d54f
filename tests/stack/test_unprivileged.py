"""Under root PostgreSQL's files lie where its own user can reach them, and nowhere else if they can stay at home."""

from pathlib import Path

import pytest

from stack import unprivileged
from stack.data_dir import DataDir


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch, data_folder: Path) -> Path:
    """The folder for what cannot stay in the data folder; changes of owner are left out, so any user may run this."""
    elsewhere = data_folder / "elsewhere"
    monkeypatch.setattr(unprivileged, "ELSEWHERE", elsewhere)
    monkeypatch.setattr(unprivileged, "uid_for_postgres", lambda: unprivileged.UNPRIVILEGED_UID)
    monkeypatch.setattr("os.chown", lambda path, uid, gid: None)
    return elsewhere


def make_data(folder: Path, mode: int) -> DataDir:
    """A data folder below one with this mode."""
    folder.mkdir()
    data = DataDir(folder / "data")
    data.create()
    data.root.chmod(0o711)
    folder.chmod(mode)
    return data


def test_reachable_data_folder_keeps_the_cluster(as_root: Path, data_folder: Path) -> None:
    data = make_data(data_folder / "open", 0o755)
    assert unprivileged.cluster_folder(data) == data.path("postgres")
    assert not as_root.exists()


def test_unreachable_data_folder_links_to_the_cluster_and_forgets_it_with_the_link(
    as_root: Path, data_folder: Path
) -> None:
    data = make_data(data_folder / "closed", 0o700)
    cluster = unprivileged.cluster_folder(data)
    assert cluster.is_relative_to(as_root)
    assert data.path("postgres").resolve() == cluster
    assert unprivileged.cluster_folder(data) == cluster
    unprivileged.forget_cluster(data)
    assert list(as_root.iterdir()) == []


def test_unreachable_programs_are_copied_once_with_their_libraries(as_root: Path, data_folder: Path) -> None:
    package = data_folder / "closed" / "wheel"
    (package / "pginstall18" / "bin").mkdir(parents=True)
    (package / "pginstall18" / "bin" / "postgres").touch()
    package.with_name("wheel.libs").mkdir()
    package.parent.chmod(0o700)
    for _ in range(2):
        root = unprivileged.install_root(package, "1.0")
        assert root == as_root / "postgresql-1.0"
        assert (root / "wheel" / "pginstall18" / "bin" / "postgres").exists()
        assert (root / "wheel.libs").is_dir()


def test_ordinary_user_runs_the_wheel_where_it_is(monkeypatch: pytest.MonkeyPatch, data_folder: Path) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert unprivileged.install_root(data_folder / "wheel", "1.0") == data_folder
