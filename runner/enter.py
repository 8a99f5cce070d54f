"""`python -m runner.enter FD NETNS KIND:PORT...`: opens listeners inside a sandbox's network, from outside of it.

A process of its own, because whoever enters a user namespace may have no threads. The sockets go back through FD; what
is wrong is said on standard error.
"""

import ctypes
import fcntl
import os
import socket
import sys

NS_GET_USERNS = 0xB701
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
LOCAL = "127.0.0.1"
BACKLOG = 512


def main(arguments: list[str]) -> int:
    number, path, *wanted = arguments
    try:
        _enter(path)
        opened = [_listener(*one.split(":")) for one in wanted]
    except OSError as error:
        print(f"{error.strerror or error}", file=sys.stderr)
        return 1
    with socket.socket(fileno=int(number)) as back:
        socket.send_fds(back, [b"."], [one.fileno() for one in opened])
    return 0


def _enter(path: str) -> None:
    """The user namespace that owns the network first: in it we may do what we like with it, and nothing outside."""
    network = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    owner = fcntl.ioctl(network, NS_GET_USERNS)
    ours = os.stat("/proc/self/ns/user")
    if os.fstat(owner).st_ino != ours.st_ino:
        _setns(owner, CLONE_NEWUSER)
    _setns(network, CLONE_NEWNET)


def _setns(namespace: int, kind: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(namespace, kind):
        number = ctypes.get_errno()
        raise OSError(number, f"the sandbox's network cannot be entered: {os.strerror(number)}")


def _listener(kind: str, port: str) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((LOCAL, int(port)))
        if kind == "tcp":
            made.listen(BACKLOG)
    except OSError as error:
        raise OSError(error.errno, f"nothing can listen on port {port} inside: {error.strerror}") from error
    return made


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
