"""Ports: asked for, remembered, preferred or free; one clear sentence where one is taken."""

import socket
from collections.abc import Iterator

import pytest

from stack import StackError
from stack.ports import asked_for, choose, free_port


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_asked_port_is_used_and_the_others_are_distinct() -> None:
    port = free_port(set())
    chosen = choose({}, {"web": port}, prefer=False)
    assert chosen["web"] == port
    assert len(set(chosen.values())) == 7


def test_remembered_ports_are_kept() -> None:
    remembered = choose({}, {}, prefer=False)
    assert choose(remembered, {}) == remembered


def test_asked_port_goes_before_a_remembered_one() -> None:
    remembered = choose({}, {}, prefer=False)
    port = free_port(set(remembered.values()))
    assert choose(remembered, {"postgres": port})["postgres"] == port


@pytest.mark.parametrize("where", ["asked", "remembered"])
def test_taken_port_is_named_with_the_way_out(taken: int, where: str) -> None:
    ports = {"web": taken}
    with pytest.raises(StackError) as caught:
        choose(*(({}, ports) if where == "asked" else (ports, {})))
    assert str(caught.value) == (
        f"Port {taken} (web) is in use by another program. Stop that program or choose another one with PORT=<number>."
    )


def test_one_port_asked_for_twice_is_refused() -> None:
    port = free_port(set())
    with pytest.raises(StackError, match=f"Port {port} was asked for twice"):
        choose({}, {"web": port, "valkey": port})


@pytest.mark.parametrize("value", ["0", "65536", "-1", "http", "80.5"])
def test_what_is_not_a_port_is_refused(value: str) -> None:
    with pytest.raises(StackError, match="which is not a port"):
        asked_for({"VALKEY_PORT": value})


def test_empty_variable_asks_for_nothing() -> None:
    assert asked_for({"PORT": "", "OPENBAO_PORT": "18210"}) == {"openbao": 18210}
