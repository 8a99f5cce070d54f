"""The encodings in which a known secret is looked for.

Exact; hex; base64 of both alphabets at all three alignments (so also inside Basic auth), and the same inside a URL or
a JSON text; percent-encoded and JSON-escaped, whole or as the usual libraries do it; HTML-escaped. Not found:
percent-encoding of an arbitrary part, hex in mixed case, base64 broken by line ends, compression, encryption, and every
encoding of an encoding that is not named above.
"""

import base64
import html
import json
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

# What encodeURIComponent and encodeURI of JavaScript leave as it is, besides what Python always leaves.
_COMPONENT = "!'()*"
_URI = _COMPONENT + ";/?:@&=+$,#"
_HTML_SAFE_JSON = str.maketrans({char: f"\\u{ord(char):04x}" for char in "<>&"})


def encodings(secret: bytes) -> dict[bytes, str]:
    """Pattern -> the encoding's name. A pattern that several encodings make has the first one's name."""
    found: dict[bytes, str] = {}
    for name, patterns in (
        ("exact", [secret]),
        ("base64", _base64(secret)),
        ("hex", [secret.hex().encode(), secret.hex().upper().encode()]),
        ("url", _url(secret)),
        ("json", _json(secret)),
        ("html", [html.escape(secret.decode("latin-1")).encode("latin-1")]),
    ):
        for pattern in patterns:
            found.setdefault(pattern, name)
    return found


def _base64(secret: bytes) -> Iterator[bytes]:
    """The characters that the secret alone decides; at either end up to four bits of it may stay outside."""
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for before in range(3):
            text = encode(bytes(before) + secret)
            core = text[-(-before * 8 // 6) : (before + len(secret)) * 8 // 6]
            quoted = quote(core, safe="").encode()
            yield from (core, quoted, _lower_hex(quoted), core.replace(b"/", b"\\/"))


def _url(secret: bytes) -> Iterator[bytes]:
    texts = [quote(secret, safe=safe).encode() for safe in ("", "/", _COMPONENT, _URI)]
    texts += [quote_plus(secret).encode(), b"".join(b"%%%02X" % byte for byte in secret)]
    for text in texts:
        yield from (text, _lower_hex(text))


def _lower_hex(quoted: bytes) -> bytes:
    first, *rest = quoted.split(b"%")
    return b"%".join([first, *(part[:2].lower() + part[2:] for part in rest)])


def _json(secret: bytes) -> Iterator[bytes]:
    try:
        text = secret.decode()
    except UnicodeDecodeError:
        return
    plain, ascii_only = json.dumps(text, ensure_ascii=False)[1:-1], json.dumps(text)[1:-1]
    units = text.encode("utf-16-be").hex()
    whole = "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
    for escaped in (plain, ascii_only, plain.translate(_HTML_SAFE_JSON), ascii_only.translate(_HTML_SAFE_JSON), whole):
        for slashed in (escaped, escaped.replace("/", "\\/")):
            yield from (slashed.encode(), _upper_escapes(slashed).encode())


def _upper_escapes(escaped: str) -> str:
    first, *rest = escaped.split("\\u")
    return "\\u".join([first, *(part[:4].upper() + part[4:] for part in rest)])
