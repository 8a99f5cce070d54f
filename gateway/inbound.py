"""What an answer becomes before the agent sees it: without the session's secrets, without doors past the gateway."""

from collections.abc import Iterator, Sequence

from gateway import strict
from gateway.head import Head, Header
from gateway.inflating import Inflater, coding_of, inflated
from gateway.outgoing import HOP
from gateway.redaction import Hit, Patterns, Scanner

# The way to another protocol (QUIC) or another port: nothing would be there for the sandbox.
DOORS = (b"alt-svc", b"alternate-protocol", b"proxy-authenticate")


class Inbound:
    """One answer. `hits`: the secrets that were taken out, and where."""

    def __init__(self, patterns: Patterns, headers: Sequence[Header], *, bodiless: bool) -> None:
        """Raises InflationError for a body that cannot be looked into."""
        self._patterns = patterns
        self._header_hits: list[Hit] = []
        head = Head(b"", b"", tuple(headers))
        coding = None if bodiless else coding_of(head)
        self._inflater = Inflater(coding) if coding is not None else None
        kept = head.without(*HOP, *DOORS, *strict.listed(head, b"connection"))
        told = (inflated(kept) if coding is not None else kept).headers
        suspect = patterns.may_be_in(b"\n".join(value for _, value in told))
        self.headers = [self._clean(*pair) for pair in told] if suspect else list(told)
        self._scanner = Scanner(patterns)

    @property
    def hits(self) -> Sequence[tuple[Hit, str]]:
        """Each once, however often it came."""
        found = [(hit, "headers") for hit in self._header_hits] + [(hit, "body") for hit in self._scanner.hits]
        return list(dict.fromkeys(found))

    def feed(self, data: bytes) -> Iterator[bytes]:
        for piece in (data,) if self._inflater is None else self._inflater.feed(data):
            yield self._scanner.feed(piece)

    def finish(self) -> bytes:
        if self._inflater is not None:
            self._inflater.finish()
        return self._scanner.finish()

    def _clean(self, name: bytes, value: bytes) -> Header:
        scanner = Scanner(self._patterns)
        clean = scanner.feed(value) + scanner.finish()
        self._header_hits += scanner.hits
        return name, clean
