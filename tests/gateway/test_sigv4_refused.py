"""What cannot be signed anew is refused, with a reason that an agent can act on."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.aws_hosts import fits
from gateway.head import Head
from gateway.refusal import HeadError, Refusal, SigningError
from gateway.sigv4 import Keys, sign
from gateway.sigv4_claim import read

NOW = datetime(2026, 11, 26, 7, 0, 0, tzinfo=UTC)
HOST = "s3.eu-central-1.amazonaws.com"
KEYS = Keys("ASIAREAL", "secret", "token")
SCOPE = "AKIADUMMY/20261126/eu-central-1/s3/aws4_request"
GOOD = f"AWS4-HMAC-SHA256 Credential={SCOPE}, SignedHeaders=host;x-amz-date, Signature={'0' * 64}"
PRESIGNED = (
    f"/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={SCOPE.replace('/', '%2F')}&X-Amz-Date=20261126T070000Z"
    f"&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature={'0' * 64}"
)


def head(authorization: str = GOOD, *more: tuple[bytes, bytes], date: str = "20261126T070000Z") -> Head:
    headers = [(b"Host", HOST.encode()), (b"X-Amz-Date", date.encode()), (b"X-Amz-Content-SHA256", b"UNSIGNED-PAYLOAD")]
    return Head(b"GET", b"/key", (*headers, (b"Authorization", authorization.encode()), *more))


def refusal(of: Head, host: str = HOST) -> str:
    with pytest.raises(Refusal) as refused:
        sign(read(of, host), of, KEYS, now=NOW)
    return refused.value.code


def presigned(old: str = "", new: str = "") -> Head:
    assert old in PRESIGNED
    return Head(b"GET", PRESIGNED.replace(old, new, 1).encode(), ((b"Host", HOST.encode()),))


def test_the_good_ones_are_signed():
    assert len(sign(read(head(), HOST), head(), KEYS, now=NOW).signature) == 64
    assert b"X-Amz-Security-Token=token" in sign(read(presigned(), HOST), presigned(), KEYS, now=NOW).head.target


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256", "signing_sigv4a"),
        ("AWS4-HMAC-SHA256 ", "AWS ", "signing_shape"),
        ("AWS4-HMAC-SHA256 ", "Bearer ", "signing_shape"),
        ("aws4_request", "aws4_other", "signing_shape"),
        ("/eu-central-1/", "/", "signing_shape"),
        ("/eu-central-1/", "/eu\x00central/", "signing_shape"),
        ("host;x-amz-date", "x-amz-date", "signing_shape"),
        ("host;x-amz-date", "Host;x-amz-date", "signing_shape"),
        ("0" * 64, "0" * 63, "signing_shape"),
        ("0" * 64, "G" * 64, "signing_shape"),
        ("20261126", "20261125", "signing_time"),
        ("/s3/", "/s3express/", "signing_service"),
        ("/s3/", "/iam/", "signing_host"),
        ("/eu-central-1/", "/us-east-1/", "signing_host"),
    ],
)
def test_an_authorization_of_another_shape_is_refused(old, new, code):
    assert old in GOOD
    assert refusal(head(GOOD.replace(old, new))) == code


@pytest.mark.parametrize(
    "payload",
    [
        b"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD",
        b"STREAMING-AWS4-HMAC-SHA256-EVENTS",
        b"E" * 64,
        b"none",
    ],
)
def test_another_kind_of_payload_is_refused(payload):
    assert refusal(head().having(b"X-Amz-Content-SHA256", payload)) == "signing_payload"


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("X-Amz-Algorithm=AWS4-HMAC-SHA256", "X-Amz-Algorithm=AWS4-ECDSA-P256-SHA256", "signing_sigv4a"),
        ("X-Amz-Algorithm=AWS4-HMAC-SHA256&", "", "signing_shape"),
        ("&X-Amz-Expires=60", "", "signing_shape"),
        ("&X-Amz-Expires=60", "&X-Amz-Expires=-1", "signing_shape"),
        ("&X-Amz-Expires=60", "&X-Amz-Expires=60&x-amz-expires=99", "signing_shape"),
        ("&X-Amz-Expires=60", "&X-Amz-Expires=60&X-Amz-%45xpires=99", "signing_shape"),
        ("&X-Amz-Expires=60", "&X-Amz-Expires=0", "signing_time"),
        ("0" * 64, "0" * 65, "signing_shape"),
        ("20261126T070000Z", "20261126T080000Z", "signing_time"),
        ("20261126T070000Z", "now", "signing_time"),
    ],
)
def test_a_presigned_url_of_another_shape_is_refused(old, new, code):
    assert refusal(presigned(old, new)) == code


def test_an_unsigned_request_is_told_to_sign():
    with pytest.raises(SigningError, match="Sign it with any keys"):
        read(head().without(b"authorization"), HOST)


def test_two_signatures_are_refused():
    assert refusal(replace(head(), target=PRESIGNED.encode())) == "signing_twice"
    with pytest.raises(HeadError, match="more than once"):
        read(head(GOOD, (b"authorization", GOOD.encode())), HOST)


@pytest.mark.parametrize("date", ["", "20261126", "20261326T070000Z", "Thu, 26 Nov 2026 07:00:00 GMT"])
def test_a_time_that_is_none_is_refused(date):
    assert refusal(head(date=date)) == "signing_time"
    assert refusal(head().without(b"x-amz-date")) == "signing_time"


def test_a_body_whose_hash_is_not_known_is_refused():
    agent = head().without(b"x-amz-content-sha256")
    assert read(agent, HOST).payload is None
    assert refusal(agent) == "signing_payload"


def test_a_presigned_url_made_long_ago_lasts_five_minutes_from_now():
    claim = replace(read(presigned(), HOST), expires=86400)
    done = sign(claim, presigned(), KEYS, now=NOW + timedelta(hours=1))
    assert b"&X-Amz-Expires=3900&" in done.head.target


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        (None, "secret_missing"),
        ({}, "secret_unfit"),
        ({"access_key_id": "AKIA", "secret_access_key": ""}, "secret_unfit"),
        ({"access_key_id": "AK/IA\r\n", "secret_access_key": "x"}, "secret_unfit"),
    ],
)
def test_keys_that_are_none_are_refused(fields, code):
    with pytest.raises(SigningError) as refused:
        Keys.of("aws:main", fields)
    assert refused.value.code == code


def test_keys_come_from_a_credentials_fields():
    fields = {"access_key_id": "ASIAREAL", "secret_access_key": "secret", "session_token": "token"}
    assert Keys.of("aws:main", fields) == KEYS


@pytest.mark.parametrize(
    ("host", "service", "region", "expected"),
    [
        ("s3.amazonaws.com", "s3", "us-east-1", True),
        ("my.bucket.s3.eu-central-1.amazonaws.com", "s3", "eu-central-1", True),
        ("bucket.s3.dualstack.eu-central-1.amazonaws.com", "s3", "eu-central-1", True),
        ("iam.s3.eu-central-1.amazonaws.com", "iam", "eu-central-1", False),
        ("bucket.s3.eu-central-1.amazonaws.com", "s3", "us-west-2", False),
        ("iam.amazonaws.com", "iam", "us-east-1", True),
        ("iam.amazonaws.com", "sts", "us-east-1", False),
        ("email.eu-west-1.amazonaws.com", "ses", "eu-west-1", True),
        ("bedrock-runtime.us-west-2.amazonaws.com", "bedrock", "us-west-2", True),
        ("abc.execute-api.us-west-2.amazonaws.com", "execute-api", "us-west-2", True),
        ("abc.lambda-url.us-west-2.on.aws", "lambda", "us-west-2", True),
        ("s3.cn-north-1.amazonaws.com.cn", "s3", "cn-north-1", True),
        ("vpce-1.s3.us-east-1.vpce.amazonaws.com", "s3", "us-west-2", False),
        ("minio.internal", "s3", "us-east-1", True),
    ],
)
def test_a_host_fits_what_its_name_says(host, service, region, expected):
    assert fits(host, service, region) is expected


@given(st.text(max_size=80), st.binary(max_size=80))
def test_anything_else_is_a_refusal_and_nothing_worse(authorization, target):
    agent = Head(b"GET", b"/?" + target, ((b"Authorization", authorization.encode("utf-8", "replace")),))
    with pytest.raises(Refusal):
        read(agent, HOST)
