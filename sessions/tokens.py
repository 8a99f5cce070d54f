"""Keys and codes that we hand out: how they look, and the digests under which we keep them.

A key is `dbk_` (agent key), `dbs_` (session token), `dbd_` (device code) or `dbg_` (gateway), 32 base62 characters of
190 random bits, and six of a CRC-32 over what precedes them: a scanner can tell a real one from a look-alike without
asking us.
"""

import hashlib
import secrets
import zlib

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
AGENT_KEY, SESSION_TOKEN, DEVICE_CODE, GATEWAY_TOKEN = "dbk", "dbs", "dbd", "dbg"
PROXY_PREFIX = "dbp_"
_RANDOM, _CHECKSUM = 32, 6
# RFC 8628, section 6.1: no vowels, so no words; nothing that is read as something else.
_USER_CODE_ALPHABET = "BCDFGHJKLMNPQRSTVWXZ"
_WORDLESS_ALPHABET = "bcdfghjkmnpqrstvwxz23456789"


def new(prefix: str) -> str:
    body = prefix + "_" + "".join(secrets.choice(ALPHABET) for _ in range(_RANDOM))
    return body + _checksum(body)


def well_formed(key: str, prefix: str) -> bool:
    """Whether the key could be one of ours: prefix, length and checksum."""
    body, checksum = key[:-_CHECKSUM], key[-_CHECKSUM:]
    return (
        key.isascii()
        and key.startswith(prefix + "_")
        and len(key) == len(prefix) + 1 + _RANDOM + _CHECKSUM
        and checksum == _checksum(body)
    )


def digest(key: str) -> str:
    """What is stored. The keys are random, so a plain hash cannot be guessed."""
    return hashlib.sha256(key.encode()).hexdigest()


def proxy_secret(session_token: str) -> str:
    """What a session's sandbox shows to a gateway: made of the token, and no way back to it (docs/gateway.md)."""
    return PROXY_PREFIX + hashlib.sha256(f"drawbridge proxy\n{session_token}".encode()).hexdigest()[:40]


def new_user_code() -> str:
    letters = [secrets.choice(_USER_CODE_ALPHABET) for _ in range(8)]
    return "".join(letters[:4]) + "-" + "".join(letters[4:])


def new_password() -> str:
    """A first password of 95 random bits, in groups that can be read out."""
    letters = [secrets.choice(_WORDLESS_ALPHABET) for _ in range(20)]
    return "-".join("".join(letters[start : start + 5]) for start in range(0, 20, 5))


def _checksum(body: str) -> str:
    value = zlib.crc32(body.encode())
    digits = []
    for _ in range(_CHECKSUM):
        value, digit = divmod(value, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))
