"""What is tried inside a sandbox. Python's standard library alone: it runs with whatever python3 is there.

`python3 inside.py NAME JSON` prints one line of JSON: {"crossed": true | false, "saw": text}. Where somebody outside
counts what arrives, `crossed` is only this side's view.
"""

import contextlib
import ctypes
import errno
import glob
import json
import os
import socket
import ssl
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Sequence

LIBC = ctypes.CDLL(None, use_errno=True)
PROXY = ("127.0.0.1", 3128)
WAIT_S = 2.0
Result = tuple[bool, str]
Place = tuple[str, int]
# On x86_64 and aarch64.
CALLS = {
    "add_key": (248, 217), "bpf": (321, 280), "clock_settime": (227, 112), "finit_module": (313, 273),
    "io_uring_setup": (425, 425), "kexec_load": (246, 104), "keyctl": (250, 219), "mount": (165, 40),
    "open_by_handle_at": (304, 265), "perf_event_open": (298, 241), "pidfd_getfd": (438, 438), "pivot_root": (155, 41),
    "process_vm_readv": (310, 270), "ptrace": (101, 117), "setns": (308, 268), "sethostname": (170, 161),
    "swapon": (167, 224), "unshare": (272, 97), "userfaultfd": (323, 282), "init_module": (175, 105),
    "fsopen": (430, 430), "quotactl": (179, 60), "syslog": (103, 116),
}  # fmt: skip
# The kernel did not get as far as looking at what was asked.
BARRED = {errno.EPERM, errno.ENOSYS, errno.EACCES}


def tcp(
    host: str, port: int, nonce: str = "", family: int | None = None, tls: bool = False, name: str | None = None
) -> Result:
    """A connection, and the nonce through it."""
    family = family or (socket.AF_INET6 if ":" in host else socket.AF_INET)
    with socket.socket(family, socket.SOCK_STREAM) as made:
        made.settimeout(WAIT_S)
        made.connect((host, port))
        if tls:
            context = _trusting()
            context.wrap_socket(made, server_hostname=name).sendall(nonce.encode())
        else:
            made.sendall(nonce.encode())
        return True, f"connected to {host} port {port}"


def udp(host: str, port: int, nonce: str = "", payload: str | None = None) -> Result:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as made:
        made.settimeout(0.3)
        made.sendto(bytes.fromhex(payload) if payload else nonce.encode(), (host, port))
        with contextlib.suppress(OSError):
            made.recv(100)
        return True, f"a datagram to {host} port {port} was sent"


def named(name: str, port: int, nonce: str = "") -> Result:
    """A name in whatever notation, resolved by the system, and connected to without a proxy."""
    for family, kind, protocol, _, address in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM):
        with socket.socket(family, kind, protocol) as made:
            made.settimeout(WAIT_S)
            made.connect(address)
            made.sendall(nonce.encode())
            return True, f"{name} is {address[0]}, and answers"
    return False, "no address"


def resolve(name: str) -> Result:
    return True, f"{name} is {socket.getaddrinfo(name, 80)[0][4][0]}"


def query(server: str, name: str, kind: int = 1, tcp_too: bool = False) -> Result:
    """A question to a resolver of one's own choice."""
    labels = b"".join(bytes([len(one)]) + one.encode() for one in name.split("."))
    question = struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, 1)
    if tcp_too:
        with socket.create_connection((server, 53), WAIT_S) as made:
            made.sendall(struct.pack(">H", len(question)) + question)
            made.settimeout(0.5)
            answer = made.recv(600)[2:]
    else:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
            made.settimeout(0.5)
            made.sendto(question, (server, 53))
            answer = made.recv(600)
    return answer[3] & 15 == 0, f"the resolver answered {answer[3] & 15}"


def icmp(host: str) -> Result:
    kind = socket.SOCK_RAW if os.geteuid() == 0 else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP) as made:
        made.settimeout(0.5)
        packet = struct.pack(">BBHHH", 8, 0, 0, 7, 1)
        total = sum(struct.unpack(">4H", packet))
        made.sendto(struct.pack(">BBHHH", 8, 0, ~total & 0xFFFF, 7, 1), (host, 0))
        made.recv(100)
        return True, f"{host} answers a ping"


def opens_socket(family: int, kind: int, protocol: int = 0) -> Result:
    with socket.socket(family, kind, protocol):
        return True, "the kernel gave the socket"


