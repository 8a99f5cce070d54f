"""The server that stands in for S3 refuses what AWS says that it refuses, and speaks as botocore's model has it."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError

from tests.audit.archive.archives import UNTIL, client
from tests.audit.archive.locked_s3 import MODE, Handler, LockedBucket
from tests.audit.archive.locked_s3 import UNTIL as UNTIL_HEADER
from tests.audit.formats.s3_server import serving

KEY = {"Bucket": "archive", "Key": "a"}
LOCK = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": UNTIL}


@pytest.fixture
def bucket() -> LockedBucket:
    return LockedBucket()


@pytest.fixture
def s3(bucket: LockedBucket) -> Iterator[Any]:
    with serving(bucket, Handler) as address:
        yield client(address)


def code(caught: pytest.ExceptionInfo[ClientError]) -> tuple[int, str]:
    return caught.value.response["ResponseMetadata"]["HTTPStatusCode"], caught.value.response["Error"]["Code"]


@pytest.mark.parametrize("bypass", [False, True])
def test_a_locked_version_cannot_be_deleted(s3: Any, bypass: bool) -> None:
    s3.put_object(**KEY, Body=b"x", ChecksumAlgorithm="SHA256", **LOCK)
    version = s3.get_object(**KEY)["VersionId"]
    with pytest.raises(ClientError) as caught:
        s3.delete_object(**KEY, VersionId=version, BypassGovernanceRetention=bypass)
    assert code(caught) == (403, "AccessDenied")
    assert s3.get_object(**KEY)["Body"].read() == b"x"


@pytest.mark.parametrize(
    ("mode", "later", "allowed"),
    [
        ("COMPLIANCE", timedelta(days=1), True),
        ("COMPLIANCE", timedelta(days=-1), False),
        ("GOVERNANCE", timedelta(days=1), False),
        ("GOVERNANCE", timedelta(days=-1), False),
    ],
)
def test_a_locked_version_is_kept_longer_and_never_less(s3: Any, mode: str, later: timedelta, allowed: bool) -> None:
    s3.put_object(**KEY, Body=b"x", ChecksumAlgorithm="SHA256", **LOCK)
    retention = {"Mode": mode, "RetainUntilDate": UNTIL + later}
    if allowed:
        s3.put_object_retention(**KEY, Retention=retention)
    else:
        with pytest.raises(ClientError) as caught:
            s3.put_object_retention(**KEY, Retention=retention, BypassGovernanceRetention=True)
        assert code(caught) == (403, "AccessDenied")
    until = UNTIL + later if allowed else UNTIL
    assert s3.get_object_retention(**KEY)["Retention"] == {"Mode": "COMPLIANCE", "RetainUntilDate": until}


def test_a_delete_by_name_leaves_a_marker_that_can_be_removed(s3: Any, bucket: LockedBucket) -> None:
    s3.put_object(**KEY, Body=b"x", ChecksumAlgorithm="SHA256", **LOCK)
    s3.delete_object(**KEY)
    with pytest.raises(s3.exceptions.NoSuchKey) as caught:
        s3.get_object(**KEY)
    assert caught.value.response["ResponseMetadata"]["HTTPHeaders"]["x-amz-delete-marker"] == "true"
    s3.delete_object(**KEY, VersionId=bucket.versions["a"][-1].id)
    assert s3.get_object(**KEY)["Body"].read() == b"x"


def test_a_put_over_a_locked_version_leaves_it_below(s3: Any, bucket: LockedBucket) -> None:
    for data in (b"x", b"y"):
        s3.put_object(**KEY, Body=data, ChecksumAlgorithm="SHA256", **LOCK)
    assert [version.data for version in bucket.versions["a"]] == [b"x", b"y"]
    with pytest.raises(ClientError) as caught:
        s3.put_object(**KEY, Body=b"z", IfNoneMatch="*")
    assert code(caught) == (412, "PreconditionFailed")


def test_bytes_that_are_not_those_of_the_checksum_are_refused(s3: Any, bucket: LockedBucket) -> None:
    with pytest.raises(ClientError) as caught:
        s3.put_object(**KEY, Body=b"x", ChecksumSHA256="47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", **LOCK)
    assert code(caught) == (400, "BadDigest")
    assert bucket.versions == {}


def test_what_is_not_locked_says_so(s3: Any) -> None:
    s3.put_object(**KEY, Body=b"x")
    with pytest.raises(ClientError) as caught:
        s3.get_object_retention(**KEY)
    assert code(caught) == (404, "NoSuchObjectLockConfiguration")


def test_headers_queries_and_modes_are_those_of_botocores_model() -> None:
    model = botocore.session.get_session().get_service_model("s3")

    def header(operation: str, member: str) -> object:
        shape = model.operation_model(operation).input_shape
        return shape.members[member].serialization["name"]

    assert header("PutObject", "ObjectLockMode") == MODE
    assert header("PutObject", "ObjectLockRetainUntilDate") == UNTIL_HEADER
    assert header("PutObject", "ChecksumSHA256") == "x-amz-checksum-sha256"
    assert header("PutObject", "IfNoneMatch") == "If-None-Match"
    assert header("GetObject", "ChecksumMode") == "x-amz-checksum-mode"
    assert {header(name, "VersionId") for name in ("GetObject", "GetObjectRetention", "DeleteObject")} == {"versionId"}
    uris = {name: model.operation_model(name).http for name in ("PutObjectRetention", "GetObjectLockConfiguration")}
    assert uris["PutObjectRetention"] == {"method": "PUT", "requestUri": "/{Bucket}/{Key+}?retention"}
    assert uris["GetObjectLockConfiguration"] == {"method": "GET", "requestUri": "/{Bucket}?object-lock"}
    assert model.shape_for("ObjectLockRetentionMode").enum == ["GOVERNANCE", "COMPLIANCE"]
    assert model.shape_for("ObjectLockEnabled").enum == ["Enabled"]
