"""Requests that the gateway looks into: passed on, recorded, refused."""

import json

from tests.gateway.bed.gateways import everything, request


def test_an_allowed_request_passes_and_is_recorded_before_and_after(bed):
    session = bed.plane.begin(bed.inspecting(path="/repos/"))
    with bed.gateway.inside(session, "api.example", bed.secure.port) as inside:
        inside.sendall(request(f"api.example:{bed.secure.port}", "/repos/a?q=1"))
        answer = everything(inside)
    assert answer.startswith(b"HTTP/1.1 200")
    assert bed.secure.arrived[0].path == "/repos/a?q=1"
    began = bed.plane.told("egress.request", method="GET", path="/repos/a", rule="1.1")
    ended = bed.plane.told("egress.response", request=began["id"], status=200)
    assert ended["data"]["received_bytes"] > 100
    assert began["data"]["gateway"] == "bed"


def test_a_path_beside_the_rule_is_denied_in_words_for_an_agent(bed):
    session = bed.plane.begin(bed.inspecting(path="/repos/"))
    with bed.gateway.inside(session, "api.example", bed.secure.port) as inside:
        inside.sendall(request(f"api.example:{bed.secure.port}", "/user/keys", "POST", b"x"))
        head, _, body = everything(inside).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 403")
    said = json.loads(body)
    assert (said["code"], said["retry"], said["method"], said["path"]) == (
        "path_not_allowed",
        False,
        "POST",
        "/user/keys",
    )
    assert said["event"] == bed.plane.told("egress.denied", code="path_not_allowed")["id"]
    assert bed.secure.connections == 0
