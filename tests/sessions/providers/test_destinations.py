"""One spelling for each destination, and none for what must never be reached."""

import pytest

from sessions.providers.destinations import Destination, Unclear, network_of


@pytest.mark.parametrize(
    ("location", "scheme", "host", "port", "path", "mode"),
    [
        ("https://api.github.com/", "https", "api.github.com", 443, "/", "inspect"),
        ("https://api.github.com:8443/repos/acme", "https", "api.github.com", 8443, "/repos/acme", "inspect"),
        ("http://index.corp.example/simple/", "http", "index.corp.example", 80, "/simple/", "inspect"),
        ("https://*.example.com/", "https", "*.example.com", 443, "/", "inspect"),
        ("https://xn--mnchen-3ya.example/", "https", "xn--mnchen-3ya.example", 443, "/", "inspect"),
        ("tls://packages.example.org", "tls", "packages.example.org", 443, None, "tunnel"),
        ("tcp://db.corp.example:5432", "tcp", "db.corp.example", 5432, None, "forward"),
        ("tcp://10.0.0.7:22", "tcp", "10.0.0.7", 22, None, "forward"),
        ("tcp://[fd12::7]:22", "tcp", "fd12::7", 22, None, "forward"),
        ("tcp://postgres:5432", "tcp", "postgres", 5432, None, "forward"),
    ],
)
def test_location_is_read_into_its_parts(location, scheme, host, port, path, mode):
    found = Destination.of(location)
    assert (found.scheme, found.host, found.port, found.path, found.mode) == (scheme, host, port, path, mode)


@pytest.mark.parametrize(
    ("location", "why"),
    [
        (None, "write https://"),
        (5, "write https://"),
        ("ftp://example.com/", "write https://"),
        ("https:/example.com/", "write https://"),
        ("HTTPS://example.com/", "write https://"),
        ("https://user@example.com/", "a name in lower case"),
        ("https://Example.com/", "a name in lower case"),
        ("https://example.com./", "no dot at its end"),
        ("https://exämple.com/", "a name in lower case"),
        ("https://example..com/", "a name in lower case"),
        ("https://-example.com/", "a name in lower case"),
        ("https://a_b.example.com/", "a name in lower case"),
        ("https://example.com\n/", "a name in lower case"),
        ("https://*/", "a name in lower case"),
        ("https://a.*.example.com/", "a name in lower case"),
        ("https://*a.example.com/", "a name in lower case"),
        ("https://*.*.example.com/", "a name in lower case"),
        ("https://*.com/", "two names behind it"),
        ("https://xn--example.example/", "not the A-label"),
        ("https://xn--abc-.example/", "a name in lower case"),
        ("https://gateway.drawbridge.internal/", "the gateway itself"),
        ("https://2130706433/", "odd notation"),
        ("https://0x7f000001/", "odd notation"),
        ("https://127.1/", "odd notation"),
        ("https://0177.0.0.1/", "odd notation"),
        ("https://169.254.169.0xfe/", "odd notation"),
        ("https://[::FFFF:1]/", "write https://"),
        ("https://[0:0::7]/", "write the address as ::7"),
        ("https://[10.0.0.7]/", "write https://"),
        ("https://example.com:0/", "from 1 to 65535"),
        ("https://example.com:080/", "from 1 to 65535"),
        ("https://example.com:65536/", "from 1 to 65535"),
        ("https://example.com:123456/", "write https://"),
        ("https://example.com", "/ stands for all"),
        ("https://example.com/a?b=c", "compared decoded"),
        ("https://example.com/a#b", "compared decoded"),
        ("https://example.com/%61/", "compared decoded"),
        ("https://example.com/a\\b", "compared decoded"),
        ("https://example.com/*", "compared decoded"),
        ("https://example.com/a/../b", r"no \.\."),
        ("https://example.com/./b", r"no \. and"),
        ("https://example.com//", "no empty segments"),
        ("https://example.com/" + "a" * 400, "compared decoded"),
        ("tls://example.com/", "nothing is seen inside"),
        ("tcp://example.com", "needs a port"),
        ("tcp://example.com:22/", "nothing is seen inside"),
    ],
    ids=ascii,
)
def test_other_spellings_are_refused_with_a_reason(location, why):
    with pytest.raises(Unclear, match=why):
        Destination.of(location)


@pytest.mark.parametrize(
    "text", ["10.20.0.0/16", "127.0.0.0/8", "192.168.4.0/24", "10.1.2.3/32", "fd12::/48", "::1/128"]
)
def test_private_range_is_taken(text):
    assert str(network_of(text)) == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "write a range"),
        ("10.0.0.7", "write a range"),
        ("10.20.0.1/16", "write a range"),
        ("10.20.0.0/255.255.0.0", "write a range"),
        ("nonsense/8", "write a range"),
        ("0.0.0.0/0", "link-local or metadata"),
        ("169.254.0.0/16", "link-local or metadata"),
        ("169.254.169.254/32", "link-local or metadata"),
        ("fe80::/64", "link-local or metadata"),
        ("fd00:ec2::/64", "link-local or metadata"),
        ("100.64.0.0/10", "link-local or metadata"),
        ("fc00::/7", "link-local or metadata"),
        ("93.184.215.0/24", "not a range of private"),
        ("10.0.0.0/7", "not a range of private"),
        ("::ffff:0:0/96", "not a range of private"),
    ],
)
def test_other_ranges_are_refused(text, why):
    with pytest.raises(Unclear, match=why):
        network_of(text)


@pytest.mark.parametrize(
    ("location", "public"),
    [("tls://example.com", True), ("tls://postgres", False), ("tls://a.localhost", False), ("tls://10.0.0.1", False)],
)
def test_only_names_of_the_internet_need_no_range(location, public):
    assert Destination.of(location).has_name is public
