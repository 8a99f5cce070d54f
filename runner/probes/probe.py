"""What a probe is: what it tries, what of it was real elsewhere, how it succeeds where there is no boundary.

Names and addresses of the laboratory: ALLOWED may be reached at /ok/ and by TLS, EVIL may not, METADATA is where clouds
answer. All three are the canary.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

ALLOWED, EVIL, RESOLVER = "203.0.113.10", "203.0.113.66", "203.0.113.53"
EVIL6, METADATA, METADATA6 = "2001:db8::66", "169.254.169.254", "fd00:ec2::254"
ADDRESSES = (ALLOWED, EVIL, RESOLVER, METADATA, EVIL6, METADATA6)
TCP_PORTS, UDP_PORTS = (53, 80, 443, 853, 8080), (53, 443, 5353)


class Judge(StrEnum):
    """Who says whether it crossed."""

    CANARY = "canary"
    INSIDE = "inside"
    LIFE = "life"


@dataclass(frozen=True)
class Probe:
    """`what` names a function of inside.py with its arguments; `control` are the arguments that differ without a
    boundary. `gateway`: it needs one; `terminal`: it needs to be in front of one.

    What stands in braces in the arguments is filled in by the laboratory.
    """

    id: str
    title: str
    what: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    control: Mapping[str, Any] = field(default_factory=dict)
    judge: Judge = Judge.INSIDE
    gateway: bool = False
    source: str = ""
    terminal: bool = False
