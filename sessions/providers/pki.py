"""A client's certificate of OpenBao's PKI engine, leased: what ends the lease revokes the certificate.

{"type": "pki", "locations": ["pki:services/shop.internal"], "actions": ["client"]}
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sessions.providers.contract import Details, Held, Intent, Json, Life, Outcome, Step
from sessions.providers.engine import Engine
from sessions.providers.places import LONGEST_LIFE_S, Place
from sessions.providers.session_token import OPENBAO
from sessions.providers.wording import slot_of


class Pki(Engine):
    kind = engine = "pki"
    location = re.compile(r"pki:(?P<place>[a-z][a-z0-9_-]{0,50})/(?P<what>[a-z0-9][a-z0-9.-]{0,200})", re.ASCII)
    example = "pki:place/name.internal"
    actions = {"client": "Prove to servers to be"}
    asking = "issue"

    def problems(self, details: Details) -> Iterator[str]:
        yield from super().problems(details)
        if isinstance(details.get("locations"), list) and len(details["locations"]) > 1:
            yield "A certificate has one name: write one location."

    def slots(self, details: Sequence[Details]) -> Mapping[str, Sequence[Details]]:
        """A certificate for each name."""
        slots: dict[str, list[Details]] = {}
        for each in details:
            slots.setdefault(slot_of(each["locations"][0]), []).append(each)
        return slots

    def sentences(self, details: Details) -> Iterator[str]:
        (name,) = self.wanted([details])
        yield f"Prove to servers to be {name}, by a client's certificate of {self._name([details])}."

    def life(self, details: Sequence[Details]) -> Life:
        return Life(60, LONGEST_LIFE_S, "as soon as servers read the list of revoked ones", "it dies by itself.")

    def role(self, intent: Intent, place: Place) -> Json:
        return {
            "allowed_domains": self.wanted(intent.details),
            "allow_bare_domains": True,
            "allow_ip_sans": False,
            "allow_localhost": False,
            "server_flag": False,
            "client_flag": True,
            "key_type": "ec",
            "key_bits": 256,
            "generate_lease": True,
            "no_store": False,
            "ttl": f"{intent.ttl_s}s",
            "max_ttl": f"{intent.ttl_s}s",
        }

    def asked(self, intent: Intent) -> Json | None:
        (name,) = self.wanted(intent.details)
        return {"common_name": name, "ttl": f"{intent.ttl_s}s"}

    def secret(self, place: Place, data: Mapping[str, Any]) -> Json:
        chain = [data["certificate"], *(data.get("ca_chain") or [data["issuing_ca"]])]
        return {"type": self.kind, "certificate": "\n".join(chain), "private_key": data["private_key"]}

    def handle(self, data: Mapping[str, Any]) -> Json:
        return {"serial": data["serial_number"]}

    def proofs(self, held: Held, place: Place) -> Sequence[Step]:
        def listed() -> Outcome:
            serial = held.handle.get("serial")
            if serial is None:
                return Outcome(True, {"answer": "no certificate was recorded; the lease of its name is gone"})
            at = self._api.read(f"{place.mount}/cert/{serial}")["revocation_time"]
            return Outcome(at > 0, {"answer": "on the list of revoked certificates" if at else "not revoked"})

        return [Step("listed", "proof", "Certificate on the list of revoked ones", listed, OPENBAO)]
