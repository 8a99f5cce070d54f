"""Valkey (and what speaks its protocol) through OpenBao's database engine: a user of its ACL for each credential.

    {"type": "valkey", "locations": ["valkey://cache/orders:"], "actions": ["read", "write"]}

A location names the beginning of the keys that may be touched.
"""

import json
import re
from collections.abc import Iterator, Sequence

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError
from redis.retry import Retry

from sessions.providers.contract import CredentialError, Details, Intent, Json
from sessions.providers.database import Database
from sessions.providers.places import Place
from sessions.providers.wording import listed

TIMEOUT_S = 5
# What runs programs, sees other clients, or reaches every key, is in none of them.
COMMANDS = {"read": ("+@read", "-@dangerous"), "write": ("+@write", "-@dangerous")}
NEVER = ("-@scripting", "-@admin", "-scan", "-randomkey", "+ping", "+hello", "+client|setinfo", "+client|setname")


class Valkey(Database):
    kind = engine = "valkey"
    who = "Valkey"
    location = re.compile(r"valkey://(?P<place>[a-z][a-z0-9_-]{0,50})/(?P<what>[A-Za-z0-9:_.-]{1,100})", re.ASCII)
    example = "valkey://place/beginning-of-keys:"
    actions = {"read": "Read", "write": "Change and delete"}

    def sentences(self, details: Details) -> Iterator[str]:
        keys = listed([f"{each}*" for each in self.wanted([details])])
        for action in (action for action in self.actions if action in details["actions"]):
            yield f"{self.actions[action]} the keys {keys} of {self._name([details])} (Valkey)."

    def role(self, intent: Intent, place: Place) -> Json:
        return self.leased(intent, place, [json.dumps(self.rules(intent.details))])

    def rules(self, details: Sequence[Details]) -> list[str]:
        """ACL rules. One user has one set of commands for all its keys, so reading alone stays so by %R~."""
        rules = ["resetkeys", "resetchannels", "-@all"]
        for each in details:
            letters = "".join(letter for action, letter in (("read", "R"), ("write", "W")) if action in each["actions"])
            rules += [f"%{letters}~{key}*" for key in self.wanted([each])]
        asked = [action for action in self.actions if any(action in each["actions"] for each in details)]
        return [*rules, *(rule for action in asked for rule in COMMANDS[action]), *NEVER]

    def refusal(self, place: Place, user: str, password: str) -> str:
        return "" if lets_in(place, user, password) else "WRONGPASS"


def lets_in(place: Place, user: str, password: str) -> bool:
    client = redis.Redis(
        place.host,
        place.port,
        username=user,
        password=password,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        client.ping()
    except redis.AuthenticationError:
        return False
    except NoPermissionError:
        return True
    except redis.RedisError as error:
        said = f"Valkey did not judge the log-in ({type(error).__name__})."
        raise CredentialError(said, silent=True) from None
    finally:
        client.close()
    return True
