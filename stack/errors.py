"""StackError is the one exception of this package: one plain sentence that says what to do."""


class StackError(Exception):
    """The local stack cannot do what was asked. Its text is shown to a person as it is, without a traceback."""
