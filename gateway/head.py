"""The head of a request: an immutable value that each step of the gateway takes and gives on changed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from gateway.refusal import HeadError

Header = tuple[bytes, bytes]
_FORBIDDEN = frozenset(b"\r\n\0")


@dataclass(frozen=True)
class Head:
    """Method, origin-form target (path and query) and headers in their order. repr leaves out what may be secret."""

    method: bytes
    target: bytes
    headers: tuple[Header, ...] = ()

    def __repr__(self) -> str:
        return f"<Head {self.method.decode('latin-1')}: {len(self.headers)} headers>"

    @property
    def path(self) -> bytes:
        return self.target.partition(b"?")[0]

    @property
    def query(self) -> bytes:
        """What follows the first question mark; empty without one."""
        return self.target.partition(b"?")[2]

    @property
    def has_body(self) -> bool:
        """Whether its framing announces one, be it empty."""
        return not {b"transfer-encoding", b"content-length"}.isdisjoint(self._values)

    def all(self, name: bytes) -> Sequence[bytes]:
        """Every value under this name, in order; names are compared without case."""
        return self._values.get(name.lower(), ())

    @cached_property
    def _values(self) -> dict[bytes, list[bytes]]:
        values: dict[bytes, list[bytes]] = {}
        for name, value in self.headers:
            values.setdefault(name.lower(), []).append(value)
        return values

    def one(self, name: bytes) -> bytes | None:
        """The only value under this name, or None. Raises HeadError if there are several."""
        values = self.all(name)
        if len(values) > 1:
            raise HeadError("repeated_header", f"The header {name.decode('latin-1')} is there more than once.")
        return values[0] if values else None

    def without(self, *names: bytes) -> "Head":
        """Without any header of these names."""
        gone = {name.lower() for name in names}
        return (
            self
            if gone.isdisjoint(self._values)
            else self._with(tuple(pair for pair in self.headers if pair[0].lower() not in gone))
        )

    def _with(self, headers: tuple[Header, ...]) -> "Head":
        return Head(self.method, self.target, headers)

    def having(self, name: bytes, value: bytes) -> "Head":
        """With this header, and no other of its name. Raises HeadError for a line end or NUL in name or value."""
        if not _FORBIDDEN.isdisjoint(name + value):
            raise HeadError("header_injection", "A header's name or value holds a line end or NUL.")
        return self._with((*self.without(name).headers, (name, value)))

    def with_query(self, pairs: Iterable[bytes]) -> "Head":
        """With these `name=value` pieces, already encoded, for the query."""
        query = b"&".join(pairs)
        return replace(self, target=self.path + b"?" + query if query else self.path)
