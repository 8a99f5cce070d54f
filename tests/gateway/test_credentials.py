"""Credentials go in for their own host, and come out nowhere."""

import base64
import json

import pytest

from tests.gateway.bed.gateways import everything, request

KEY = "sk-live-0123456789abcdef"
SECRETS = {"secret:key": {"type": "secret", "value": KEY}}


def injecting(bed, **more):
    return bed.inspecting(inject={"slot": "secret:key", "as": "bearer"} | more)


def asked(bed, session, raw, host="api.example"):
    with bed.gateway.inside(session, host, bed.secure.port) as inside:
        inside.sendall(raw)
        return everything(inside)


def host(bed, name="api.example"):
    return f"{name}:{bed.secure.port}"


def test_a_placeholder_becomes_the_real_key(bed):
    session = bed.plane.begin(injecting(bed), secrets=SECRETS)
    asked(bed, session, request(host(bed), "/v1", Authorization="Bearer placeholder"))
    assert bed.secure.arrived[0].headers["Authorization"] == f"Bearer {KEY}"
    bed.plane.told("egress.request", injected="secret:key")


def test_git_gets_basic(bed):
    session = bed.plane.begin(injecting(bed, **{"as": "basic", "username": "x-access-token"}), secrets=SECRETS)
    asked(bed, session, request(host(bed), "/a.git/info/refs"))
    said = bed.secure.arrived[0].headers["Authorization"].removeprefix("Basic ")
    assert base64.b64decode(said).decode() == f"x-access-token:{KEY}"


def test_a_credential_that_is_missing_is_a_denial(bed):
    session = bed.plane.begin(injecting(bed))
    answer = asked(bed, session, request(host(bed), "/v1"))
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "credential_missing"
    assert bed.secure.connections == 0


def test_the_403_that_echoes_the_token_does_not_show_it(bed):
    session = bed.plane.begin(injecting(bed), secrets=SECRETS)
    bed.secure.says = f'{{"error": "bad token {KEY}", "b64": "{base64.b64encode(KEY.encode()).decode()}"}}'.encode()
    answer = asked(bed, session, request(host(bed), "/said"))
    assert KEY.encode() not in answer
    assert base64.b64encode(KEY.encode())[:16] not in answer
    assert len(answer.partition(b"\r\n\r\n")[2]) == len(bed.secure.says)
    for where, encoding in (("headers", "exact"), ("body", "exact"), ("body", "base64")):
        bed.plane.told("finding.echo", slot="secret:key", where=where, encoding=encoding)


def test_a_compressed_answer_is_looked_into(bed):
    session = bed.plane.begin(injecting(bed), secrets=SECRETS)
    bed.secure.says = b"x" * 5_000 + KEY.encode()
    answer = asked(bed, session, request(host(bed), "/gzip"))
    assert b"x" * 5_000 in answer.replace(b"\r\n", b"").replace(b"\r\n", b"")
    assert KEY.encode() not in answer
    assert b"ontent-Encoding" not in answer


@pytest.mark.parametrize(
    "raw",
    [
        lambda where: request(where, f"/x?key={KEY}"),
        lambda where: request(where, "/x", Authorization=f"Bearer {KEY}"),
        lambda where: request(where, "/x", X_Other=base64.b64encode(b"ab" + KEY.encode()).decode()),
    ],
    ids=["query", "header", "encoded"],
)
def test_a_secret_in_the_head_goes_to_no_host_that_it_is_not_bound_to(bed, raw):
    session = bed.plane.begin(injecting(bed), bed.inspecting("other.example", id="2.1"), secrets=SECRETS)
    answer = asked(bed, session, raw(host(bed, "other.example")), "other.example")
    assert b'"secret_leak"' in answer
    assert KEY.encode() not in answer
    assert bed.secure.connections == 0
    assert KEY not in json.dumps(bed.plane.told("finding.leak", host="other.example", slot="secret:key"))


def test_a_secret_in_a_body_is_taken_out_on_its_way(bed):
    session = bed.plane.begin(injecting(bed), bed.inspecting("other.example", id="2.1"), secrets=SECRETS)
    body = b"a" * 70_000 + KEY.encode() + b"b"
    asked(bed, session, request(host(bed, "other.example"), "/x", "POST", body), "other.example")
    assert bed.secure.arrived[0].body == b"a" * 70_000 + b"*" * len(KEY) + b"b"
    bed.plane.told("finding.leak", where="body")


def test_the_key_may_be_sent_to_its_own_host(bed):
    session = bed.plane.begin(bed.inspecting(), injecting(bed), secrets=SECRETS)
    asked(bed, session, request(host(bed), "/x", "POST", KEY.encode()))
    assert bed.secure.arrived[0].body == KEY.encode()


def test_what_the_session_knows_besides_is_redacted_too(bed):
    session = bed.plane.begin(bed.inspecting(), redact=["dbs_session_token_of_this"])
    bed.secure.says = b"your token is dbs_session_token_of_this"
    assert b"dbs_session" not in asked(bed, session, request(host(bed), "/said"))


def test_a_redirect_is_the_agents_to_follow_and_takes_no_credential(bed):
    session = bed.plane.begin(injecting(bed), bed.inspecting("other.example", id="2.1"), secrets=SECRETS)
    assert asked(bed, session, request(host(bed), "/status/302")).startswith(b"HTTP/1.1 302")
    asked(bed, session, request(host(bed, "other.example"), "/x"), "other.example")
    assert "Authorization" not in bed.secure.arrived[1].headers


def test_another_sessions_credential_does_not_ride_on_a_kept_connection(bed):
    one, two = (bed.plane.begin(injecting(bed), secrets={"secret:key": {"value": f"secret-of-{n}"}}) for n in "12")
    for session in (one, two):
        asked(bed, session, request(host(bed), "/v1"))
    assert [one.headers["Authorization"] for one in bed.secure.arrived] == ["Bearer secret-of-1", "Bearer secret-of-2"]
    assert bed.secure.connections == 2
