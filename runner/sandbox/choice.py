"""Which sandbox: the strongest that works here, or the one that was asked for. Never silently none."""

from runner.errors import Usage
from runner.sandbox.bubblewrap import Bubblewrap
from runner.sandbox.interface import Sandbox, Unavailable

AUTO, NONE = "auto", "none"


def kinds(image: str | None = None) -> list[Sandbox]:
    """Strongest first: bubblewrap needs no daemon that is root."""
    from runner.sandbox.docker import Docker

    return [Bubblewrap(), Docker(image)]


def names() -> list[str]:
    return [AUTO, *(one.name for one in kinds()), NONE]


def chosen(name: str, image: str | None = None) -> Sandbox | None:
    """The sandbox; None for `none`, which has to be typed. Raises Unavailable, Usage."""
    if name == NONE:
        return None
    known = {one.name: one for one in kinds(image)}
    if name in known:
        why = known[name].available()
        if why is not None:
            raise Unavailable(why)
        return known[name]
    if name != AUTO:
        raise Usage(f"--sandbox is {name!r}, and can be {', '.join(names())}.")
    reasons = []
    for one in known.values():
        why = one.available()
        if why is None:
            return one
        reasons.append(f"{one.name}: {why}")
    raise Unavailable(f"No sandbox works here. {' '.join(reasons)} To go without one, say --sandbox=none.")
