"""The command that makes the log's next key: appended, never in place of one, and kept from others."""

from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from audit.note import KeyList


def rotate(path: Path) -> str:
    said = StringIO()
    call_command("rotate_log_key", str(path), stdout=said)
    return said.getvalue().strip()


def test_a_new_key_is_appended_and_signs(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    first, second = rotate(path), rotate(path)
    keys = KeyList.parse(path.read_text())
    assert [str(key) for key in keys.verifiers] == [first, second]
    assert (str(keys.newest.verifier), keys.newest.name) == (second, settings.LOG_ORIGIN)
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_is_no_file_of_keys_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("nonsense\n")
    with pytest.raises(CommandError, match="is not a file of signing keys"):
        rotate(path)
    assert path.read_text() == "nonsense\n"
