"""Secrets that must be nowhere, and how each is looked for: as it is, and as programs would encode it."""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

SHORTEST = 12


@dataclass
class Canaries:
    """Secrets by what they are. Values that are too short to be told from other text are refused."""

    secrets: dict[str, str] = field(default_factory=dict)

    def add(self, what: str, secret: str) -> None:
        assert len(secret) >= SHORTEST, f"{what} is too short to be searched for"
        self.secrets[what] = secret

    def found_in(self, places: Mapping[str, bytes]) -> list[str]:
        """Each secret that some place has in it, with the place and the encoding."""
        return [
            f"{what} ({form}) in {place}"
            for what, secret in self.secrets.items()
            for form, needle in forms(secret)
            for place, hay in places.items()
            if needle in hay
        ]


def forms(secret: str) -> Iterable[tuple[str, bytes]]:
    """Raw, hex in both cases, URL-encoded, and Base64 at each of the three offsets that text around it can cause."""
    raw = secret.encode()
    yield "raw", raw
    yield "hex", raw.hex().encode()
    yield "HEX", raw.hex().upper().encode()
    if quote(secret, safe="") != secret:
        yield "url", quote(secret, safe="").encode()
    for offset in range(3):
        # The first and last characters also hold bits of what stands around it.
        core = base64.b64encode(b"\0" * offset + raw)[4 if offset else 0 : (offset + len(raw)) // 3 * 4]
        yield f"base64+{offset}", core
        yield f"base64url+{offset}", core.translate(bytes.maketrans(b"+/", b"-_"))
