"""What changed from one version of a profile to the next."""

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

ORDER = (
    *("summary", "authorization_details", "type", "locations", "actions", "inject", "network", "listen", "limits"),
    *("on_suspend", "sandbox", "verified_within_days", "on_finding"),
)
SIGNS = {"+": "added", "-": "removed", " ": "same"}


@dataclass(frozen=True)
class Line:
    """One line of a diff. `change` is added, removed or same."""

    sign: str
    change: str
    text: str


def pretty(content: Mapping[str, Any]) -> str:
    """A profile version as people read and write it, in the order in which it is documented."""
    return json.dumps(_ordered(content), indent=2, ensure_ascii=False)


def _ordered(value: Any) -> Any:
    if isinstance(value, Mapping):
        known = [name for name in ORDER if name in value]
        return {name: _ordered(value[name]) for name in [*known, *sorted(value.keys() - set(known))]}
    return [_ordered(each) for each in value] if isinstance(value, list) else value


def diff(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Line]:
    for line in difflib.ndiff(pretty(old).splitlines(), pretty(new).splitlines()):
        sign = line[0]
        if sign in SIGNS:
            yield Line(sign, SIGNS[sign], line[2:])
