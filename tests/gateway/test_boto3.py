"""boto3 with keys that are worth nothing, against an AWS that checks each signature."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.gateway import documents
from tests.gateway.bed.aws import BUCKET, Aws
from tests.gateway.bed.control_plane import ControlPlane
from tests.gateway.bed.far_end import certified
from tests.gateway.bed.gateways import GatewayThread

S3, STS, DYNAMO = (f"{name}.eu-central-1.amazonaws.com" for name in ("s3", "sts", "dynamodb"))
SLOT = "aws:reports"


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Aws, Path]]:
    folder = tmp_path_factory.mktemp("aws")
    ca_file, _ = certified(folder, S3, STS, DYNAMO, "localhost")
    with Aws(folder / "far.key") as running:
        yield running, ca_file


@pytest.fixture
def client(aws: tuple[Aws, Path], tmp_path: Path) -> Iterator[Any]:
    far, ca_file = aws
    plane = ControlPlane(10.0)
    gateway = GatewayThread(plane, tmp_path, f"127.0.0.1 {S3} {STS} {DYNAMO}\n", ca_file)
    near = {"port": far.port, "path": "/", "methods": None, "network": "127.0.0.0/8"}
    inject = {"slot": SLOT, "as": "sigv4"}
    rules = [documents.rule(id=f"2.{n}", host=host, inject=inject, **near) for n, host in enumerate((S3, STS, DYNAMO))]
    session = plane.begin(*rules, secrets={SLOT: {"type": "aws", **far.keys}})
    bundle = tmp_path / "session.pem"
    while not gateway.running.gate.control.roster.lives.get(session.id):
        gateway.connects(session, f"{S3}:{far.port}")[1].close()
    bundle.write_bytes(gateway.running.gate.control.roster.lives[session.id].authority.pem)
    proxy = f"http://{session.id}:{quote(session.secret)}@127.0.0.1:{gateway.port}"

    def made(service: str, host: str, **config: Any) -> Any:
        return boto3.Session("AKIAPLACEHOLDER", "placeholder", region_name="eu-central-1").client(
            service,
            endpoint_url=f"https://{host}:{far.port}",
            verify=str(bundle),
            config=Config(proxies={"https": proxy}, retries={"total_max_attempts": 1}, **config),
        )

    yield made
    gateway.close()
    plane.close()


def test_what_is_put_is_what_is_got(client: Any, aws: tuple[Aws, Path]) -> None:
    s3, body = client("s3", S3), b"row\n" * 500_000
    s3.put_object(Bucket=BUCKET, Key="a b/ü+.csv", Body=io.BytesIO(body))
    assert s3.get_object(Bucket=BUCKET, Key="a b/ü+.csv")["Body"].read() == body
    keys = aws[0].keys
    assert {line["token"] for line in aws[0].seen} == {keys["session_token"]}
    assert all(f"Credential={keys['access_key_id']}/" in line["authorization"] for line in aws[0].seen)


def test_a_large_file_goes_in_parts(client: Any) -> None:
    s3, body = client("s3", S3), bytes(range(256)) * 40_000
    s3.upload_fileobj(io.BytesIO(body), BUCKET, "large")
    assert s3.head_object(Bucket=BUCKET, Key="large")["ContentLength"] == len(body)
    listed = s3.list_objects_v2(Bucket=BUCKET, Prefix="lar")["Contents"]
    assert [one["Key"] for one in listed] == ["large"]


def test_a_query_and_a_json_service_are_signed_as_well(client: Any) -> None:
    assert client("sts", STS).get_caller_identity()["Arn"].endswith("assumed-role/agent/session")


def test_what_the_role_may_not_is_refused_by_the_far_end(client: Any) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        client("dynamodb", DYNAMO).list_tables()


def test_the_far_end_refuses_the_placeholder_keys(aws: tuple[Aws, Path]) -> None:
    far, ca_file = aws
    direct = boto3.Session("AKIAPLACEHOLDER", "placeholder", region_name="eu-central-1").client(
        "s3", endpoint_url=f"https://localhost:{far.port}", verify=str(ca_file)
    )
    with pytest.raises(ClientError, match="InvalidAccessKeyId"):
        direct.list_buckets()
