"""How people sign in: there is no open sign-up, and the second step's secrets are sealed like all others."""

import base64
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.mfa.adapter import DefaultMFAAdapter
from django.http import HttpRequest

from audit import envelope
from audit.envelope import Sealed

UNSAID = {"account/messages/logged_in.txt", "account/messages/logged_out.txt"}
SEALED_FOR = "second step"


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Admins add people; nobody adds themselves."""
        return False

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Nothing: allauth would let anybody lock out anybody, from everywhere. See sessions/guessing.py."""

    def add_message(
        self, request: HttpRequest, level: int, message_template: str | None = None, *args: Any, **kwargs: Any
    ) -> None:
        """What the page shows by itself needs no message."""
        if message_template not in UNSAID:
            super().add_message(request, level, message_template, *args, **kwargs)


class SecondStepAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    """Keeps TOTP secrets and the seeds of recovery codes under the envelope key: `key id:base64`."""

    def encrypt(self, text: str) -> str:
        sealed = envelope.seal({"text": text}, SEALED_FOR)
        return f"{sealed.key_id}:{base64.b64encode(sealed.blob).decode()}"

    def decrypt(self, encrypted_text: str) -> str:
        """Raises envelope.Unreadable: then the second step is not passed."""
        key_id, _, blob = encrypted_text.rpartition(":")
        return str(envelope.unseal(Sealed(key_id, base64.b64decode(blob)), SEALED_FOR)["text"])
