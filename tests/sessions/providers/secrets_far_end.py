"""Secrets Manager, Lambda and STS on loopback: moto for their protocol, and what it lacks: RotateSecret without an ARN
takes the function that was configured, and is refused where there is none or a rotation is under way, as AWS does.

As a program: prints {"port", "function"}, then serves until its input ends. A rotation that was started stays under
way: whoever tests is the function, and ends it. POST /faults with [[status, text], ...] lets the next requests be
answered so; GET /seen tells which operations came, each with the access key that signed it.
"""

import base64
import io
import json
import os
import sys
import threading
import zipfile
from typing import Any

ACCOUNT, REGION = "123456789012", "eu-central-1"
ROTATE = "secretsmanager.RotateSecret"


def function() -> str:
    """The ARN of a function that does nothing."""
    from moto.awslambda.utils import get_backend
    from moto.iam.models import iam_backends

    made = {"path": "/", "permissions_boundary": None, "description": "", "tags": [], "max_session_duration": "3600"}
    role = iam_backends[ACCOUNT]["aws"].create_role("rotate", assume_role_policy_document="{}", **made)
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as file:
        file.writestr("rotate.py", "def handler(event, context): pass")
    zipped = {"ZipFile": base64.b64encode(code.getvalue()).decode()}
    spec = {"FunctionName": "rotate", "Runtime": "python3.11", "Handler": "rotate.handler", "Role": role.arn}
    return str(get_backend(ACCOUNT, REGION).create_function({**spec, "Code": zipped}).function_arn)


def serve() -> None:
    from moto.core.config import default_user_config
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from moto.secretsmanager.models import secretsmanager_backends
    from werkzeug.serving import make_server

    default_user_config["lambda"] = {"use_docker": False}
    application = DomainDispatcherApplication(create_backend_app)
    kept = secretsmanager_backends[ACCOUNT][REGION].secrets
    arn, faults, seen = function(), [], []
    rotated: set[str] = set()

    def answer(environ: dict[str, Any], start_response: Any) -> Any:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        operation = environ.get("HTTP_X_AMZ_TARGET", "")
        if environ["PATH_INFO"] == "/faults":
            faults[:] = json.loads(body)
            return said(start_response, 200, "")
        if environ["PATH_INFO"] == "/seen":
            return said(start_response, 200, json.dumps(seen))
        key = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2].partition("/")[0]
        seen.append([operation.rpartition(".")[2] or body.decode().partition("&")[0], key])
        if faults:
            return said(start_response, *faults.pop(0))
        if operation == ROTATE:
            asked = json.loads(body)
            secret = kept[asked["SecretId"]]
            if not asked.get("RotateImmediately", True):
                rotated.add(secret.name)
                return said(start_response, 200, json.dumps({"ARN": secret.arn, "Name": secret.name}))
            if secret.name not in rotated or under_way(secret):
                return said(start_response, 400, json.dumps({"__type": "InvalidRequestException", "message": "no"}))
            body = json.dumps({**asked, "RotationLambdaARN": arn}).encode()
        environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        return application(environ, start_response)

    server = make_server("127.0.0.1", 0, answer, threaded=True)
    print(json.dumps({"port": server.port, "function": arn}), flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    os._exit(0)


def under_way(secret: Any) -> bool:
    return any(set(version["version_stages"]) == {"AWSPENDING"} for version in secret.versions.values())


def said(start_response: Any, status: int, text: str) -> list[bytes]:
    raw = text.encode()
    head = [("Content-Type", "application/x-amz-json-1.1"), ("Content-Length", str(len(raw)))]
    start_response(f"{status} Said", head)
    return [raw]


if __name__ == "__main__":
    serve()
