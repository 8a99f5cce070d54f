"""A gateway with a control plane and far ends, all on loopback."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.gateway import documents
from tests.gateway.bed.control_plane import ControlPlane
from tests.gateway.bed.far_end import FarEnd, certified
from tests.gateway.bed.gateways import GatewayThread

NAMES = ("api.example", "other.example", "evil.example", "a.wild.example")


@dataclass(frozen=True)
class Bed:
    """All of it. `secure` speaks TLS under each of NAMES, `plain` does not; every name leads to 127.0.0.1."""

    plane: ControlPlane
    gateway: GatewayThread
    secure: FarEnd
    plain: FarEnd

    def inspecting(self, host: str = "api.example", **changed: object) -> dict[str, object]:
        port = self.plain.port if changed.get("scheme") == "http" else self.secure.port
        base = {"host": host, "port": port, "path": "/", "methods": None, "network": "127.0.0.0/8"}
        return documents.rule(**(base | changed))

    def tunnelling(self, host: str = "api.example", **changed: object) -> dict[str, object]:
        return documents.tunnel(**({"host": host, "port": self.secure.port, "network": "127.0.0.0/8"} | changed))

    def forwarding(self, host: str = "api.example", **changed: object) -> dict[str, object]:
        return documents.forward(**({"host": host, "port": self.plain.port, "network": "127.0.0.0/8"} | changed))


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, object]:
    return certified(tmp_path_factory.mktemp("certificates"), *NAMES)


@pytest.fixture
def lease_s() -> float:
    return 10.0


@pytest.fixture
def bed(tmp_path: Path, certificates: tuple[Path, object], lease_s: float) -> Iterator[Bed]:
    ca_file, context = certificates
    plane, secure, plain = ControlPlane(lease_s), FarEnd(context), FarEnd()  # type: ignore[arg-type]
    gateway = GatewayThread(plane, tmp_path, f"127.0.0.1 {' '.join(NAMES)}\n", ca_file)
    yield Bed(plane, gateway, secure, plain)
    gateway.close()
    for one in (secure, plain, plane):
        one.close()
