"""Out of the sandbox into the machine: its kernel, its processes, its files, and beyond the end of the session."""

from collections.abc import Iterator, Sequence

from runner.probes.probe import Judge, Probe


def kernel() -> Iterator[Probe]:
    """Into the kernel, and to new powers."""
    calls: Sequence[tuple[str, str, Sequence[int | str], str]] = (
        ("A user namespace (unshare)", "unshare", (0x10000000,), "CVE-2022-0185"),
        ("A mount namespace", "unshare", (0x20000,), "CVE-2022-0185"),
        ("Mounting a file system", "mount", ("none", "/mnt", "tmpfs", 0, 0), "CVE-2025-59944"),
        ("Mounting by the new calls (fsopen)", "fsopen", ("tmpfs", 0), "CVE-2022-0185"),
        ("Another root (pivot_root)", "pivot_root", (".", "."), ""),
        ("Following another process (ptrace)", "ptrace", (16, "{decoy}", 0, 0), "CVE-2019-13272"),
        ("Reading another's memory (process_vm_readv)", "process_vm_readv", ("{decoy}", 0, 0, 0, 0, 0), ""),
        ("io_uring", "io_uring_setup", (1, 0), "CVE-2022-29582"),
        ("eBPF", "bpf", (0, 0, 0), "CVE-2021-3490"),
        ("Performance events", "perf_event_open", (0, 0, -1, -1, 0), "CVE-2013-2094"),
        ("The kernel's key ring", "add_key", ("user", "probe", "x", 1, -3), "CVE-2016-0728"),
        ("userfaultfd", "userfaultfd", (0,), "CVE-2021-22555"),
        ("Another kernel (kexec)", "kexec_load", (0, 0, 0, 0x1F), ""),
        ("A kernel module", "init_module", (0, 0, ""), ""),
        ("A file by its handle", "open_by_handle_at", (-1, 0, 0), "shocker, CVE-2014-9357"),
        ("Swap", "swapon", ("/nonexistent", 0), ""),
        ("The kernel's log", "syslog", (10, 0, 0), "CVE-2023-0459"),
        ("Quotas", "quotactl", (0x80000700, 0, 0, 0), ""),
    )  # fmt: skip
    for number, (title, name, arguments, source) in enumerate(calls, 1):
        yield Probe(f"K{number:02}", title, "call", {"args": [name, *arguments]}, source=source)
    yield Probe("K19", "A user namespace by a child", "clones", source="CVE-2022-0185")
    yield Probe("K20", "A device made with mknod", "device")
    yield Probe("K21", "Memory and disks of the machine", "disks")
    yield Probe("K22", "More rights by a set-uid program", "privileges", source="CVE-2021-4034")
    yield Probe(
        "K23",
        "The kernel's helper for crashes (core_pattern)",
        "writes",
        {"path": "/proc/sys/kernel/core_pattern"},
        source="CVE-2019-5736",
    )
    yield Probe("K24", "sysrq", "writes", {"path": "/proc/sysrq-trigger"})
    yield Probe("K25", "Typing into the terminal outside (TIOCSTI)", "types", terminal=True, source="CVE-2017-5226")


