"""What a page says when a change of state was refused: with which status, in which words."""

from sessions.errors import Forbidden, GrantChanged, Invalid, LifecycleError, StateConflict

STATUS: dict[type[LifecycleError], int] = {Forbidden: 403, StateConflict: 409, GrantChanged: 409, Invalid: 422}


def status_of(error: LifecycleError | None) -> int:
    """The HTTP status of a page that shows this error, or none."""
    return 200 if error is None else STATUS.get(type(error), 409)
