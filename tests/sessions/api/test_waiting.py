"""Long polls hold memory, and nothing of the database."""

import asyncio
import time

import httpx
import psycopg
import pytest
from django.http import HttpRequest

from sessions.api.waiting import MOST_HELD_EACH, preferred_wait_s
from tests.serving import Agent, bearer

CONCURRENT = 200
CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle'"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("", 0),
        ("wait=30", 30),
        ("wait=9999", 60),
        ("WAIT = 10", 10),
        ('respond-async, wait="5"', 5),
        ("respond-async;wait=5", 0),
        ("wait=5; foo", 5),
        ("wait=x", 0),
        ("await=5", 0),
        ("wait=-1", 0),
    ],
)
def test_a_preference_to_wait_is_read_as_rfc_7240_has_it(header: str, seconds: int) -> None:
    request = HttpRequest()
    request.META["HTTP_PREFER"] = header

    assert preferred_wait_s(request) == seconds


def test_two_hundred_long_polls_of_one_session_are_counted_and_hold_no_connection(
    agent: Agent, server: str, stack_environment: dict[str, str]
) -> None:
    """Those that are held are answered soon after the end, the others at once; everybody else is served meanwhile."""
    agent.begin()

    async def hold(client: httpx.AsyncClient) -> str:
        answer = await client.get(f"/sessions/{agent.session_id}", params={"wait": "30", "state": "active"})
        return str(answer.json()["state"])

    async def all_of_them() -> tuple[float, int, float, list[str]]:
        limits = httpx.Limits(max_connections=CONCURRENT)
        async with httpx.AsyncClient(
            base_url=f"{server}/api/v1", headers=bearer(agent.token), timeout=60, trust_env=False, limits=limits
        ) as client:
            held = [asyncio.create_task(hold(client)) for _ in range(CONCURRENT)]
            while sum(one.done() for one in held) < CONCURRENT - MOST_HELD_EACH:
                await asyncio.sleep(0.05)
            busy = busy_connections(stack_environment)
            began = time.monotonic()
            await asyncio.to_thread(agent.get)
            other_s = time.monotonic() - began
            began = time.monotonic()
            await asyncio.to_thread(agent.post, "/end", {})
            states = await asyncio.gather(*held)
            return other_s, busy, time.monotonic() - began, list(states)

    other_s, busy, answered_s, states = asyncio.run(all_of_them())
    print(f"other request {other_s * 1000:.0f} ms, busy connections {busy}, all answered {answered_s * 1000:.0f} ms")
    assert sorted(states) == ["active"] * (CONCURRENT - MOST_HELD_EACH) + ["ended"] * MOST_HELD_EACH
    assert busy <= 3
    assert other_s < 1
    assert answered_s < 5


def busy_connections(stack_environment: dict[str, str]) -> int:
    with psycopg.connect(stack_environment["DATABASE_URL"], autocommit=True) as connection:
        [count] = connection.execute(CONNECTIONS).fetchone() or [0]
    return int(count)
