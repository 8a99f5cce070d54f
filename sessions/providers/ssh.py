"""A key of SSH and a certificate for it, signed by OpenBao's SSH engine.

    {"type": "ssh", "locations": ["ssh:servers/deploy"], "actions": ["log in"]}

No server asks whether such a certificate was taken back, so it dies by itself alone, and soon: it lives no longer than
LONGEST_S, and is rotated before.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from sessions.providers.contract import Details, Held, Intent, Json, Life, Minted, Outcome, Step
from sessions.providers.engine import Engine
from sessions.providers.places import Place
from sessions.providers.session_token import OPENBAO
from sessions.providers.wording import listed

LONGEST_S = 900
NEVER = "It dies by itself: no SSH server asks whether a certificate was taken back."


class Ssh(Engine):
    kind = engine = "ssh"
    location = re.compile(r"ssh:(?P<place>[a-z][a-z0-9_-]{0,50})/(?P<what>[a-z_][a-z0-9_-]{0,31})", re.ASCII)
    example = "ssh:place/user"
    actions = {"log in": "Log in"}
    asking = "sign"

    def sentences(self, details: Details) -> Iterator[str]:
        yield f"Log in by SSH as {listed(self.wanted([details]))} to the servers of {self._name([details])}."

    def life(self, details: Sequence[Details]) -> Life:
        return Life(60, LONGEST_S, "not: servers let it in until it dies by itself", "it dies by itself.")

    def mint(self, intent: Intent, record: Callable[[Json], None]) -> Minted:
        """The key is ours and goes to nobody but the agent; OpenBao sees its public half."""
        key = Ed25519PrivateKey.generate()
        public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
        short = replace(intent, ttl_s=min(intent.ttl_s, LONGEST_S))
        minted = self.made(short, record, self.signing(short, public))
        return Minted({**minted.secret, "private_key": private}, minted.handle, minted.expires_at)

    def role(self, intent: Intent, place: Place) -> Json:
        """The certificate's id is the credential's name, which servers write into their logs."""
        users = ",".join(self.wanted(intent.details))
        return {
            "key_type": "ca",
            "allow_user_certificates": True,
            "allow_user_key_ids": False,
            "key_id_format": intent.name,
            "allowed_users": users,
            "default_user": users,
            "allowed_extensions": "permit-pty",
            "default_extensions": {"permit-pty": ""},
            "ttl": f"{intent.ttl_s}s",
            "max_ttl": f"{intent.ttl_s}s",
            "not_before_duration": "30s",
        }

    def signing(self, intent: Intent, public_key: str) -> Json:
        """What OpenBao is asked to sign."""
        users = ",".join(self.wanted(intent.details))
        return {"public_key": public_key, "valid_principals": users, "ttl": f"{intent.ttl_s}s"}

    def secret(self, place: Place, data: Mapping[str, Any]) -> Json:
        return {"type": self.kind, "certificate": data["signed_key"]}

    def handle(self, data: Mapping[str, Any]) -> Json:
        return {"serial": data["serial_number"]}

    def ends(self, held: Held, place: Place) -> Sequence[Step]:
        def never() -> Outcome:
            made = held.handle.get("serial") is not None
            return Outcome(False, {"problem": NEVER, "made": "yes" if made else "perhaps"})

        return [Step("certificate", "revoke", "Certificate dead", never, OPENBAO)]
