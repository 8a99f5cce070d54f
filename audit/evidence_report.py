"""The readable part of an evidence file: one HTML page without script, and the words around it. Imports no Django.

Everything that events hold is somebody else's text: it is escaped, and what hides or reorders is shown as U+FFFD.
"""

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from audit.event import OUTCOMES
from audit.evidence import (
    CHECKPOINT,
    INDEX,
    KEYS,
    TIMESTAMP,
    Item,
    Line,
    Manifest,
    Span,
    entry_name,
    proof_name,
    unproven_name,
    visible,
)

# More rows than this a browser does not scroll well; the index has all of them.
MOST_SHOWN = 20_000
LONGEST_TEXT = 2_000
HEADINGS = ("No.", "Time (UTC)", "Who", "What", "Outcome", "Evidence")


def text(value: object) -> str:
    """Escaped, on one line, and no longer than a reader bears."""
    shown = visible(str(value))
    return escape(shown if len(shown) <= LONGEST_TEXT else f"{shown[:LONGEST_TEXT]}…")


def row(item: Item, line: Line) -> str:
    """One event as a row of its stream's table."""
    content = item.content
    outcome = str(content["outcome"])
    said = f"<q>{text(line.quote)}</q>" if line.quote else ""
    note = f"<p>{text(line.note)}</p>" if line.note else ""
    about = " ".join(f"<code>{text(each)}</code>" for each in (line.host, line.path) if each)
    cells = (
        f"{item.seq}",
        f"<time>{text(str(content['occurred_at']).replace('T', ' ').removesuffix('Z'))}</time>",
        f"{text(line.who)}",
        f"{text(line.what)} {said}{note}{f'<p>{about}</p>' if about else ''}<small>{text(content['kind'])}</small>",
        f'<b class="{outcome if outcome in OUTCOMES else ""}">{text(outcome)}</b>',
        _links(item),
    )
    labelled = [f'<td data-label="{label}">{each}</td>' for label, each in zip(HEADINGS, cells, strict=True)]
    return f"<tr>{''.join(labelled)}</tr>\n"


def _links(item: Item) -> str:
    if item.leaf is None:
        return f'<a href="{unproven_name(item)}">event</a> <strong>not proven</strong>'
    return f'<a href="{entry_name(item.leaf)}">entry {item.leaf}</a> <a href="{proof_name(item.leaf)}">proof</a>'


def opening(item: Item) -> str:
    """The beginning of a stream's table."""
    session = item.content.get("session")
    what = f"Session {session}" if session == item.stream else f"Stream {item.stream}"
    heads = "".join(f'<th scope="col">{each}</th>' for each in HEADINGS)
    return f"<section><h2>{text(what)}</h2><table><thead><tr>{heads}</tr></thead><tbody>\n"


CLOSING = "</tbody></table></section>\n"


def page(manifest: Manifest, keys: Sequence[str], rows: Iterable[bytes]) -> Iterator[bytes]:
    """The whole page around rows that were made before."""
    yield _head(manifest, keys).encode()
    yield from rows
    shown = min(manifest.events, MOST_SHOWN)
    if shown < manifest.events:
        rest = f"The first {shown:,} of {manifest.events:,} events are shown here; {INDEX} has all of them."
        yield f'<p class="warn">{rest}</p>'.encode()
    if not manifest.events:
        yield b"<p>No event matches what was asked for.</p>"
    yield b"</main></body></html>\n"


def _head(manifest: Manifest, keys: Sequence[str]) -> str:
    title = text(manifest.selection.get("title", ""))
    facts = "".join(f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in facts_of(manifest))
    warnings = "".join(f'<p class="warn">{text(each)}</p>' for each in warnings_of(manifest))
    listed = "".join(f"<li><code>{text(key)}</code></li>" for key in keys)
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>Evidence: {title}</title><style>{STYLE}</style></head><body><main>"
        f"<header><p>Drawbridge evidence file</p><h1>{title}</h1></header>"
        f"{warnings}<dl>{facts}</dl><details><summary>Keys, as this log names them</summary><ul>{listed}</ul>"
        "<p>A file cannot vouch for its own keys: compare them with those that you were given another way.</p>"
        "</details>"
        "<p>This page is for reading. What proves anything are the entries, the proofs and the checkpoint beside it: "
        "README.txt says how to verify them.</p>\n"
    )


def facts_of(manifest: Manifest) -> list[tuple[str, str]]:
    facts = [
        ("Made at", manifest.made_at),
        ("Log", manifest.origin),
        ("Checkpoint", f"{manifest.size:,} entries, root {manifest.root}"),
        ("Events", f"{manifest.events:,}"),
    ]
    for name, label in (("since", "Recorded from"), ("until", "Recorded before")):
        if manifest.selection.get(name):
            facts.append((label, str(manifest.selection[name])))
    if manifest.timestamp and not manifest.timestamp.get("problem"):
        facts.append(("Time-stamp", f"{TIMESTAMP}, by {manifest.timestamp['authority']}"))
    return facts


