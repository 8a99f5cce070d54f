"""All probes, in the order in which they run."""

from collections.abc import Sequence

from runner.probes import machine, proxied, straight
from runner.probes.probe import Probe

PARTS = (
    *(straight.direct, straight.names),
    *(proxied.proxied, proxied.tls, proxied.socks),
    *(machine.kernel, machine.processes, machine.files, machine.life),
)


def probes() -> Sequence[Probe]:
    return [probe for part in PARTS for probe in part()]