def route() -> Result:
    """Bring an address into the network: RTM_NEWADDR for the loopback."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as made:
        body = struct.pack("=BBBBI", 2, 32, 0, 0, 1)
        for which in (2, 1):
            body += struct.pack("=HH4s", 8, which, bytes([198, 18, 7, 7]))
        made.send(struct.pack("=IHHII", 16 + len(body), 20, 0x605, 1, 0) + body)
        code = struct.unpack("=i", made.recv(200)[16:20])[0]
        return code in (0, -errno.EEXIST), f"the kernel answered {code}"


def proxied(raw: str, direct: Place | None = None, more: Sequence[str] | None = None) -> Result:
    """Bytes to the proxy as they are; without a boundary, to where they should go."""
    with socket.create_connection((direct[0], direct[1]) if direct else PROXY, WAIT_S) as made:
        made.settimeout(WAIT_S)
        made.sendall(raw.encode("latin-1"))
        answer = _read(made)
        for piece in more or ():
            made.sendall(piece.encode("latin-1"))
            answer += _read(made)
        return answer[:12].endswith(b"200"), answer[:90].decode("latin-1").replace("\r\n", " ")


def tunnelled(
    host: str, port: int, sni: str | None = None, inner: str = "", direct: Place | None = None, hello: str | None = None
) -> Result:
    """CONNECT, TLS with a name of one's own choice, and a request inside."""
    with socket.create_connection((direct[0], direct[1]) if direct else PROXY, WAIT_S) as made:
        made.settimeout(WAIT_S)
        if not direct:
            made.sendall(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
            answer = _read(made)
            if not answer[:12].endswith(b"200"):
                return False, answer[:60].decode("latin-1").replace("\r\n", " ")
        if hello:
            made.sendall(bytes.fromhex(hello))
            return False, f"after the hello came {_read(made)[:20].hex()}"
        if direct:
            made.sendall(inner.encode())
            return True, "sent without a boundary"
        context = _trusting()
        with context.wrap_socket(made, server_hostname=sni) as inside:
            inside.sendall(inner.encode())
            answer = inside.recv(4096)
            return answer[:12].endswith(b"200"), answer[:60].decode("latin-1").replace("\r\n", " ")


def socks(raw: str, direct: Place | None = None, nonce: str = "") -> Result:
    """SOCKS5 to the proxy: the greeting, then the request's bytes (hex)."""
    if direct:
        return tcp(direct[0], direct[1], nonce)
    with socket.create_connection(PROXY, WAIT_S) as made:
        made.settimeout(WAIT_S)
        made.sendall(b"\5\1\0")
        greeted = made.recv(2)
        made.sendall(bytes.fromhex(raw))
        answer = made.recv(10)
        if answer[1:2] == b"\0":
            made.sendall(nonce.encode())
        return answer[1:2] == b"\0", f"greeted with {greeted.hex()}, answered {answer.hex()}"


def follows(url: str, direct: Place | None = None) -> Result:
    """A request whose redirect is followed, as every client does."""
    import urllib.request

    proxies = {} if direct else {"http": f"http://{PROXY[0]}:{PROXY[1]}"}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies))
    with opener.open(url, timeout=WAIT_S) as answer:
        return True, f"came to {answer.geturl()} with {answer.status}"


def without_proxy(host: str, port: int, nonce: str) -> Result:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            del os.environ[name]
    os.environ["NO_PROXY"] = "*"
    return tcp(host, port, nonce)


def reads(path: str, nonce: str) -> Result:
    """A file, by its path and by every other way to the same file."""
    last = ""
    for root in ("", "/proc/self/root", "/proc/1/root", "/proc/self/cwd/" + "../" * 12):
        try:
            with open(root + path, "rb") as file:
                if nonce.encode() in file.read(65536):
                    return True, f"read {root + path}"
        except OSError as error:
            last = os.strerror(error.errno or 0)
    return False, last


def linked(path: str, nonce: str) -> Result:
    """Through a symbolic link in the workspace."""
    link = f"link-{nonce}"
    os.symlink(path, link)
    try:
        with open(link, "rb") as file:
            return nonce.encode() in file.read(65536), "read through the link"
    finally:
        os.unlink(link)


def hard_linked(path: str, nonce: str) -> Result:
    link = f"hard-{nonce}"
    os.link(path, link)
    try:
        return True, "linked"
    finally:
        os.unlink(link)


def writes(path: str, nonce: str = "") -> Result:
    """Open for writing, and write where the file is one of the laboratory's."""
    made = os.open(path, os.O_WRONLY | (os.O_CREAT if nonce else 0), 0o600)
    try:
        if nonce:
            os.write(made, nonce.encode())
        return True, f"{path} could be opened for writing"
    finally:
        os.close(made)


def link_out(path: str, nonce: str) -> Result:
    """Write through a symbolic link that points out of the workspace."""
    link = f"out-{nonce}"
    os.symlink(path, link)
    try:
        return writes(link, nonce)
    finally:
        os.unlink(link)


def environment(nonce: str) -> Result:
    return any(nonce in value for value in os.environ.values()), f"{len(os.environ)} variables"


