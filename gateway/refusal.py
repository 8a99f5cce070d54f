"""Why a transform does not go on; whatever is raised here is a denial.

    Refusal
    ├── HeadError        a request head that cannot be what it says
    ├── InjectionError   a credential that cannot be put in
    ├── SigningError     an AWS request that cannot be signed anew
    └── InflationError   a compressed body that cannot be looked into

Each carries `code`, a stable word for programs, and `detail`, a sentence for people. Neither ever holds a secret.
"""


class Refusal(Exception):
    """The root of the tree."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code, self.detail = code, detail


class HeadError(Refusal):
    """A request head that cannot be what it says."""


class InjectionError(Refusal):
    """A credential that cannot be put in."""


class SigningError(Refusal):
    """An AWS request that cannot be signed anew."""


class InflationError(Refusal):
    """A compressed body that cannot be looked into."""
