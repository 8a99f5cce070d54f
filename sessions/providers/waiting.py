"""When a far end wants to be asked again (RFC 9110 section 10.2.3, and GitHub's own headers)."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def retry_after_s(headers: Mapping[str, str]) -> float:
    """Seconds to wait; 0 where nothing is said, or nothing that can be understood."""
    said = headers.get("retry-after", "")
    if not said:
        return _reset_s(headers)
    if said.isascii() and said.isdigit():
        return float(said[:9])
    try:
        return max(0.0, (parsedate_to_datetime(said) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0.0


def _reset_s(headers: Mapping[str, str]) -> float:
    """`x-ratelimit-reset` is a time of Unix, which counts once nothing remains."""
    reset = headers.get("x-ratelimit-reset", "")
    if headers.get("x-ratelimit-remaining") != "0" or not (reset.isascii() and reset.isdigit()):
        return 0.0
    return max(0.0, float(reset[:12]) - time.time())
