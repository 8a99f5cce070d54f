"""Denials as an agent understands them: problem details (RFC 9457) that say what, why, and where to ask for it."""

from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from gateway.policy import Code, Verdict

MEDIA_TYPE = "application/problem+json"
TYPE = "https://drawbridge.dev/problems/egress-denied"
STATUSES: Mapping[Code, int] = {
    Code.BAD_REQUEST: 400,
    Code.NAMES_DISAGREE: 421,
    Code.EXPIRED: 403,
    Code.OVER: 403,
    Code.SHUT: 503,
    Code.SPOOL: 503,
    Code.FAULT: 503,
}
# What no request for more can change.
OURS = frozenset({Code.BAD_REQUEST, Code.SHUT, Code.SPOOL, Code.FAULT, Code.OVER, Code.EXPIRED, Code.LEAK})
POLICY = "This is policy, not a fault: do not retry, and do not look for another way."


@dataclass(frozen=True)
class Denial:
    """One answer of no."""

    verdict: Verdict
    host: str = ""
    port: int = 0
    method: str | None = None
    path: str | None = None
    ask: str = ""
    event: str = ""

    @property
    def code(self) -> Code:
        return self.verdict.code or Code.FAULT

    @property
    def status(self) -> int:
        return STATUSES.get(self.code, 403)

    @property
    def retry(self) -> bool:
        """Whether the same request may pass a little later."""
        return self.status == 503

    @property
    def detail(self) -> str:
        said = [self.verdict.text]
        if not self.retry:
            said.append(POLICY)
        if self.ask and self.code not in OURS:
            said.append(f"Ask for it at {self.ask}")
        return " ".join(said)

    def body(self) -> bytes:
        return orjson.dumps(
            {
                "type": TYPE,
                "title": "Blocked by policy" if not self.retry else "Not let through now",
                "status": self.status,
                "detail": self.detail,
                "code": self.code,
                "host": self.host,
                "port": self.port,
                "method": self.method,
                "path": self.path,
                "ask": self.ask or None,
                "retry": self.retry,
                "event": self.event or None,
            }
        )
