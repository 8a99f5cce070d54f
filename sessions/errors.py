"""What can go wrong when state is to change.

LifecycleError
    StateConflict     somebody was first: carries what was expected and what was found
    GrantChanged      the decision was on another grant than the one that stands
    Forbidden         the one who asks may not
    Invalid           what was asked for makes no sense: carries sentences
"""

from collections.abc import Iterable, Sequence


class LifecycleError(Exception):
    """A change of state was refused. The text is meant for the person who asked."""

    code = "refused"


class StateConflict(LifecycleError):
    code = "state_conflict"

    def __init__(self, what: str, *, expected: Iterable[str], found: str) -> None:
        self.expected = tuple(expected)
        self.found = found
        super().__init__(f"The {what} is {found} now, so this can no longer be done. Reload to see it as it is.")


class GrantChanged(LifecycleError):
    code = "grant_changed"

    def __init__(self, *, expected: str, found: str) -> None:
        self.expected = expected
        self.found = found
        super().__init__("The request changed after you opened it. Nothing was decided: reload, and read it again.")


class Forbidden(LifecycleError):
    code = "forbidden"


class Invalid(LifecycleError):
    code = "invalid"

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(" ".join(problems))
