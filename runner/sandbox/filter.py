"""The system calls that a sandbox does without, as a seccomp program for bubblewrap and as a profile for Docker.

What is refused reaches the kernel's inner parts, other processes or new namespaces; what tools do all day stays.
"""

import errno
import struct
from collections.abc import Mapping, Sequence
from typing import Any

# Their numbers on x86_64 and aarch64; None where there is none.
Numbers = tuple[int | None, int | None]
REFUSED: Mapping[str, Numbers] = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "adjtimex": (159, 171),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "init_module": (175, 105),
    "ioperm": (173, None),
    "iopl": (172, None),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "lookup_dcookie": (212, 18),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "name_to_handle_at": (303, 264),
    "nfsservctl": (180, 42),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_madvise": (440, 440),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "vhangup": (153, 58),
}
# Said not to exist, so that libraries take the older way: clone3 hides its flags behind a pointer.
ABSENT: Mapping[str, Numbers] = {
    "clone3": (435, 435),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
}
CLONE, IOCTL, SOCKET = (56, 220), (16, 29), (41, 198)
# mnt, cgroup, uts, ipc, user, pid, net.
NEW_NAMESPACES = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
SOCK_RAW, SOCK_PACKET, SOCKET_TYPE = 3, 10, 0xF

MACHINES = ("x86_64", "aarch64")
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
X32_BIT = 0x40000000

LOAD, JUMP_EQUAL, JUMP_AT_LEAST, JUMP_SET, AND, RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
NUMBER, ARCH, ARGUMENTS = 0, 4, 16
Instruction = tuple[int, int, int, int]


def program(machine: str) -> bytes:
    """`struct sock_filter[]` for a machine of MACHINES (linux/filter.h). Whatever it does not name is allowed."""
    at = MACHINES.index(machine)
    code = [_load(ARCH), (JUMP_EQUAL, 1, 0, AUDIT_ARCH[machine]), _return(KILL), _load(NUMBER)]
    if machine == "x86_64":
        code += [(JUMP_AT_LEAST, 0, 1, X32_BIT), _refuse(errno.ENOSYS)]
    for numbers, why in ((REFUSED, errno.EPERM), (ABSENT, errno.ENOSYS)):
        for both in numbers.values():
            code += _when(both[at], [_refuse(why)])
    code += _when(CLONE[at], _clone()) + _when(IOCTL[at], _ioctl()) + _when(SOCKET[at], _socket())
    return b"".join(struct.pack("=HBBI", *one) for one in [*code, _return(ALLOW)])


def _clone() -> list[Instruction]:
    return [_argument(0), (JUMP_SET, 0, 1, NEW_NAMESPACES), _refuse(errno.EPERM), _return(ALLOW)]


def _ioctl() -> list[Instruction]:
    """Nothing is typed into a terminal for somebody else."""
    return [
        _argument(1),
        (JUMP_EQUAL, 1, 0, TIOCSTI),
        (JUMP_EQUAL, 0, 1, TIOCLINUX),
        _refuse(errno.EPERM),
        _return(ALLOW),
    ]


def _socket() -> list[Instruction]:
    """Unix; IPv4 and IPv6, but not raw; netlink for routes, which is how libraries list addresses."""
    return [
        _argument(0),
        (JUMP_EQUAL, 9, 0, AF_UNIX),
        (JUMP_EQUAL, 0, 2, AF_NETLINK),
        _argument(2),
        (JUMP_EQUAL, 6, 7, 0),
        (JUMP_EQUAL, 1, 0, AF_INET),
        (JUMP_EQUAL, 0, 6, AF_INET6),
        _argument(1),
        (AND, 0, 0, SOCKET_TYPE),
        (JUMP_EQUAL, 2, 0, SOCK_RAW),
        (JUMP_EQUAL, 1, 0, SOCK_PACKET),
        _return(ALLOW),
        _refuse(errno.EPERM),
        _refuse(errno.EAFNOSUPPORT),
    ]


def profile() -> dict[str, Any]:
    """The same as Docker's JSON takes it (its own libseccomp knows the numbers)."""
    rules = [_rule(list(REFUSED), errno.EPERM), _rule(list(ABSENT), errno.ENOSYS)]
    bits = [1 << at for at in range(32) if NEW_NAMESPACES >> at & 1]
    rules += [_rule(["clone"], errno.EPERM, _masked(0, bit, bit)) for bit in bits]
    rules += [_rule(["ioctl"], errno.EPERM, _masked(1, 0xFFFFFFFF, one)) for one in (TIOCSTI, TIOCLINUX)]
    others = set(range(AF_NETLINK)) - {AF_UNIX, AF_INET, AF_INET6}
    rules += [_rule(["socket"], errno.EAFNOSUPPORT, _compared(0, "EQ", family)) for family in sorted(others)]
    rules += [_rule(["socket"], errno.EAFNOSUPPORT, _compared(0, "GT", AF_NETLINK))]
    rules += [_rule(["socket"], errno.EPERM, _compared(0, "EQ", AF_NETLINK), _compared(2, "NE", 0))]
    for family in (AF_INET, AF_INET6):
        for kind in (SOCK_RAW, SOCK_PACKET):
            rules += [_rule(["socket"], errno.EPERM, _compared(0, "EQ", family), _masked(1, SOCKET_TYPE, kind))]
    return {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}


def _rule(names: list[str], number: int, *arguments: dict[str, Any]) -> dict[str, Any]:
    return {"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": number, "args": list(arguments)}


def _masked(index: int, mask: int, value: int) -> dict[str, Any]:
    return {"index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}


def _compared(index: int, how: str, value: int) -> dict[str, Any]:
    return {"index": index, "value": value, "op": f"SCMP_CMP_{how}"}


def _when(number: int | None, then: Sequence[Instruction]) -> list[Instruction]:
    return [] if number is None else [(JUMP_EQUAL, 0, len(then), number), *then]


def _load(offset: int) -> Instruction:
    return (LOAD, 0, 0, offset)


def _argument(index: int) -> Instruction:
    """Its lower half: both machines are little-endian."""
    return _load(ARGUMENTS + 8 * index)


def _return(action: int) -> Instruction:
    return (RETURN, 0, 0, action)


def _refuse(number: int) -> Instruction:
    return _return(ERRNO | number)
