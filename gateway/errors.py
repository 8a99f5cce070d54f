"""What can go wrong on the way out. Each is a refusal; none of them lets anything pass.

GatewayError
    BadName        a host, port or path that is written in a way that nobody needs (RFC 3986, UTS 46)
    BadPolicy      a policy document that is not ours, or not of this shape
    BadHello       the first bytes of a tunnel are no TLS ClientHello (RFC 8446 section 4.1.2)
    Denied         the policy says no: carries the verdict
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.policy import Verdict


class GatewayError(Exception):
    """Anything of ours."""


class BadName(GatewayError):
    pass


class BadPolicy(GatewayError):
    pass


class BadHello(GatewayError):
    pass


class Denied(GatewayError):
    """The answer is no. `verdict` says by which rule, and why."""

    def __init__(self, verdict: "Verdict") -> None:
        super().__init__(verdict.text)
        self.verdict = verdict
