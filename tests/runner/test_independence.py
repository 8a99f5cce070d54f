"""The runner is installable alone."""

import ast
import sys
from pathlib import Path

import pytest

from tests.serving import REPOSITORY

FILES = sorted((REPOSITORY / "runner").rglob("*.py"))
ALLOWED = {"runner", "httpx", "typer", "rich"}
# What is there only where the whole of Drawbridge is (the command for auditors, a gateway to probe) says so elsewhere.
EXTRA = {
    "rehearsal.py": {"psycopg"},
    "rehearsal_work.py": {"psycopg"},
    "cli.py": {"audit"},
    "laboratory.py": {"gateway"},
}


def imported(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_it_imports_itself_and_what_it_declares(path: Path) -> None:
    assert imported(path) - sys.stdlib_module_names <= ALLOWED | EXTRA.get(path.name, set())
