"""The part of S3 that an archive uses: versions, and Object Lock as AWS describes it for compliance mode.

A version under COMPLIANCE cannot be deleted, and its date only put off, whoever asks. A delete without a version puts a
marker on top, and hides the version without touching it. test_locked_s3 pins the names to botocore's model.
"""

import base64
import hashlib
import itertools
import re
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

from tests.audit.formats import s3_server

MODE, UNTIL = "x-amz-object-lock-mode", "x-amz-object-lock-retain-until-date"
DATE = "%Y-%m-%dT%H:%M:%SZ"


class Version:
    """`data` is None of a delete marker."""

    def __init__(self, data: bytes | None, mode: str | None, until: datetime | None) -> None:
        self.data, self.mode, self.until = data, mode, until
        self.id = ""

    @property
    def locked(self) -> bool:
        return self.mode == "COMPLIANCE" and self.until is not None and self.until > datetime.now(UTC)


class LockedBucket(s3_server.Bucket):
    """`versions` by key, the newest last. `page` is how many keys a listing gives at once; `rotten` have a bad disk."""

    def __init__(self, *, locking: bool = True, page: int = 1000) -> None:
        self.versions: dict[str, list[Version]] = {}
        self.rotten: set[str] = set()
        self.locking = locking
        self.page = page
        self._ids = itertools.count(1)
        super().__init__()

    @property
    def objects(self) -> dict[str, bytes]:
        newest = {key: versions[-1].data for key, versions in self.versions.items() if versions}
        return {key: data for key, data in newest.items() if data is not None}

    @objects.setter
    def objects(self, objects: dict[str, bytes]) -> None:
        """The plain bucket begins with none."""

    def add(self, key: str, version: Version) -> None:
        version.id = f"v{next(self._ids)}"
        self.versions.setdefault(key, []).append(version)

    def find(self, key: str, version_id: str | None) -> Version | None:
        versions = self.versions.get(key, [])
        if version_id is None:
            return versions[-1] if versions else None
        return next((version for version in versions if version.id == version_id), None)

    def retain(self, version: Version, mode: str, until: datetime) -> bool:
        """False where compliance mode does not allow it: then nothing changed."""
        weaker = mode != "COMPLIANCE" or (version.until is not None and until < version.until)
        if version.locked and weaker:
            return False
        version.mode, version.until = mode, until
        return True

    def delete(self, key: str, version_id: str) -> bool:
        version = self.find(key, version_id)
        if version is not None and version.locked:
            return False
        self.versions[key] = [kept for kept in self.versions[key] if kept is not version]
        return True


class Handler(s3_server.Handler):
    bucket: LockedBucket
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.extra: dict[str, str] = {}

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.path).query, keep_blank_values=True)

    @property
    def version_id(self) -> str | None:
        return self.query.get("versionId", [None])[0]

    def end_headers(self) -> None:
        for name, value in self.extra.items():
            self.send_header(name, value)
        self.extra = {}
        super().end_headers()

    def do_PUT(self) -> None:
        key, data = self._key(), self._body()
        with self.bucket.lock:
            self.bucket.requests.append(f"PUT {key}")
            failure = self.bucket.failures.pop(0) if self.bucket.failures else ""
            if failure == "before":
                return self._answer(500, "InternalError")
            put = self._retention if "retention" in self.query else self._put
            status, code = put(key, data)
            return self._answer(500, "InternalError") if failure == "after" else self._answer(status, code)

    def _put(self, key: str, data: bytes) -> tuple[int, str]:
        mode, until = self.headers.get(MODE), self.headers.get(UNTIL)
        checksum = self.headers.get("x-amz-checksum-sha256")
        if mode and not self.bucket.locking:
            return 400, "InvalidRequest"
        if mode and not (checksum or self.headers.get("Content-MD5")):
            return 400, "InvalidRequest"
        if checksum and checksum != base64.b64encode(hashlib.sha256(data).digest()).decode():
            return 400, "BadDigest"
        if self.headers.get("If-None-Match") == "*" and key in self.bucket.objects:
            return 412, "PreconditionFailed"
        self.bucket.add(key, Version(data, mode, _date(until) if until else None))
        return 200, ""

    def _retention(self, key: str, body: bytes) -> tuple[int, str]:
        version = self.bucket.find(key, self.version_id)
        mode = re.search(rb"<Mode>(\w+)</Mode>", body)
        until = re.search(rb"<RetainUntilDate>([^<]+)</RetainUntilDate>", body)
        if version is None or version.data is None:
            return 404, "NoSuchKey"
        if mode is None or until is None:
            return 400, "MalformedXML"
        allowed = self.bucket.retain(version, mode[1].decode(), _date(until[1].decode()))
        return (200, "") if allowed else (403, "AccessDenied")

    def do_GET(self) -> None:
        key, query = self._key(), self.query
        if not key and "object-lock" in query:
            return self._locking()
        if not key:
            return self._list(query["prefix"][0])
        version = self.bucket.find(key, self.version_id)
        if version is None or version.data is None:
            if version:
                self.extra["x-amz-delete-marker"] = "true"
            return self._answer(404, "NoSuchKey")
        if "retention" in query:
            return self._answer_retention(version)
        self.extra["x-amz-version-id"] = version.id
        if self.headers.get("x-amz-checksum-mode") == "ENABLED":
            self.extra["x-amz-checksum-sha256"] = base64.b64encode(hashlib.sha256(version.data).digest()).decode()
        return self._answer(200, "", version.data[::-1] if key in self.bucket.rotten else version.data)

    def _answer_retention(self, version: Version) -> None:
        if version.mode is None or version.until is None:
            return self._answer(404, "NoSuchObjectLockConfiguration")
        date = version.until.strftime(DATE)
        body = f"<Retention><Mode>{version.mode}</Mode><RetainUntilDate>{date}</RetainUntilDate></Retention>"
        return self._answer(200, "", body.encode())

    def _locking(self) -> None:
        if not self.bucket.locking:
            return self._answer(404, "ObjectLockConfigurationNotFoundError")
        enabled = "<ObjectLockEnabled>Enabled</ObjectLockEnabled>"
        return self._answer(200, "", f"<ObjectLockConfiguration>{enabled}</ObjectLockConfiguration>".encode())

    def _list(self, prefix: str) -> None:
        after = self.query.get("continuation-token", [""])[0]
        keys = sorted(key for key in self.bucket.objects if key.startswith(prefix) and key > after)
        found, more = keys[: self.bucket.page], len(keys) > self.bucket.page
        body = "".join(f"<Contents><Key>{key}</Key></Contents>" for key in found)
        token = f"<NextContinuationToken>{found[-1]}</NextContinuationToken>" if more else ""
        truncated = f"<IsTruncated>{str(more).lower()}</IsTruncated>"
        self._answer(200, "", f"<ListBucketResult>{truncated}{token}{body}</ListBucketResult>".encode())

    def do_DELETE(self) -> None:
        key = self._key()
        if self.version_id is None:
            self.bucket.add(key, Version(None, None, None))
            return self._answer(204, "")
        allowed = self.bucket.delete(key, self.version_id)
        return self._answer(204, "") if allowed else self._answer(403, "AccessDenied")


def _date(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
