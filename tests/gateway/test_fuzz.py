"""The short form of `script/drill fuzz_gateway`."""

from rich.console import Console

from tests.drills import fuzz_gateway


def test_nothing_is_allowed_that_decide_denies():
    report = fuzz_gateway.run(1_500, 11, Console(quiet=True))
    assert report.problems == []
    assert report.arrived > 100
    assert report.answers["broken"]["400"] > 100
