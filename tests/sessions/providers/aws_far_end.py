"""STS, IAM and EC2 on loopback: moto for their protocol, and what it lacks: it lets through whatever a deny forbids.

As a program: prints {"port"}, then serves until its input ends. A session whose `aws:userid` stands in a deny of its
role is refused by `ec2:DescribeRegions`, as AWS does; POST /faults/N lets the next N requests fail with 503, and GET
/sessions lists the sessions: {"key", "name", "policy", "denied"}.
"""

import json
import os
import sys
import threading
from typing import Any

ACCOUNT, ROLE = "123456789012", "agent-reports"


def serve() -> None:
    from moto.iam.models import iam_backends
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from moto.sts.models import sts_backends
    from werkzeug.serving import make_server

    iam, sts = iam_backends[ACCOUNT]["aws"], sts_backends[ACCOUNT]["aws"]
    made: dict[str, Any] = {
        "path": "/",
        "permissions_boundary": None,
        "description": "",
        "tags": [],
        "max_session_duration": "3600",
    }
    role = iam.create_role(ROLE, assume_role_policy_document="{}", **made)
    application = DomainDispatcherApplication(create_backend_app)
    faults = [0]

    def denied(key: str) -> bool:
        session = next((one for one in sts.assumed_roles if one.access_key_id == key), None)
        policies = json.dumps({name: role.policies[name] for name in role.policies})
        return session is not None and f"{role.id}:{session.session_name}" in policies

    def row(session: Any) -> dict[str, Any]:
        key = session.access_key_id
        return {"key": key, "name": session.session_name, "policy": session.policy, "denied": denied(key)}

    def answer(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"].startswith("/faults/"):
            faults[0] = int(environ["PATH_INFO"].rpartition("/")[2])
            start_response("204 No Content", [])
            return [b""]
        if environ["PATH_INFO"] == "/sessions":
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps([row(one) for one in sts.assumed_roles]).encode()]
        if faults[0] > 0:
            faults[0] -= 1
            start_response("503 Service Unavailable", [("Content-Type", "text/plain")])
            return [b"busy"]
        signed = environ.get("HTTP_AUTHORIZATION", "")
        if "/ec2/" in signed and denied(signed.partition("Credential=")[2].partition("/")[0]):
            error = b"<Error><Code>UnauthorizedOperation</Code><Message>no</Message></Error>"
            said = b"<Response><Errors>%b</Errors></Response>" % error
            start_response("403 Forbidden", [("Content-Type", "text/xml"), ("Content-Length", str(len(said)))])
            return [said]
        return application(environ, start_response)

    server = make_server("127.0.0.1", 0, answer, threaded=True)
    print(json.dumps({"port": server.port}), flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    serve()
