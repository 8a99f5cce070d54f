"""Re-signed requests are what botocore makes with the real keys for the same time."""

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

import time_machine
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from gateway.head import Head
from gateway.sigv4 import Keys, Signed, sign
from gateway.sigv4_claim import read

NOW = datetime(2026, 11, 26, 7, 0, 0, tzinfo=UTC)
DUMMY = Credentials("AKIADUMMY", "dummy", None)
DUMMY_WITH_TOKEN = Credentials("ASIADUMMY", "dummy", "dummy-token/+=")
REAL = Credentials("ASIAREAL", "real/secret+key", "real-token/+==")
LASTING = Credentials("AKIAREAL", "real/secret+key", None)
HOSTS = {"s3": "bucket.s3.eu-central-1.amazonaws.com", "dynamodb": "dynamodb.eu-central-1.amazonaws.com"}
SIGNERS = {"s3": (S3SigV4Auth, S3SigV4QueryAuth), "dynamodb": (SigV4Auth, SigV4QueryAuth)}
Headers = Iterable[tuple[str, str]]


def request(service: str, target: str, method: str = "GET", headers: Headers = (), body: bytes = b"") -> AWSRequest:
    made = AWSRequest(method=method, url=f"https://{HOSTS[service]}{target}", data=body)
    for name, value in headers:
        made.headers[name] = value
    return made


def by_botocore(made: AWSRequest, service: str, keys: Credentials, expires: int | None = None) -> Head:
    header, presigned = SIGNERS[service]
    options = {} if expires is None else {"expires": expires}
    signer = (header if expires is None else presigned)(keys, service, "eu-central-1", **options)
    with time_machine.travel(NOW, tick=False):
        signer.add_auth(made)
    parts = urlsplit(made.url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    pairs = [(name.encode(), value.encode()) for name, value in made.headers.items()]
    return Head(made.method.encode(), target.encode(), ((b"Host", HOSTS[service].encode()), *pairs))


def by_us(head: Head, service: str, keys: Credentials, body_sha256: str | None = None) -> Signed:
    ours = Keys(keys.access_key, keys.secret_key, keys.token or "")
    return sign(read(head, HOSTS[service]), head, ours, now=NOW, body_sha256=body_sha256)


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


# Odd characters, as a client puts them on the wire: encoded. A raw plus is not among them (see below).
SEGMENT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
PATH = st.lists(SEGMENT, max_size=4).map(lambda parts: "/" + quote("/".join(parts), safe="/~"))
DOTTED = st.lists(st.sampled_from(["a", ".", "..", "", "b%2Fc", "%20", "é"]), max_size=6)
ROUGH = DOTTED.map(lambda parts: "/" + quote("/".join(parts), safe="/~%"))
QUERY = st.lists(st.tuples(SEGMENT, st.text(st.characters(exclude_categories=["Cs"]), max_size=6)), max_size=5).map(
    lambda pairs: "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs)
).filter(lambda query: "amz-" not in query.lower())  # fmt: skip
VALUE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12)
NAME = st.sampled_from(["X-Amz-Meta-A", "x-amz-meta-b", "Content-Type", "X-Custom", "Range", "User-Agent"])
HEADERS = st.lists(st.tuples(NAME, VALUE), max_size=6)
KEYS = st.sampled_from([REAL, LASTING])
DUMMIES = st.sampled_from([DUMMY, DUMMY_WITH_TOKEN])


def same(ours: Head, theirs: Head) -> None:
    for name in (b"Authorization", b"X-Amz-Security-Token", b"X-Amz-Date", b"X-Amz-Content-SHA256"):
        assert ours.all(name) == theirs.all(name)
    assert sorted(ours.headers) == sorted(theirs.headers)
    assert ours.target == theirs.target


@given(PATH, QUERY, HEADERS, st.sampled_from(["GET", "PUT", "DELETE"]), st.binary(max_size=40), DUMMIES, KEYS)
def test_s3_requests_are_what_botocore_signs(path, query, headers, method, body, dummy, keys):
    made = (f"{path}?{query}" if query else path, method, headers, body)
    agent = by_botocore(request("s3", *made), "s3", dummy)
    same(by_us(agent, "s3", keys).head, by_botocore(request("s3", *made), "s3", keys))