def warnings_of(manifest: Manifest) -> list[str]:
    """What a reader must know before anything else; empty where all is as it should be."""
    found = []
    if manifest.unproven:
        found.append(
            f"{manifest.unproven:,} of the events are not proven: no checkpoint covered them when this file was made. "
            "Make the file again in a minute; if it says so again, the log's integrator is not running."
        )
    for span in manifest.missing:
        found.append(f"{_numbers(span)} of stream {span.stream} are not in the database any more.")
    if manifest.timestamp and manifest.timestamp.get("problem"):
        found.append(f"There is no time-stamp: {manifest.timestamp['problem']}.")
    return found


def _numbers(span: Span) -> str:
    return f"Events {span.first_seq:,} to {span.last_seq:,}"


def readme(manifest: Manifest) -> str:
    """How to verify the file, for somebody who has nothing else."""
    stamped = (
        f"\nThe time-stamp (RFC 3161), with the authority's root certificate in ca.pem:\n\n"
        f"    openssl ts -verify -in {TIMESTAMP} -data {CHECKPOINT} -CAfile ca.pem\n"
        if manifest.timestamp and not manifest.timestamp.get("problem")
        else ""
    )
    return (
        f"EVIDENCE FROM THE LOG {manifest.origin}\n"
        f"{visible(str(manifest.selection.get('title', '')))}\n\n"
        "To verify all of it, offline, from the ZIP or from the folder that it was unpacked to:\n\n"
        "    drawbridge verify-log FILE --key VKEY [--witness VKEY ...]\n\n"
        f"VKEY is the log's verifier key. {KEYS} has it, but a file cannot vouch for its own keys: take it from\n"
        "where you were given it before, and compare. Nothing is asked of any server. Exit code 0 means that every\n"
        "event here is, byte for byte, in the log that the checkpoint signs for; another code comes with a reason.\n\n"
        "One event without our tools: SHA-256 of a zero byte and entries/<leaf>.json is the leaf of an RFC 6962 tree;\n"
        "proofs/<leaf>.tlog-proof (c2sp.org/tlog-proof) leads from it to the root in the checkpoint\n"
        f"(c2sp.org/tlog-checkpoint), which is signed with Ed25519 (c2sp.org/signed-note).\n{stamped}\n"
        f"{INDEX} has one line for each event. A cell that a spreadsheet would take for a formula begins with '.\n"
        "Columns who, host and path may show what is sealed in the entries; all others repeat the entries.\n\n"
        "What is not proven: that an export of a person or a period has all events (an export of a session has its\n"
        "numbers from 1 without gaps; whether later ones exist, the log says), and what agents say of themselves.\n"
        "That this file was made, with its SHA-256, is an event of the log itself: log.exported.\n"
    )


STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#171b20;--soft:#525b66;--line:#d5d9de;--sunk:#f1f3f5;--bad:#a81e1e;--wait:#7d4b00}
@media(prefers-color-scheme:dark){:root{--paper:#101316;--ink:#e7eaed;--soft:#a4adb8;--line:#30363d;--sunk:#1b2026;--bad:#ff9a90;--wait:#eebd63}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
main{max-width:76rem;margin:0 auto;padding:1.5rem 1rem 3rem}h1{font-size:1.5rem;line-height:1.2;margin:.1rem 0 1rem}h2{font-size:1.05rem;margin:2rem 0 .5rem}
header p,dt,small,summary{color:var(--soft)}header p,p{margin:0 0 .5rem}code{font:.875em ui-monospace,"DejaVu Sans Mono",monospace}
dl{display:grid;gap:.35rem;margin:0 0 1rem}dl div{display:grid;grid-template-columns:9rem 1fr;gap:.5rem}dd{margin:0}
.warn{border-inline-start:4px solid var(--wait);background:var(--sunk);padding:.6rem .8rem;font-weight:600}
table{width:100%;border-collapse:collapse}th{text-align:start;white-space:nowrap;font-size:.8rem;color:var(--soft)}th,td{padding:.4rem .5rem;border-bottom:1px solid var(--line);vertical-align:top}
td:first-child,time{font-variant-numeric:tabular-nums;white-space:nowrap}td p{margin:.15rem 0}td small{display:block}b{font-weight:600;white-space:nowrap}.denied,.failure,td strong{color:var(--bad)}
a{color:inherit}details{margin-bottom:.75rem}td a{white-space:nowrap;margin-inline-end:.4rem}
@media(max-width:44rem){thead{display:none}tr{display:block;padding:.6rem 0;border-bottom:1px solid var(--line)}td{display:grid;grid-template-columns:6.5rem 1fr;gap:.5rem;border:0;padding:.1rem 0}td::before{content:attr(data-label);color:var(--soft);font-size:.8rem}td>*{grid-column:2}dl div{grid-template-columns:1fr;gap:0}}
@media print{:root{color-scheme:light;--paper:#fff;--ink:#000;--soft:#444;--line:#bbb;--sunk:#fff;--bad:#900;--wait:#630}body{font-size:9pt}main{max-width:none;padding:0}thead{display:table-header-group}tr{break-inside:avoid}details>*{display:block}a{text-decoration:none}}
"""  # noqa: E501 - a style sheet
