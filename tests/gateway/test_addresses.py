"""Which addresses may be connected to: every class of the special-purpose registries, and every way to hide one."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.addresses import METADATA, SPECIAL, against, readings

# The special-purpose registries of IANA (RFC 6890) for IPv4 and IPv6: the first and the last address of a block.
PRIVATE = {
    "this network": ("0.0.0.1", "0.255.255.255"),
    "RFC 1918, 10/8": ("10.0.0.0", "10.255.255.255"),
    "RFC 1918, 172.16/12": ("172.16.0.0", "172.31.255.255"),
    "RFC 1918, 192.168/16": ("192.168.0.0", "192.168.255.255"),
    "carrier-grade NAT": ("100.64.0.0", "100.127.255.255"),
    "loopback": ("127.0.0.0", "127.0.0.1", "127.255.255.255", "::1"),
    "protocol assignments": ("192.0.0.0", "192.0.0.255"),
    "documentation": ("192.0.2.1", "198.51.100.1", "203.0.113.255", "2001:db8::1", "3fff::1"),
    "6to4 relays": ("192.88.99.1",),
    "benchmarks": ("198.18.0.0", "198.19.255.255", "2001:2::1"),
    "reserved": ("240.0.0.1", "255.255.255.254"),
    "unique local": ("fc00::1", "fdff:ffff::1"),
    "site-local": ("fec0::1", "feff::1"),
    "discard only": ("100::1",),
    "ORCHID": ("2001:10::1", "2001:20::1"),
    "segment routing": ("5f00::1",),
    "not given out": ("4000::1", "1::1", "f000::1"),
}
HIDDEN = {
    "mapped private": "::ffff:10.0.0.1",
    "mapped loopback": "::ffff:127.0.0.1",
    "mapped public": "::ffff:8.8.8.8",
    "compatible": "::10.0.0.1",
    "compatible loopback": "::127.0.0.1",
    "compatible public": "::8.8.8.8",
    "translated": "::ffff:0:10.0.0.1",
    "NAT64": "64:ff9b::10.0.0.1",
    "NAT64 loopback": "64:ff9b::127.0.0.1",
    "local NAT64": "64:ff9b:1::8.8.8.8",
    "6to4 private": "2002:a00:1::1",
    "6to4 public": "2002:808:808::1",
    "Teredo, private server": "2001:0:a00:1::1",
    "Teredo, private client": "2001:0:4136:e378:8000:63bf:f5ff:fffe",
    "ISATAP": "2606:4700::5efe:a00:1",
    "ISATAP, u bit": "2606:4700::200:5efe:10.0.0.1",
    "ISATAP, g bit": "2606:4700::300:5efe:127.0.0.1",
}


@pytest.mark.parametrize("text", [one for block in PRIVATE.values() for one in block] + list(HIDDEN.values()))
def test_without_a_range_only_public_addresses_pass(text: str) -> None:
    assert against(ip_address(text), 443) == f"{ip_address(text)} is a private address, and the rule names no range."


CLOUDS = {
    "AWS, Google, Azure, DigitalOcean, OpenStack": "169.254.169.254",
    "AWS ECS": "169.254.170.2",
    "AWS EKS": "169.254.170.23",
    "AWS EKS, IPv6": "fd00:ec2::23",
    "AWS, IPv6": "fd00:ec2::254",
    "Google, IPv6": "fd20:ce::254",
    "Alibaba": "100.100.100.200",
    "Azure's wire server": "168.63.129.16",
    "Oracle, classic": "192.0.0.192",
    "Oracle, IPv6": "fd00:c1::a9fe:a9fe",
    "Scaleway": "169.254.42.42",
    "Scaleway, IPv6": "fd00:42::42",
    "Tencent": "169.254.0.23",
    "Linode, IPv6": "fd00:a9fe:a9fe::1",
    "OpenStack, IPv6": "fe80::a9fe:a9fe",
    "link-local": "169.254.1.1",
    "link-local, IPv6": "fe80::1",
    "mapped": "::ffff:169.254.169.254",
    "compatible": "::169.254.169.254",
    "translated": "::ffff:0:169.254.169.254",
    "NAT64": "64:ff9b::169.254.169.254",
    "local NAT64": "64:ff9b:1::169.254.169.254",
    "6to4": "2002:a9fe:a9fe::1",
    "Teredo server": "2001:0:a9fe:a9fe::1",
    "Teredo client": "2001:0:4136:e378::5601:5601",
    "ISATAP": "2606:4700::5efe:169.254.169.254",
    "ISATAP, u bit": "fd12::200:5efe:169.254.169.254",
    "mapped Alibaba": "::ffff:100.100.100.200",
}


@pytest.mark.parametrize("text", CLOUDS.values(), ids=CLOUDS.keys())
def test_no_rule_opens_metadata(text: str) -> None:
    """N08 of the probes: not even one that names the range, or everything."""
    address = ip_address(text)
    everything = ip_network("::/0" if address.version == 6 else "0.0.0.0/0")
    for network in (None, everything, ip_network(text)):
        assert against(address, 80, network) == f"{address} is a link-local or metadata address: no rule opens it."


@pytest.mark.parametrize(
    "text", ["0.0.0.0", "::", "224.0.0.1", "239.255.255.255", "255.255.255.255", "ff02::1", "ff0e::1", "::ffff:0.0.0.0"]
)
def test_what_is_no_machine_is_never_reached(text: str) -> None:
    address = ip_address(text)
    everything = ip_network("::/0" if address.version == 6 else "0.0.0.0/0")
    for network in (None, everything):
        assert against(address, 443, network) == f"{address} is no single machine's address."


PUBLIC = ["1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0"]
PUBLIC += [
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "169.255.0.0",
    "192.0.1.0",
    "192.167.255.255",
    "192.169.0.0",
]
PUBLIC += ["198.17.255.255", "198.20.0.0", "168.63.129.15", "223.255.255.255"]
PUBLIC += ["2606:4700::1111", "2a00:1450:4001::1", "2001:200::1", "2001:4860:4860::8888", "64:ff9b::8.8.8.8"]
PUBLIC += ["2606:4700::5efe:8.8.8.8", "3ffe::1"]


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_pass(text: str) -> None:
    assert against(ip_address(text), 443) is None


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("10.1.2.3", "10.1.0.0/16"),
        ("10.1.0.0", "10.1.0.0/16"),
        ("10.1.255.255", "10.1.0.0/16"),
        ("127.0.0.1", "127.0.0.1/32"),
        ("100.64.0.1", "100.64.0.0/10"),
        ("::1", "::1/128"),
        ("fd12::1", "fd12::/16"),
        ("93.184.215.14", "93.184.0.0/16"),
    ],
)
def test_a_rule_with_a_range_reaches_into_it(text: str, network: str) -> None:
    assert against(ip_address(text), 5432, ip_network(network)) is None


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("10.2.0.0", "10.1.0.0/16"),
        ("10.0.255.255", "10.1.0.0/16"),
        ("1.1.1.1", "10.0.0.0/8"),
        ("127.0.0.1", "10.0.0.0/8"),
        ("::ffff:10.1.2.3", "10.1.0.0/16"),
        ("::10.1.2.3", "10.1.0.0/16"),
        ("64:ff9b::10.1.2.3", "10.1.0.0/16"),
        ("2002:a01:203::1", "10.1.0.0/16"),
        ("10.1.2.3", "::ffff:a01:0/112"),
        ("10.1.2.3", "::/0"),
        ("::1", "0.0.0.0/0"),
        ("fd13::1", "fd12::/16"),
        ("2606:4700::1111", "fd12::/16"),
    ],
)
def test_a_rule_with_a_range_reaches_nothing_else(text: str, network: str) -> None:
    refusal = f"{ip_address(text)} is outside {network}, the range that the rule names."
    assert against(ip_address(text), 5432, ip_network(network)) == refusal


OWN = [(IPv4Address("10.0.0.5"), 3128), (IPv6Address("fd12::5"), 3129)]


@pytest.mark.parametrize(
    ("text", "port", "network"),
    [
        ("10.0.0.5", 3128, "10.0.0.0/8"),
        ("fd12::5", 3129, "fd12::/16"),
        ("127.0.0.1", 3128, "127.0.0.0/8"),
        ("127.9.9.9", 3129, "127.0.0.0/8"),
        ("::1", 3128, "::1/128"),
        ("::ffff:127.0.0.1", 3128, "::/0"),
        ("::ffff:10.0.0.5", 3128, "::/0"),
        ("64:ff9b::10.0.0.5", 3128, "::/0"),
        ("::10.0.0.5", 3128, "::/0"),
    ],
)
def test_the_gateway_is_not_reached_through_itself(text: str, port: int, network: str) -> None:
    address = ip_address(text)
    assert against(address, port, ip_network(network), OWN) == f"{address} is this gateway itself."
    assert against(address, port + 10, ip_network(network), OWN) is None


def test_a_zone_does_not_hide_a_link_local_address() -> None:
    assert "no rule opens it" in str(against(IPv6Address("fe80::1%eth0"), 80, IPv6Network("fe80::/10")))


@given(st.ip_addresses())
def test_without_a_range_no_listed_block_passes(address: IPv4Address | IPv6Address) -> None:
    if against(address, 443) is None:
        for reading in readings(address):
            assert not any(reading in one for one in (*METADATA, *SPECIAL) if one.version == reading.version)


@given(st.ip_addresses(v=4), st.sampled_from(["::ffff:{}", "::ffff:0:{}", "::{}", "64:ff9b::{}", "2606::5efe:{}"]))
def test_a_hidden_address_passes_only_where_it_would_in_the_open(address: IPv4Address, form: str) -> None:
    if against(address, 443) is not None:
        assert against(ip_address(form.format(address)), 443) is not None


@given(st.ip_addresses(v=4), st.integers(0, 32), st.ip_addresses(v=4))
def test_a_range_is_never_left(base: IPv4Address, length: int, address: IPv4Address) -> None:
    network = IPv4Network((base, length), strict=False)
    if against(address, 443, network) is None:
        assert int(address) >> (32 - length) == int(base) >> (32 - length)
