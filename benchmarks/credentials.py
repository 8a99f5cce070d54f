"""Minting and revoking by each provider beside the bare calls of a client; a thousand killed at once; one that hangs.

    script/bench credentials [--json] [--rounds N] [--fleet N]

"Bare" is the same change at the same far end by hvac or httpx alone, with nothing around it: no checks before, no
record between, no proof after. `mint` is Provider.mint, `revoke` each step of kind "revoke". The fleet is sessions with
a PostgreSQL credential each, killed by one call and proven dead, beside as many bare revocations by as many threads.
"""

import argparse
import json
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from statistics import median, quantiles
from types import SimpleNamespace
from typing import Any

import hvac
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from rich.console import Console
from rich.progress import track
from rich.table import Table

from stack import Stack
from tests.drills.stage import standing

WARM_UP = 3
BULKHEAD_HANG_S = 5.0
Seconds = tuple[float, float]


def by_provider(rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    """Each engine of OpenBao: ours and bare in turn."""
    from tests.sessions.providers.cases import case
    from tests.sessions.providers.engines import engines

    found = {}
    with tempfile.TemporaryDirectory() as folder, engines(Path(folder)) as running:
        for name in ("openbao kv", "mysql", "valkey", "pki", "ssh"):
            with tempfile.TemporaryDirectory() as place, case(name, running, Path(place)) as one:
                # Straight to OpenBao: the battery's proxy would be what is measured.
                provider: Any = one.provider
                provider._api.address = running.api.address
                bare = Bare(running.api.address, running.control, one)
                found[name] = _side_by_side(name, one, bare, rounds)
    return found


class Bare:
    """What the provider asks of OpenBao, by hvac alone."""

    def __init__(self, address: str, login: Mapping[str, str], one: Any) -> None:
        self.client = hvac.Client(url=address)
        self.client.session.trust_env = False
        self.client.auth.approle.login(**login)
        self.one = one

    def once(self) -> Seconds:
        from sessions.providers.openbao_token import OpenBaoToken

        token_alone = isinstance(self.one.provider, OpenBaoToken)
        return self._token() if token_alone else self._engine()

    def _token(self) -> Seconds:
        from sessions.providers.session_token import token_fields

        intent = intent_of(self.one)
        policy = {"policy": self.one.provider.policy(intent.details)}
        fields = token_fields(intent, num_uses=100)
        began = time.perf_counter()
        self.client.write_data(f"sys/policies/acl/drawbridge-session-{intent.name}", data=policy)
        auth = self.client.write_data("auth/token/create/drawbridge-session", data=fields)["auth"]
        minted = time.perf_counter()
        self.client.write_data("auth/token/revoke-accessor", data={"accessor": auth["accessor"]})
        return minted - began, time.perf_counter() - minted

    def _engine(self) -> Seconds:
        from sessions.providers.session_token import token_fields

        intent, provider = intent_of(self.one), self.one.provider
        place = provider._places[provider._name(intent.details)]
        path, asked = f"{place.mount}/{provider.asking}/{intent.name}", self._asked(intent)
        policy = {"policy": f'path "{path}" {{ capabilities = ["read", "update"] }}'}
        role, token = provider.role(intent, place), token_fields(intent)
        began = time.perf_counter()
        self.client.write_data(f"{place.mount}/roles/{intent.name}", data=role)
        self.client.write_data(f"sys/policies/acl/drawbridge-session-{intent.name}", data=policy)
        auth = self.client.write_data("auth/token/create/drawbridge-session", data=token)["auth"]
        session = hvac.Client(url=self.client.url, token=auth["client_token"], session=self.client.session)
        made = session.read(path) if asked is None else session.write_data(path, data=dict(asked))
        minted = time.perf_counter()
        if made["lease_id"]:
            self.client.write_data("sys/leases/revoke", data={"lease_id": made["lease_id"], "sync": True})
        self.client.write_data("auth/token/revoke-accessor", data={"accessor": auth["accessor"]})
        return minted - began, time.perf_counter() - minted

    def _asked(self, intent: Any) -> Any:
        from sessions.providers.ssh import Ssh

        provider = self.one.provider
        return provider.signing(intent, public_key()) if isinstance(provider, Ssh) else provider.asked(intent)


def public_key() -> str:
    key = Ed25519PrivateKey.generate().public_key()
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def intent_of(one: Any) -> Any:
    from sessions.providers.contract import Intent

    return Intent(f"dbr_{uuid.uuid4().hex}", one.details, 300, dict(one.labels))


def ours(one: Any) -> Seconds:
    from sessions.providers.contract import Held

    intent = intent_of(one)
    began = time.perf_counter()
    made = one.provider.mint(intent, lambda handle: None)
    minted = time.perf_counter()
    held = Held(intent.name, intent.details, made.handle, made.secret)
    for step in one.provider.steps(held):
        if step.kind == "revoke":
            step.run()
    return minted - began, time.perf_counter() - minted


def _side_by_side(name: str, one: Any, bare: Bare, rounds: int) -> dict[str, dict[str, float]]:
    samples: dict[str, list[Seconds]] = {"ours": [], "bare": []}
    for _ in track(range(rounds + WARM_UP), name, console=Console(stderr=True)):
        samples["ours"].append(ours(one))
        samples["bare"].append(bare.once())
    return {
        act: figures([each[at] for each in samples["ours"]], [each[at] for each in samples["bare"]])
        for at, act in enumerate(("mint", "revoke"))
    }


def figures(ours: Sequence[float], bare: Sequence[float]) -> dict[str, float]:
    ours, bare = ours[WARM_UP:], bare[WARM_UP:]
    return {
        "p50_ms": round(median(ours) * 1_000, 2),
        "p99_ms": round(quantiles(ours, n=100)[98] * 1_000, 2),
        "bare_p50_ms": round(median(bare) * 1_000, 2),
        "ratio_p50": round(median(ours) / median(bare), 2),
    }


def postgresql(rounds: int) -> dict[str, dict[str, float]]:
    """The provider that a database of the stack has; its revocation cuts open sessions too, which bare does not."""
    from benchmarks.lifecycle import Bare as BareOpenBao
    from sessions.providers import registry
    from tests.factories import READ_ORDERS, WRITE_SHIPMENTS

    one = SimpleNamespace(
        provider=registry.provider("openbao"),
        details=[READ_ORDERS, WRITE_SHIPMENTS],
        labels={"agent_session": str(uuid.uuid4())},
    )
    bare, samples = BareOpenBao(), []
    for _ in track(range(rounds + WARM_UP), "postgresql", console=Console(stderr=True)):
        mine = ours(one)
        minted, _, lease = bare.mint()
        began = time.perf_counter()
        bare.revoke(lease)
        samples.append((mine, (minted, time.perf_counter() - began)))
    return {
        act: figures([mine[at] for mine, _ in samples], [theirs[at] for _, theirs in samples])
        for at, act in enumerate(("mint", "revoke"))
    }


def fleet(count: int) -> dict[str, float]:
    """So many live credentials of PostgreSQL, killed at once and proven dead; and as many bare revocations."""
    from benchmarks.lifecycle import Bare as BareOpenBao
    from sessions import issuing, lifecycle, revoking
    from sessions.models import AgentSession, Credential, Revocation

    world = _world()
    ids = [world.approved().pk for _ in track(range(count), "sessions", console=Console(stderr=True))]
    intents = list(Credential.objects.filter(agent_session__in=ids).values_list("pk", flat=True))
    _at_once(issuing.run, intents, "minted")
    alive = AgentSession.objects.filter(pk__in=ids, state="active").count()
    began = time.perf_counter()
    lifecycle.kill_all(ids, world.security)
    chains = revoking.start(Revocation.objects.filter(credential__in=intents).values_list("pk", flat=True))
    for chain in chains:
        chain.result()
    while Credential.objects.filter(pk__in=intents).exclude(state="proven").exists():
        time.sleep(0.05)
    seconds = time.perf_counter() - began
    leases: list[str] = []
    _at_once(lambda _: leases.append(BareOpenBao().mint()[2]), range(count), "bare minted")
    began = time.perf_counter()
    with ThreadPoolExecutor(revoking.AT_ONCE) as pool:
        list(pool.map(BareOpenBao().revoke, leases))
    bare = time.perf_counter() - began
    return {
        "killed": alive,
        "seconds": round(seconds, 1),
        "bare_seconds": round(bare, 1),
        "ratio": round(seconds / bare, 2),
    }


def _at_once(act: Callable[[Any], object], what: Sequence[Any], label: str) -> None:
    from django.db import close_old_connections

    def one(each: Any) -> None:
        try:
            act(each)
        finally:
            close_old_connections()

    with ThreadPoolExecutor(8) as pool:
        for _ in track(pool.map(one, what), label, total=len(what), console=Console(stderr=True)):
            pass


def _world() -> Any:
    from tests import factories

    return factories.world()


def bulkhead(rounds: int) -> float:
    """How much the p99 of a PostgreSQL kill grows while another provider hangs, with more kills there than threads."""
    quiet = _kills(rounds)
    with _hanging():
        return round(_p99(_kills(rounds)) / _p99(quiet) - 1, 3)


def _p99(samples: Sequence[float]) -> float:
    return quantiles(samples, n=100)[98]


def _kills(rounds: int) -> list[float]:
    from sessions import issuing, lifecycle, revoking
    from sessions.models import Credential, Revocation

    world, samples = _world(), []
    for _ in track(range(rounds), "kills", console=Console(stderr=True)):
        run = world.approved()
        credential = Credential.objects.get(agent_session=run)
        issuing.run(credential.pk)
        began = time.perf_counter()
        lifecycle.kill(run.pk, world.security)
        for chain in revoking.start([Revocation.objects.get(credential=credential).pk]):
            chain.result()
        samples.append(time.perf_counter() - began)
    return samples


def _hanging() -> ExitStack:
    """Revocations of a provider whose far end never answers, until the block is left."""
    from sessions import revoking

    over, stack = threading.Event(), ExitStack()
    stack.callback(over.set)
    for _ in range(revoking.AT_ONCE * 2):
        revoking._pool("cut", "hangs").submit(over.wait, BULKHEAD_HANG_S * 60)
    return stack


def measure(rounds: int, count: int) -> Iterator[tuple[str, Any]]:
    yield "providers", {"postgresql": postgresql(rounds), **by_provider(rounds)}
    yield "bulkhead_p99_growth", bulkhead(rounds)
    yield "fleet_1000", fleet(count)


def table(results: Mapping[str, Any]) -> Table:
    made = Table("", "p50 ms", "p99 ms", "bare p50 ms", "ratio p50")
    for name, acts in results["providers"].items():
        for act, row in acts.items():
            made.add_row(f"{name}: {act}", *(str(row[key]) for key in ("p50_ms", "p99_ms", "bare_p50_ms", "ratio_p50")))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(prog="script/bench credentials", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--fleet", type=int, default=1_000)
    chosen = parser.parse_args()
    stack: Stack
    with standing() as stack:
        assert stack
        results = dict(measure(chosen.rounds, chosen.fleet))
    if chosen.json:
        print(json.dumps(results))
    else:
        Console().print(table(results))
        Console().print({name: value for name, value in results.items() if name != "providers"})


if __name__ == "__main__":
    main()
