"""The way to a gateway: which one, how to sign in there, and what it says of itself (docs/gateway.md)."""

import asyncio
import base64
import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from runner.errors import Unreachable

CONNECT_S, ANSWER_S, LONGEST_HEAD, LONGEST_BODY = 3.0, 15.0, 65_536, 4 * 1024 * 1024
PROXY, DNS = "proxy.drawbridge.internal:1", "dns.drawbridge.internal:53"
ITSELF = "gateway.drawbridge.internal"


def proxy_secret(token: str) -> str:
    """What a session shows to a gateway: made of its token, and no way back to it."""
    return "dbp_" + hashlib.sha256(f"drawbridge proxy\n{token}".encode()).hexdigest()[:40]


@dataclass
class Opened:
    """A connection to a gateway, after it granted what was asked for."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    gateway: str


class Refusal(Exception):
    """The gateway answered, and not with yes. `answer` is what it said, for whoever asked inside."""

    def __init__(self, status: int, answer: bytes) -> None:
        super().__init__(f"the gateway answers {status}")
        self.status, self.answer = status, answer


@dataclass
class Line:
    """The gateways of one session, the one in use first: whoever does not answer goes to the end."""

    session_id: str
    secret: str = field(repr=False)
    gateways: list[str]

    async def open(self, where: str) -> Opened:
        """CONNECT to `where` by the first gateway that answers. Raises Refusal, Unreachable."""
        problem: Exception | None = None
        for address in list(self.gateways):
            try:
                return await self._open(address, where)
            except Refusal as refusal:
                if refusal.status != 503:
                    raise
                problem = refusal
            except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
                problem = error
            self._put_last(address)
        if isinstance(problem, Refusal):
            raise problem
        raise Unreachable("No gateway answers.") from problem

    async def get(self, path: str) -> tuple[bytes, str]:
        """What the gateway says under its own name, and which gateway it was. Raises Unreachable."""
        opened = await self._proxy()
        try:
            request = f"GET http://{ITSELF}{path} HTTP/1.1\r\nHost: {ITSELF}\r\nConnection: close\r\n\r\n"
            opened.writer.write(request.encode())
            async with asyncio.timeout(ANSWER_S):
                head = await opened.reader.readuntil(b"\r\n\r\n")
                body = await opened.reader.read(LONGEST_BODY)
                while more := await opened.reader.read(LONGEST_BODY):
                    body += more
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise Unreachable(f"The gateway {opened.gateway} does not answer.") from error
        finally:
            opened.writer.close()
        if _status(head) != 200:
            raise Unreachable(f"The gateway {opened.gateway} answers {_status(head)} for {path}.")
        return body, opened.gateway

    async def policy(self) -> Mapping[str, Any]:
        """What is allowed, without its secrets. Raises Unreachable."""
        body, gateway = await self.get("/policy")
        try:
            return dict(json.loads(body))
        except ValueError as error:
            raise Unreachable(f"The gateway {gateway} says something that is not JSON.") from error

    async def _proxy(self) -> Opened:
        try:
            return await self.open(PROXY)
        except Refusal as refusal:
            raise Unreachable(f"No gateway lets this session through: {refusal}.") from refusal

    async def _open(self, address: str, where: str) -> Opened:
        host, _, port = address.rpartition(":")
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port), limit=LONGEST_HEAD)
        try:
            writer.write(f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n{self._signed_in}\r\n".encode())
            async with asyncio.timeout(ANSWER_S):
                head = await reader.readuntil(b"\r\n\r\n")
            if _status(head) == 200:
                return Opened(reader, writer, address)
            async with asyncio.timeout(CONNECT_S):
                raise Refusal(_status(head), head + await reader.read(LONGEST_HEAD))
        except BaseException:
            writer.close()
            raise

    @property
    def _signed_in(self) -> str:
        pair = base64.b64encode(f"{self.session_id}:{self.secret}".encode()).decode()
        return f"Proxy-Authorization: Basic {pair}\r\n"

    def _put_last(self, address: str) -> None:
        with suppress(ValueError):
            self.gateways.remove(address)
            self.gateways.append(address)


def _status(head: bytes) -> int:
    parts = head.split(b" ", 2)
    return int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0
