"""What of the machine can be seen inside, and what the files say that are made for it."""

from pathlib import Path

from runner.errors import Usage

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
# Of /etc: what programs need to start and to check certificates. No accounts, no keys, no configuration of clouds.
ETC = [
    "alternatives",
    "ca-certificates",
    "ca-certificates.conf",
    "debian_version",
    "fonts",
    "host.conf",
    "inputrc",
    "java-17-openjdk",
    "java-21-openjdk",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "localtime",
    "lsb-release",
    "magic",
    "mime.types",
    "os-release",
    "pki/ca-trust",
    "pki/tls/certs",
    "pki/tls/cert.pem",
    "profile",
    "protocols",
    "python3",
    "python3.11",
    "python3.12",
    "python3.13",
    "services",
    "ssl/certs",
    "ssl/cert.pem",
    "ssl/openssl.cnf",
    "terminfo",
    "timezone",
    "vim",
]
# Files of the kernel that tell of others, or act on the whole machine. As container runtimes have it.
PROC_READ_ONLY = ("bus", "fs", "irq", "sys")
PROC_MASKED = [
    "acpi",
    "asound",
    "cmdline",
    "config.gz",
    "kallsyms",
    "kcore",
    "key-users",
    "keys",
    "kmsg",
    "latency_stats",
    "modules",
    "sched_debug",
    "scsi",
    "sysrq-trigger",
    "timer_list",
    "timer_stats",
]
UID = GID = 1000
FILES = {
    "/etc/passwd": f"agent:x:{UID}:{GID}:agent:/home/agent:/bin/sh\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
    "/etc/group": f"agent:x:{GID}:\nnogroup:x:65534:\n",
    "/etc/hosts": "127.0.0.1 localhost sandbox\n::1 localhost sandbox\n",
    "/etc/hostname": "sandbox\n",
    "/etc/resolv.conf": "nameserver 127.0.0.1\noptions timeout:2 attempts:2\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
}


def checked(workspace: Path) -> Path:
    """A folder that may be given away to be written to. Raises Usage for what holds more than work."""
    real = workspace.resolve()
    if not real.is_dir():
        raise Usage(f"The workspace {workspace} is not a folder.")
    home = Path.home().resolve()
    system = [Path(one) for one in (*SYSTEM, "/etc", "/dev", "/proc", "/sys", "/run", "/boot", "/var")]
    if home.is_relative_to(real) or real in (Path("/tmp"), Path("/home")):  # noqa: S108
        raise Usage(f"The workspace {real} holds homes or secrets. Choose the folder of one project.")
    if any(real.is_relative_to(one) for one in system):
        raise Usage(f"The workspace {real} belongs to the system. Choose the folder of one project.")
    return real