@given(st.one_of(PATH, ROUGH), QUERY, HEADERS, st.binary(max_size=40), DUMMIES, KEYS)
def test_requests_of_other_services_are_what_botocore_signs(path, query, headers, body, dummy, keys):
    made = (f"{path}?{query}" if query else path, "POST", headers, body)
    agent = by_botocore(request("dynamodb", *made), "dynamodb", dummy)
    theirs = by_botocore(request("dynamodb", *made), "dynamodb", keys)
    same(by_us(agent, "dynamodb", keys, sha256(body)).head, theirs)


@given(st.sampled_from(["s3", "dynamodb"]), PATH, QUERY, st.integers(1, 300), DUMMIES, KEYS)
def test_presigned_urls_are_what_botocore_signs(service, path, query, expires, dummy, keys):
    target = (
        f"{path}?{query}" if len({pair.partition("=")[0] for pair in query.split("&")}) > query.count("&") else path
    )
    agent = by_botocore(request(service, target), service, dummy, expires)
    theirs = by_botocore(request(service, target), service, keys, expires)
    same(by_us(agent, service, keys, sha256(b"")).head, theirs)


def test_a_date_header_stands_for_the_time():
    headers = [("Date", "Thu, 01 Jan 1970 00:00:00 GMT")]
    agent = by_botocore(request("dynamodb", "/", headers=headers), "dynamodb", DUMMY)
    assert not agent.all(b"X-Amz-Date")
    theirs = by_botocore(request("dynamodb", "/", headers=headers), "dynamodb", REAL)
    same(by_us(agent, "dynamodb", REAL, sha256(b"")).head, theirs)


def test_an_unsigned_payload_stays_unsigned():
    made = request("s3", "/key", "PUT", [("Content-MD5", "x")], b"body")
    made.context["has_streaming_input"] = True
    agent = by_botocore(made, "s3", DUMMY)
    assert agent.one(b"X-Amz-Content-SHA256") == b"UNSIGNED-PAYLOAD"
    again = request("s3", "/key", "PUT", [("Content-MD5", "x")], b"body")
    again.context["has_streaming_input"] = True
    same(by_us(agent, "s3", REAL).head, by_botocore(again, "s3", REAL))


def test_checksum_trailers_as_boto3_sends_them_are_what_botocore_signs():
    def made() -> AWSRequest:
        new = request(
            "s3", "/key", "PUT", [("Content-Encoding", "aws-chunked"), ("X-Amz-Trailer", "x-amz-checksum-crc32")]
        )
        new.context["checksum"] = {"request_algorithm": {"in": "trailer", "name": "x-amz-checksum-crc32"}}
        return new

    agent = by_botocore(made(), "s3", DUMMY)
    ours = by_us(agent, "s3", REAL)
    same(ours.head, by_botocore(made(), "s3", REAL))
    assert ours.chunks is not None


def test_a_header_that_the_gateway_took_out_is_not_signed():
    agent = by_botocore(request("s3", "/key", headers=[("X-Custom", "a"), ("Range", "b")]), "s3", DUMMY)
    theirs = by_botocore(request("s3", "/key", headers=[("Range", "b")]), "s3", REAL)
    ours = sign(
        read(agent, HOSTS["s3"]), agent.without(b"x-custom"), Keys("ASIAREAL", "real/secret+key", REAL.token), now=NOW
    )
    same(ours.head, theirs)


def test_a_raw_plus_in_a_query_is_signed_as_the_space_that_s3_reads():
    agent = by_botocore(request("s3", "/?prefix=a%20b"), "s3", DUMMY)
    spaced = Head(agent.method, b"/?prefix=a+b", agent.headers)
    assert by_us(spaced, "s3", REAL).signature == by_us(agent, "s3", REAL).signature
    assert by_us(spaced, "s3", REAL).head.target == b"/?prefix=a+b"


def test_a_long_presigned_url_ends_in_five_minutes():
    agent = by_botocore(request("s3", "/key"), "s3", DUMMY, 604800)
    theirs = by_botocore(request("s3", "/key"), "s3", REAL, 300)
    same(by_us(agent, "s3", REAL).head, theirs)


def test_keys_never_show_what_is_secret():
    assert repr(Keys("ASIAREAL", "real-secret", "real-token")) == "Keys(access_key_id='ASIAREAL')"
