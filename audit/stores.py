"""The log's stores as the settings name them: a folder, or s3://bucket/prefix."""

from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from audit.tile_store import FolderStore, S3Store, TileStore

SCHEME = "s3://"


def s3_client() -> Any:
    """A client with short timeouts and few tries: whoever waits for it tries again by themselves."""
    config = Config(connect_timeout=2, read_timeout=10, retries={"max_attempts": 2, "mode": "standard"})
    return boto3.client("s3", endpoint_url=settings.S3_ENDPOINT_URL or None, config=config)


def bucket_of(place: str) -> tuple[str, str]:
    """The bucket and the prefix, which is empty or ends in a slash."""
    bucket, _, prefix = place.removeprefix(SCHEME).partition("/")
    if not bucket:
        raise ImproperlyConfigured(f"{place!r} names no bucket. Write s3://bucket or s3://bucket/prefix.")
    prefix = prefix.strip("/")
    return bucket, f"{prefix}/" if prefix else ""


def tile_store(place: str) -> TileStore:
    if place.startswith(SCHEME):
        return S3Store(s3_client(), *bucket_of(place))
    return FolderStore(Path(place))
