"""Where a verifier reads a log from: a folder, or a web server. Imports no Django."""

import http.client
import zlib
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from audit.errors import MissingError, UnreachableError
from audit.tile_store import checked
from audit.tiles import LONGEST_ENTRY, WIDTH

LARGEST_FILE = WIDTH * (LONGEST_ENTRY + 2)


class Source(Protocol):
    def read(self, name: str) -> bytes:
        """Raises MissingError, and UnreachableError where nothing can be said."""

    def close(self) -> None: ...


class Folder:
    """An export, or a folder store; nothing is written to it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.is_dir():
            raise UnreachableError(f"{path} is not a folder")

    def read(self, name: str) -> bytes:
        try:
            return (self._path / checked(name)).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise MissingError(name) from None
        except OSError as error:
            raise UnreachableError(f"{name} cannot be read: {error}") from error

    def close(self) -> None:
        """Holds nothing open."""


class Web:
    """A log's URL prefix, over one kept-alive connection."""

    def __init__(self, url: str, timeout_s: float = 30) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UnreachableError(f"not the address of a log: {url}")
        connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = connect(parts.hostname, parts.port, timeout=timeout_s)
        self._prefix = parts.path.rstrip("/")

    def read(self, name: str) -> bytes:
        try:
            return self._get(checked(name))
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            self._connection.close()  # the server closed an idle connection: ask once more on a new one
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(name, error) from error
        try:
            return self._get(name)
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(name, error) from error

    def _get(self, name: str) -> bytes:
        self._connection.request("GET", f"{self._prefix}/{name}", headers={"Accept-Encoding": "gzip, identity"})
        answer = self._connection.getresponse()
        body = answer.read(LARGEST_FILE + 1)
        if answer.status in (404, 410):
            answer.read()
            raise MissingError(name)
        if answer.status != 200 or len(body) > LARGEST_FILE:
            self._connection.close()
            raise UnreachableError(f"{name}: the server answered {answer.status} with {len(body)} bytes")
        if answer.getheader("Content-Encoding") == "gzip":
            return _unzipped(name, body)
        return body

    def close(self) -> None:
        self._connection.close()

    def _unreachable(self, name: str, error: Exception) -> UnreachableError:
        self._connection.close()
        reason = "it took too long" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
        return UnreachableError(f"{name} cannot be read: {reason}")


def _unzipped(name: str, body: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        data = unpacker.decompress(body, LARGEST_FILE)
    except zlib.error as error:
        raise UnreachableError(f"{name}: not the gzip that it says: {error}") from error
    if not unpacker.eof:
        raise UnreachableError(f"{name}: gzip that is cut off, or unpacks to over {LARGEST_FILE} bytes")
    return data


def source(place: str) -> Source:
    return Web(place) if place.startswith(("http://", "https://")) else Folder(Path(place))
