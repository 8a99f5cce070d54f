"""Time-ordered identifiers (RFC 9562, section 5.7)."""

import os
import time
import uuid
from datetime import UTC, datetime


def uuid7() -> uuid.UUID:
    """A new UUIDv7: 48 bits of Unix milliseconds, then 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    value = (milliseconds & 0xFFFF_FFFF_FFFF) << 80
    value |= 0x7 << 76 | (random >> 64 & 0xFFF) << 64
    value |= 0b10 << 62 | random & 0x3FFF_FFFF_FFFF_FFFF
    return uuid.UUID(int=value)


def moment_of(made: uuid.UUID) -> datetime:
    """When a UUIDv7 says that it was made."""
    return datetime.fromtimestamp((made.int >> 80) / 1000, UTC)