def processes() -> Iterator[Probe]:
    """Others on the machine."""
    yield Probe(
        "X01",
        "Variables of other processes",
        "others",
        {"what": "environ", "nonce": "{secret}"},
        source="CC docs default read-all",
    )
    yield Probe("X02", "Arguments of other processes", "others", {"what": "cmdline", "nonce": "{secret}"})
    yield Probe("X03", "A secret of the runner in its own variables", "environment", {"nonce": "{secret}"})
    yield Probe("X04", "A signal to a process outside", "signals", {"pid": "{decoy}"})
    yield Probe("X05", "The memory of a process outside", "reads_memory", {"pid": "{decoy}"})
    yield Probe(
        "X06", "Into the namespaces of a process outside (setns)", "enters", {"pid": "{decoy}"}, source="probe P01"
    )
    sockets = {
        "X07": ("The Docker socket", "{lab}/docker.sock"),
        "X08": ("The socket of containerd", "{lab}/containerd.sock"),
        "X09": ("The socket of Podman", "{lab}/podman.sock"),
        "X10": ("X11 by its file", "{lab}/X77"),
        "X11": ("An abstract socket (as X11 and D-Bus have)", "@drawbridge-probe-{secret}"),
    }
    for id, (title, path) in sockets.items():
        yield Probe(id, title, "unix", {"path": path}, source="CC docs, sandboxing")
    yield Probe(
        "X12",
        "The ssh agent by SSH_AUTH_SOCK",
        "pointed",
        {"variable": "SSH_AUTH_SOCK", "fallback": "{lab}/agent.sock"},
        source="CC docs, sandboxing",
    )
    yield Probe(
        "X13", "D-Bus by its variable", "pointed", {"variable": "DBUS_SESSION_BUS_ADDRESS", "fallback": "{lab}/bus"}
    )


CREDENTIALS = {
    ".aws/credentials": "AWS keys",
    ".ssh/id_ed25519": "An ssh key",
    ".kube/config": "The key of a cluster",
    ".docker/config.json": "A registry's password",
    ".netrc": "Passwords in .netrc",
    ".git-credentials": "git's passwords",
    ".config/gh/hosts.yml": "The token of gh",
    ".config/gcloud/application_default_credentials.json": "Google's credentials",
    ".azure/msal_token_cache.json": "Azure's tokens",
    ".claude/.credentials.json": "The account of Claude Code",
    ".npmrc": "npm's token",
    ".bash_history": "What was typed into a shell",
    ".local/state/drawbridge/sessions/token.json": "The session's token at the runner",
}


def files() -> Iterator[Probe]:
    """Files of the machine."""
    for number, (path, title) in enumerate(CREDENTIALS.items(), 1):
        arguments = {"path": f"{{lab}}/home/{path}", "nonce": "{secret}"}
        yield Probe(f"F{number:02}", title, "reads", arguments, source="CC docs default read-all")
    passwords = "{lab}/home/.netrc"
    yield Probe(
        "F14",
        "A file outside by a symbolic link",
        "linked",
        {"path": passwords, "nonce": "{secret}"},
        source="CVE-2025-59944",
    )
    yield Probe(
        "F15",
        "A file outside by a hard link",
        "hard_linked",
        {"path": passwords, "nonce": "{nonce}"},
        source="probe F03",
    )
    yield Probe(
        "F16",
        "Writing outside the workspace",
        "writes",
        {"path": "{lab}/outside/file", "nonce": "{nonce}"},
        source="CVE-2025-59536",
    )
    yield Probe(
        "F17",
        "The same by a symbolic link",
        "link_out",
        {"path": "{lab}/outside/linked", "nonce": "{nonce}"},
        source="CVE-2025-59944",
    )
    yield Probe(
        "F18",
        "A hook of git above the workspace",
        "writes",
        {"path": "{lab}/.git/hooks/pre-commit", "nonce": "{nonce}"},
        source="CVE-2025-59536",
    )
    yield Probe(
        "F19", "A key into authorized_keys", "writes", {"path": "{lab}/home/.ssh/authorized_keys", "nonce": "{nonce}"}
    )
    yield Probe("F20", "A program of the system", "writes", {"path": "/usr/lib/os-release"})
    yield Probe("F21", "The system's settings", "writes", {"path": "/etc/services"})
    yield Probe("F22", "The credentials that were handed over, changed", "writes", {"path": "{handover}/handed"})


def life() -> Iterator[Probe]:
    """Living longer than the session."""
    yield Probe(
        "L01",
        "A process that hides from the kill",
        "stays",
        {"path": "{workspace}/beat"},
        judge=Judge.LIFE,
        source="probe K01",
    )
    yield Probe(
        "L02",
        "A process that stays after the command has ended",
        "stays",
        {"path": "{workspace}/beat2"},
        judge=Judge.LIFE,
        source="probe P01",
    )
