"""DNS for a sandbox: names that a rule covers, and nothing else. What is not allowed is not asked of anybody."""

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime
from ipaddress import IPv4Address

import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from dns.exception import DNSException

from gateway.addresses import Address
from gateway.errors import BadName, Denied
from gateway.gate import Gate, Target, now, refuse
from gateway.live import Hold, Live
from gateway.names import Host
from gateway.policy import Code, Mode, Rule, deny
from gateway.redaction import scan_text
from gateway.resolving import UpstreamError
from gateway.wire import Wire

TTL_S, IDLE_S, LONGEST = 5, 600.0, 1_024
# Resolvers ask for each name again and again: each denied one is told once in this time.
TOLD_AGAIN_S, MOST_TOLD = 60.0, 1_000
LOCAL = IPv4Address("127.0.0.1")
ANSWERED = {dns.rdatatype.A: 4, dns.rdatatype.AAAA: 6}


async def serve(gate: Gate, live: Live, wire: Wire) -> None:
    """Questions and answers, each behind two bytes of its length (RFC 1035 section 4.2.2)."""
    with Hold(live) as hold:
        hold.add(wire)
        while True:
            async with asyncio.timeout(IDLE_S):
                length = int.from_bytes(await wire.exactly(2), "big")
                if not 12 <= length <= LONGEST:
                    raise ConnectionResetError("this is no question")
                question = await wire.exactly(length)
            hold.check()
            answer = await answered(gate, live, question)
            wire.write(len(answer).to_bytes(2, "big") + answer)
            await wire.drain()


async def answered(gate: Gate, live: Live, question: bytes) -> bytes:
    """The answer's bytes. Raises ConnectionResetError for what is no question."""
    try:
        asked = dns.message.from_wire(question)
    except DNSException as error:
        raise ConnectionResetError("this is no question") from error
    response = dns.message.make_response(asked, recursion_available=True)
    if asked.flags & dns.flags.QR or asked.opcode() != dns.opcode.QUERY or len(asked.question) != 1:
        response.set_rcode(dns.rcode.FORMERR)
        return bytes(response.to_wire())
    [entry] = asked.question
    response.set_rcode(dns.rcode.NXDOMAIN)
    try:
        gate.control.check()
        found = await _found(gate, live, Host.read(entry.name.to_text(omit_final_dot=True)))
    except UpstreamError:
        response.set_rcode(dns.rcode.SERVFAIL)
    except (Denied, BadName) as error:
        await _told(gate, live, entry.name.to_text(omit_final_dot=True), error)
    else:
        response.set_rcode(dns.rcode.NOERROR)
        fitting = [str(one) for one in found if one.version == ANSWERED.get(entry.rdtype)]
        if fitting and entry.rdclass == dns.rdataclass.IN:
            response.answer.append(dns.rrset.from_text(entry.name, TTL_S, "IN", entry.rdtype, *fitting))
    return bytes(response.to_wire())


async def _found(gate: Gate, live: Live, host: Host) -> Sequence[Address]:
    """The addresses that rules open under this name. Raises Denied, UpstreamError."""
    at = now()
    rules = [rule for rule in live.policy.rules if rule.names(host, rule.port) and _lives(rule, live, at)]
    if host.address is not None or not rules:
        raise Denied(deny(Code.NO_RULE, f"No rule allows {host}."))
    if scan_text(live.patterns, host.text):
        raise Denied(deny(Code.LEAK, "The name carries a secret of the session."))
    if any(rule.mode is Mode.FORWARD for rule in rules):
        return [LOCAL]
    return await gate.resolver.checked(host, rules[0].port, rules[0])


def _lives(rule: Rule, live: Live, at: datetime) -> bool:
    return at < live.policy.not_after and (rule.not_after is None or at < rule.not_after)


async def _told(gate: Gate, live: Live, name: str, error: Exception) -> None:
    moment = time.monotonic()
    if live.told.get(name, 0.0) > moment:
        return
    if len(live.told) >= MOST_TOLD:
        live.told.clear()
    live.told[name] = moment + TOLD_AGAIN_S
    verdict = error.verdict if isinstance(error, Denied) else deny(Code.BAD_NAME, str(error))
    await refuse(gate, live, verdict, Target(name[:253], 53, "dns"))
