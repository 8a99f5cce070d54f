"""What the tests of the stack look at beside the stack itself: time, and the processes of this machine."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.waiting import becomes


@pytest.fixture
def data_folder() -> Iterator[Path]:
    """A data folder that another user may pass through, which pytest's own folders forbid."""
    folder = Path(tempfile.mkdtemp(prefix="drawbridge-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], bool]:
    """Whether a condition becomes true within fifteen seconds."""

    return partial(becomes, within_s=15)


@pytest.fixture
def processes_marked() -> Callable[[str], list[str]]:
    """Every process of this machine that inherited a mark in its environment, as its command line."""

    def find(mark: str) -> list[str]:
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if mark.encode() in (process / "environ").read_bytes() and process.name != str(os.getpid()):
                    found.append((process / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue
        return [line for line in found if line]

    return find
