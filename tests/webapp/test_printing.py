"""A log line that cannot be written is lost, and nothing else."""

import io

from webapp.printing import Printer


class Full(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_a_line_is_printed() -> None:
    out = io.StringIO()
    Printer(out).error("a line")
    assert out.getvalue() == "a line\n"


def test_a_full_disk_loses_the_line_alone() -> None:
    for level in ("debug", "info", "warning", "error", "critical", "exception"):
        getattr(Printer(Full()), level)("a line")
