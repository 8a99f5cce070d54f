"""Which loopback ports the stack uses: asked for, remembered, or free ones."""

import random
import socket
from collections.abc import Mapping

from stack.errors import StackError

PREFERRED = {
    "web": 8000,
    "postgres": 15432,
    "valkey": 16379,
    "openbao": 18200,
    "openbao_cluster": 18201,
    "witness": 18090,
    "gateway": 18080,
}
VARIABLES = {
    "web": "PORT",
    "postgres": "POSTGRES_PORT",
    "valkey": "VALKEY_PORT",
    "openbao": "OPENBAO_PORT",
    "gateway": "GATEWAY_PORT",
}
# Below Linux's ephemeral range, so that no outgoing connection takes a port while its service restarts.
FREE_RANGE = range(20_000, 32_000)


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port(taken: set[int]) -> int:
    """A free port that is not in `taken`."""
    for port in random.sample(FREE_RANGE, k=200):
        if port not in taken and is_free(port):
            return port
    raise StackError("No free port was found between 20000 and 32000. Stop some programs that listen there.")


def asked_for(environ: Mapping[str, str]) -> dict[str, int]:
    """The ports that environment variables ask for; StackError where one is not a port."""
    asked = {}
    for name, variable in VARIABLES.items():
        value = environ.get(variable, "")
        if not value:
            continue
        if not value.isdigit() or not 0 < int(value) < 65536:
            raise StackError(f"{variable} is {value!r}, which is not a port. Give a number from 1 to 65535.")
        asked[name] = int(value)
    return asked


def choose(remembered: Mapping[str, int], asked: Mapping[str, int], prefer: bool = True) -> dict[str, int]:
    """A port for each name: asked for, else remembered, else the preferred one if free, else a free one.

    An asked or remembered port that is taken is an error, because addresses that people know must not move silently.
    """
    chosen: dict[str, int] = {}
    for name, preferred in PREFERRED.items():
        fixed = asked.get(name, remembered.get(name))
        if fixed is None:
            usable = prefer and preferred not in chosen.values() and is_free(preferred)
            fixed = preferred if usable else free_port(set(chosen.values()))
        elif not is_free(fixed):
            raise StackError(taken_sentence(name, fixed))
        elif fixed in chosen.values():
            raise StackError(f"Port {fixed} was asked for twice. Choose different ports.")
        chosen[name] = fixed
    return chosen


def taken_sentence(name: str, port: int) -> str:
    """What a person reads when the port of `name` is taken."""
    variable = VARIABLES.get(name)
    way_out = f" or choose another one with {variable}=<number>" if variable else ""
    return f"Port {port} ({name}) is in use by another program. Stop that program{way_out}."
