"""Everything that `script/test` checks: linters first, then pytest, whose closing line comes last."""

import os
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
# Debian's packages, and a program of each.
PROGRAMS = {
    "bubblewrap": Path("/usr/bin/bwrap"),
    "chromium": Path("/usr/bin/chromium"),
    "curl": Path("/usr/bin/curl"),
    "docker.io": Path("/usr/sbin/dockerd"),
    "git": Path("/usr/bin/git"),
    "iproute2": Path("/usr/sbin/ip"),
    "mariadb-server-core": Path("/usr/sbin/mariadbd"),
    "nodejs": Path("/usr/bin/node"),
    "npm": Path("/usr/bin/npm"),
    "openssh-server": Path("/usr/sbin/sshd"),
    "postgresql-client": Path("/usr/bin/psql"),
    "python3": Path("/usr/bin/python3"),
    "python3-pip": Path("/usr/bin/pip3"),
    "strace": Path("/usr/bin/strace"),
}
# mypy's Django plugin reads the settings; nothing is connected to. The tests put real services in their place.
PLACEHOLDERS = {
    "LOCAL_MODE": "1",
    "SECRET_KEY": "placeholder",
    "DRAWBRIDGE_URL": "http://127.0.0.1:1",
    "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing",
    "VALKEY_URL": "redis://127.0.0.1:1/0",
    "OPENBAO_ADDR": "http://127.0.0.1:1",
    "OPENBAO_ROLE_ID": "placeholder",
    "OPENBAO_SECRET_ID": "placeholder",
    "ENVELOPE_KEYS": "[]",
    "POLICY_KEYS": "[]",
    "TARGETS": "{}",
    "LOG_ORIGIN": "placeholder",
    "LOG_VERIFIER_KEYS": "",
    "LOG_STORE": "placeholder",
    "LOG_HEAD_STORE": "placeholder",
    "EXPORT_FOLDER": "placeholder",
}


def ensure_programs(programs: Mapping[str, Path] = PROGRAMS) -> None:
    """Install Debian's packages where they are not; say what to do where that is not ours to do."""
    missing = [name for name, path in programs.items() if not path.exists()]
    if not missing:
        return
    wanted = " ".join(missing)
    if os.geteuid() != 0 or not Path("/usr/bin/apt-get").exists():
        sys.exit(f"This needs {wanted}. Install it, as root: apt-get install {wanted}")
    print(f"Installing {wanted} ...", flush=True)
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "-y", "--no-install-recommends", *missing]):
        command = ["/usr/bin/apt-get", "-q", *arguments]
        ended = subprocess.run(command, env=env, capture_output=True, text=True)  # noqa: S603
        if ended.returncode:
            sys.exit(f"{wanted} could not be installed; apt-get {arguments[0]} said:\n{ended.stderr.strip()}")


def linters() -> list[list[str]]:
    """The static checks that pyproject.toml configures."""
    tools = tomllib.loads((REPOSITORY / "pyproject.toml").read_text()).get("tool", {})
    commands = [["ruff", "check", "--quiet", "."], ["ruff", "format", "--check", "--quiet", "."]]
    return commands + ([["mypy"]] if "mypy" in tools else [])


def run(*module: str) -> int:
    """Run a module of this environment and return its exit code."""
    env = {**os.environ, **PLACEHOLDERS} if module == ("mypy",) else None
    return subprocess.run([sys.executable, "-m", *module], cwd=REPOSITORY, env=env).returncode  # noqa: S603


def main() -> int:
    """Zero only if every check passed; a linter's failure does not hide pytest's answer."""
    ensure_programs()
    failed = [" ".join(command) for command in linters() if run(*command)]
    for command in failed:
        print(f"FAILED: {command}", flush=True)
    return run("pytest", *sys.argv[1:]) or int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
