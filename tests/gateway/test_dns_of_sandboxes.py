"""Names that a sandbox asks for: those of its rules, and no others."""

import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from gateway import resolving


@pytest.fixture
def asked(bed, monkeypatch):
    """Questions to the gateway's DNS, and which names were looked up for them."""
    looked: list[str] = []
    real = resolving.Resolver._found

    async def found(self, name):
        looked.append(name)
        return await real(self, name)

    monkeypatch.setattr(resolving.Resolver, "_found", found)

    def ask(session, name: str, kind: str = "A") -> tuple[int, list[str]]:
        status, connection = bed.gateway.connects(session, "dns.drawbridge.internal:53")
        assert status == 200
        question = dns.message.make_query(name, dns.rdatatype.from_text(kind)).to_wire()
        connection.sendall(len(question).to_bytes(2, "big") + question)
        length = int.from_bytes(connection.recv(2), "big")
        answer = dns.message.from_wire(connection.recv(length))
        connection.close()
        return answer.rcode(), [str(one) for record in answer.answer for one in record]

    ask.looked = looked
    return ask


def test_a_name_of_a_rule_has_its_checked_addresses(bed, asked):
    session = bed.plane.begin(bed.inspecting())
    assert asked(session, "api.example") == (dns.rcode.NOERROR, ["127.0.0.1"])
    assert asked(session, "API.example.") == (dns.rcode.NOERROR, ["127.0.0.1"])
    assert asked(session, "api.example", "AAAA") == (dns.rcode.NOERROR, [])
    assert asked(session, "api.example", "TXT") == (dns.rcode.NOERROR, [])


def test_a_forwards_host_is_here(bed, asked):
    session = bed.plane.begin(bed.forwarding("db.corp.example"))
    assert asked(session, "db.corp.example") == (dns.rcode.NOERROR, ["127.0.0.1"])
    assert asked.looked == []


@pytest.mark.parametrize("name", ["evil.example", "x.api.example", "example", "secret-data.evil.example", "1.2.3.4"])
def test_other_names_do_not_exist_and_nobody_is_asked(bed, asked, name):
    session = bed.plane.begin(bed.inspecting())
    assert asked(session, name) == (dns.rcode.NXDOMAIN, [])
    assert asked.looked == []
    bed.plane.told("egress.denied", mode="dns", host=name)


def test_a_wildcard_covers_one_label(bed, asked):
    session = bed.plane.begin(bed.inspecting("*.wild.example"))
    assert asked(session, "a.wild.example")[0] == dns.rcode.NOERROR
    assert asked(session, "b.a.wild.example")[0] == dns.rcode.NXDOMAIN
    assert asked.looked == ["a.wild.example"]


def test_a_secret_is_no_name(bed, asked):
    session = bed.plane.begin(bed.inspecting("*.wild.example"), redact=["canarytoken0123456"])
    assert asked(session, "canarytoken0123456.wild.example")[0] == dns.rcode.NXDOMAIN
    assert asked.looked == []
    bed.plane.told("egress.denied", mode="dns", code="secret_leak")


def test_a_name_that_leads_to_a_private_address_is_not_told(bed, asked):
    session = bed.plane.begin(bed.inspecting(network=None))
    assert asked(session, "api.example") == (dns.rcode.NXDOMAIN, [])


def test_a_rule_that_has_ended_names_nothing(bed, asked):
    session = bed.plane.begin(bed.inspecting(not_after="2020-01-01T00:00:00Z"))
    assert asked(session, "api.example")[0] == dns.rcode.NXDOMAIN


def test_a_denied_name_is_told_once(bed, asked):
    session = bed.plane.begin(bed.inspecting())
    for _ in range(3):
        asked(session, "evil.example")
    bed.plane.told("egress.denied", mode="dns")
    asked(session, "other.example")
    bed.plane.told("egress.denied", mode="dns", host="other.example")
    assert bed.plane.kinds().count("egress.denied") == 2


@pytest.mark.parametrize("garbage", [b"\0\5hello", b"\0\x20" + bytes(32), b"\xff\xff" + bytes(100), b"\0\0"])
def test_garbage_ends_the_connection(bed, garbage):
    session = bed.plane.begin(bed.inspecting())
    _, connection = bed.gateway.connects(session, "dns.drawbridge.internal:53")
    connection.sendall(garbage)
    connection.settimeout(3)
    try:
        answer = connection.recv(100)
    except ConnectionResetError:
        answer = b""
    assert answer == b"" or answer[5] & 15 != 0