def others(what: str, nonce: str) -> Result:
    """What the processes of others show: environ, cmdline, their root or their memory map."""
    seen = 0
    for path in glob.glob(f"/proc/[0-9]*/{what}"):
        try:
            with open(path, "rb") as file:
                seen += 1
                if nonce.encode() in file.read(1 << 20) and path.split("/")[2] != str(os.getpid()):
                    return True, f"read {path}"
        except OSError:
            continue
    return False, f"{seen} processes, none of them another's"


def unix(path: str, nonce: str = "") -> Result:
    with socket.socket(socket.AF_UNIX) as made:
        made.settimeout(WAIT_S)
        made.connect("\0" + path[1:] if path.startswith("@") else path)
        with contextlib.suppress(OSError):
            made.sendall(nonce.encode() or b".")
        return True, f"{path} answers"


def pointed(variable: str, fallback: str, nonce: str = "") -> Result:
    """A socket that a variable of the environment names."""
    return unix(os.environ.get(variable, fallback).replace("unix:path=", ""), nonce)


def signals(pid: int) -> Result:
    os.kill(pid, 0)
    return True, f"process {pid} can be signalled"


def call(name: str, *arguments: str | int) -> Result:
    """A system call. Crossed if the kernel looked at its arguments."""
    number = CALLS[name][os.uname().machine == "aarch64"]
    values = [
        ctypes.create_string_buffer(one.encode()) if isinstance(one, str) else ctypes.c_long(one) for one in arguments
    ]
    ctypes.set_errno(0)
    answer = LIBC.syscall(ctypes.c_long(number), *values)
    code = ctypes.get_errno()
    return (
        answer >= 0 or code not in BARRED,
        f"{name} answered {answer} ({os.strerror(code) if answer < 0 else 'done'})",
    )


def clones() -> Result:
    """A new user namespace by clone, as unshare does not show it."""
    pid = os.fork()
    if pid == 0:
        os._exit(0 if LIBC.unshare(0x10000000) == 0 else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, "a child tried"


def reads_memory(pid: int) -> Result:
    with open(f"/proc/{pid}/mem", "rb"):
        return True, f"the memory of {pid} can be read"


def enters(pid: int) -> Result:
    made = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)
    answer = LIBC.setns(made, 0)
    code = ctypes.get_errno()
    # A program with threads cannot enter, but was let to try.
    return answer == 0 or code not in BARRED, os.strerror(code)


def device() -> Result:
    path = "device-probe"
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))
        os.close(os.open(path, os.O_RDONLY))
        return True, "a device was made, and opened"
    finally:
        if os.path.exists(path):
            os.unlink(path)


def disks() -> Result:
    for path in ("/dev/mem", "/dev/kmsg", "/dev/kvm", *glob.glob("/dev/[sv]d[a-z]"), *glob.glob("/dev/nvme*")):
        try:
            os.close(os.open(path, os.O_RDONLY))
            return True, f"{path} can be opened"
        except OSError:
            continue
    return False, "no device of the machine is there"


def privileges() -> Result:
    """Whether a set-uid program could still make us more than we are."""
    with open("/proc/self/status") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    return status["NoNewPrivs"] == "0", f"NoNewPrivs {status['NoNewPrivs']}, CapBnd {status['CapBnd']}"


def types() -> Result:
    """A character typed into the controlling terminal for whoever reads it next."""
    import fcntl

    made = os.open("/dev/tty", os.O_RDWR)
    fcntl.ioctl(made, 0x5412, b"x")
    return True, "typed into the terminal"


def stays(path: str) -> Result:
    """A process of its own session that ignores signals, and beats until it is killed."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            import signal

            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            end = time.monotonic() + 20
            while time.monotonic() < end:
                with open(path, "w") as file:
                    file.write(f"{os.getpid()} {time.time_ns()}")
                time.sleep(0.02)
        os._exit(0)
    time.sleep(0.3)
    return False, "left behind"


def _trusting() -> ssl.SSLContext:
    """Whoever attacks does not look at certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _read(made: socket.socket) -> bytes:
    try:
        return made.recv(8192)
    except TimeoutError:
        return b""


def drive() -> None:
    """One probe for each line of standard input, each in a process of its own; its answer is one line."""
    for line in sys.stdin:
        ran = subprocess.run(
            [sys.executable, __file__, *json.loads(line)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=15,
        )
        said = ran.stdout.strip() or json.dumps({"crossed": False, "saw": f"ended with {ran.returncode}"})
        print(said, flush=True)


def main() -> None:
    if len(sys.argv) == 1:
        return drive()
    name, arguments = sys.argv[1], json.loads(sys.argv[2])
    try:
        crossed, saw = globals()[name](*arguments.pop("args", ()), **arguments)
    except Exception as error:
        crossed, saw = False, f"{type(error).__name__}: {error}"
    shown = "".join(one if one.isprintable() else "." for one in str(saw))
    print(json.dumps({"crossed": bool(crossed), "saw": shown[:200]}), flush=True)


if __name__ == "__main__":
    main()
