"""AWS on loopback, by moto: a role may use S3 and STS, and each request's signature and session token are checked.

As a program (`python -m tests.gateway.bed.aws KEY_FILE`): its first line of output is {"port", "keys"}, then one line
for each request: {"method", "path", "authorization", "token"}. It serves until its input ends.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ACCOUNT, BUCKET = "123456789012", "reports"
ALLOWED = {"Effect": "Allow", "Action": ["s3:*"], "Resource": "*"}


class Aws:
    """Used as a context. `keys` are those of the role, `seen` what arrived."""

    def __init__(self, key_file: Path) -> None:
        self._file = key_file
        self.seen: list[dict[str, Any]] = []

    def __enter__(self) -> "Aws":
        command = [sys.executable, "-W", "ignore", "-m", "tests.gateway.bed.aws", str(self._file)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self._process.stdout is not None
        first = json.loads(self._process.stdout.readline())
        self.port: int = first["port"]
        self.keys: dict[str, str] = first["keys"]
        self._reading = threading.Thread(target=self._read, args=(self._process.stdout,))
        self._reading.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()
        self._reading.join()

    def _read(self, lines: Iterable[bytes]) -> None:
        self.seen.extend(json.loads(line) for line in lines)


def serve(key_file: str) -> None:
    from moto import settings
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    application = DomainDispatcherApplication(create_backend_app)

    def watched(environ: dict[str, Any], start_response: Any) -> Any:
        line = {
            "method": environ["REQUEST_METHOD"],
            "path": environ["PATH_INFO"],
            "authorization": environ.get("HTTP_AUTHORIZATION"),
            "token": environ.get("HTTP_X_AMZ_SECURITY_TOKEN"),
        }
        print(json.dumps(line), flush=True)
        return application(environ, start_response)

    keys = role()
    settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
    server = make_server("127.0.0.1", 0, watched, threaded=True, ssl_context=(key_file, key_file))
    print(json.dumps({"port": server.port, "keys": keys}), flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    os._exit(0)


def role() -> dict[str, str]:
    """Keys of a role that was assumed."""
    from moto.iam.models import iam_backends
    from moto.s3.models import s3_backends
    from moto.sts.models import sts_backends

    s3_backends[ACCOUNT]["aws"].create_bucket(BUCKET, "eu-central-1")
    arguments = {"assume_role_policy_document": "{}", "path": "/", "permissions_boundary": None, "description": ""}
    made = iam_backends[ACCOUNT]["aws"].create_role("agent", tags=[], max_session_duration="3600", **arguments)
    made.put_policy("s3", json.dumps({"Version": "2012-10-17", "Statement": [ALLOWED]}))
    assumed = sts_backends[ACCOUNT]["aws"].assume_role("eu-central-1", "session", made.arn, None, 900, None)
    return {
        "access_key_id": assumed.access_key_id,
        "secret_access_key": assumed.secret_access_key,
        "session_token": assumed.session_token,
    }


if __name__ == "__main__":
    serve(sys.argv[1])
