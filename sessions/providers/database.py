"""What OpenBao's database engine makes for every kind of database: a user and a password, tried once it is dead."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from sessions.providers.contract import Details, Held, Intent, Json, Life, Outcome, Step
from sessions.providers.engine import Engine
from sessions.providers.places import LONGEST_LIFE_S, Place


class Database(Engine):
    """`who` names the database in the words of a step."""

    who: str

    @abstractmethod
    def refusal(self, place: Place, user: str, password: str) -> str:
        """What a log-in is refused with; empty where it is let in. CredentialError where nobody judges it."""

    def leased(self, intent: Intent, place: Place, creation: Sequence[str], **more: Any) -> Json:
        """OpenBao's role: what makes the user, and for how long."""
        lives = f"{intent.ttl_s}s"
        return {
            "db_name": place.connection,
            "creation_statements": list(creation),
            "default_ttl": lives,
            "max_ttl": lives,
            **more,
        }

    def life(self, details: Sequence[Details]) -> Life:
        return Life(60, LONGEST_LIFE_S, "at once", "its lease ends it.")

    def secret(self, place: Place, data: Mapping[str, Any]) -> Json:
        return {
            "type": self.kind,
            "host": place.host,
            "port": place.port,
            "username": data["username"],
            "password": data["password"],
        }

    def proofs(self, held: Held, place: Place) -> Sequence[Step]:
        def login() -> Outcome:
            if held.secret is None:
                return Outcome(True, {"tried": "no: the secret is not known"})
            refused = self.refusal(place, held.secret["username"], held.secret["password"])
            return Outcome(bool(refused), {"tried": "yes", "answer": refused or "it was let in"})

        return [Step("login", "proof", f"Log-in refused by {self.who}", login, f"{self.kind} {place.host}")]
