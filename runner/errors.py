"""What can go wrong, in sentences for the person at the terminal.

RunnerError            carries the exit code of the command
    Usage              what was asked for makes no sense here (2)
    Denied             the request was denied or withdrawn, or the session ended before it began (3)
    Lapsed             nobody decided in time (4)
    Unreachable        the control plane does not answer (5)
        Busy           it asks to be left alone for a while: carries for how long
    Refused            the control plane refused: carries status and the stable code of the problem (6)
    NotSignedIn        there is no agent key here (7)
"""


class RunnerError(Exception):
    exit_code = 1


class Usage(RunnerError):
    exit_code = 2


class Denied(RunnerError):
    exit_code = 3


class Lapsed(RunnerError):
    exit_code = 4


class Unreachable(RunnerError):
    exit_code = 5


class Busy(Unreachable):
    def __init__(self, message: str, *, wait_s: float) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class Refused(RunnerError):
    exit_code = 6

    def __init__(self, message: str, *, status: int, code: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    @property
    def over(self) -> bool:
        """The session has ended, or its token is good for nothing any more."""
        return self.code in ("session_ended", "session_killed", "unauthenticated", "not_found")


class NotSignedIn(RunnerError):
    exit_code = 7
