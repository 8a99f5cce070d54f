"""What changed from one version of a profile to the next."""

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

SIGNS = {"+": "added", "-": "removed", " ": "same"}


@dataclass(frozen=True)
class Line:
    """One line of a diff. `change` is added, removed or same."""

    sign: str
    change: str
    text: str


def pretty(content: Mapping[str, Any]) -> str:
    """A profile version as people read and write it, in the order in which it is documented."""
    order = ("summary", "authorization_details", "limits", "on_suspend")
    ordered = {name: content[name] for name in order if name in content}
    return json.dumps({**ordered, **content}, indent=2, ensure_ascii=False)


def diff(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Line]:
    for line in difflib.ndiff(pretty(old).splitlines(), pretty(new).splitlines()):
        sign = line[0]
        if sign in SIGNS:
            yield Line(sign, SIGNS[sign], line[2:])
