"""The end of one database credential that OpenBao made: cut it in PostgreSQL, take it back in OpenBao, prove both.

Every step works from the name and the details alone, because a crash may have lost the handle and the secret, and
every step may be taken again. The steps at PostgreSQL need no OpenBao.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sessions.providers.contract import CredentialError, Held, Outcome, Step
from sessions.providers.cutter import Cutter, Refused, Witness, log_in
from sessions.providers.openbao_api import OpenBaoApi
from sessions.providers.session_token import OPENBAO, SessionToken

DATABASE = "database"
PATIENCE_S = 2.0
PAUSE_S = 0.005


class Ending:
    """One try of the steps. The witness lives from the cut to the proof of the same try."""

    def __init__(self, api: OpenBaoApi, cutter: Callable[[], Cutter], held: Held) -> None:
        self._api = api
        self._find_cutter = cutter
        self._held = held
        self._name = held.name
        self._token = SessionToken(api, held)
        self._witness: Witness | None = None
        self._no_witness = "none in this try"

    def steps(self) -> Sequence[Step]:
        return [
            Step("cut", "revoke", "Log-in shut and open sessions ended by PostgreSQL", self.cut, DATABASE),
            Step("login", "proof", "Log-in refused by PostgreSQL", self.login, DATABASE),
            Step("session", "proof", "Open session dead", self.session, DATABASE),
            Step("lease", "revoke", "Credential taken back by OpenBao", self.lease, OPENBAO),
            *self._token.steps(),
            Step("role", "proof", "Role gone from PostgreSQL's catalog", self.role, OPENBAO),
            Step("tidy", "tidy", "OpenBao's role and policy of this credential removed", self.tidy, OPENBAO),
        ]

    @property
    def _cutter(self) -> Cutter:
        return self._find_cutter()

    @property
    def _password(self) -> str | None:
        return None if self._held.secret is None else self._held.secret["password"]

    def cut(self) -> Outcome:
        """Twice, because a log-in that PostgreSQL was checking during the first cut may have come through.

        Where the agent has a session open, that is what must die; a witness is opened only where there is none,
        so that the cut does not wait for its log-in.
        """
        self._no_witness = self._open_witness()
        existed, ended = self._cutter.cut(self._name)
        if existed:
            ended += self._cutter.cut(self._name)[1]
        return Outcome(True, {"role_existed": existed, "sessions_ended": ended, "witness": self._no_witness or "open"})

    def _open_witness(self) -> str:
        """Why there is no witness; empty where there is one."""
        if self._password is None:
            return "none: the secret is not known"
        if self._cutter.sessions(self._name):
            return "none: the agent's own sessions were open"
        self._witness = Witness(self._cutter.target, self._name, self._password)
        return self._witness.absence

    def login(self) -> Outcome:
        """The catalog is asked too: a password that the agent changed would be refused without a cut."""
        refused: Mapping[str, Any] = {"tried": "no: the secret is not known"}
        if self._password is not None:
            answer = log_in(self._cutter.target, self._name, self._password)
            if not isinstance(answer, Refused):
                answer.close()
                return Outcome(False, {"tried": "yes", "message": "PostgreSQL let the credential in"})
            refused = {"tried": "yes", "sqlstate": answer.sqlstate, "message": answer.message}
        allowed = self._cutter.may_log_in(self._name)
        catalog = {None: "no such role", False: "log-in not allowed", True: "log-in allowed"}[allowed]
        return Outcome(not allowed, {**refused, "catalog": catalog})

    def session(self) -> Outcome:
        """PostgreSQL ends a session a moment after it was told to, so it is asked until patience ends."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            dead, evidence = self._look_at_sessions()
            if dead or time.monotonic() > deadline:
                break
            time.sleep(PAUSE_S)
        if self._witness is not None:
            self._witness.close()
            self._witness = None
        return Outcome(dead, evidence)

    def _look_at_sessions(self) -> tuple[bool, Mapping[str, Any]]:
        open_sessions = self._cutter.sessions(self._name)
        if self._witness is None:
            return open_sessions == 0, {"witness": self._no_witness, "open_sessions": open_sessions}
        if not self._witness.is_open:
            return open_sessions == 0, {"witness": self._witness.absence, "open_sessions": open_sessions}
        death = self._witness.death()
        evidence = {"witness": death or "still answers", "open_sessions": open_sessions}
        return death is not None and open_sessions == 0, evidence

    def lease(self) -> Outcome:
        known = self._held.handle.get("lease_id")
        ids = self._leases() if known is None else [known]
        for lease_id in ids:
            self._api.revoke_lease(lease_id)
        return Outcome(True, {"leases": len(ids), "found": "by name" if known is None else "by id"})

    def _leases(self) -> Sequence[str]:
        return self._api.leases(self._cutter.target.mount, self._name)

    def role(self) -> Outcome:
        """A mint that was under way while we cut may have made the role since then: its lease is ended here."""
        if self._cutter.may_log_in(self._name) is not None:
            for lease_id in self._leases():
                self._api.revoke_lease(lease_id)
        gone = self._cutter.may_log_in(self._name) is None
        return Outcome(gone, {"catalog": "no such role" if gone else "the role exists"})

    def tidy(self) -> Outcome:
        """Not before the last lease is gone: OpenBao needs the role's statements to take a credential back."""
        left = len(self._leases())
        if left:
            return Outcome(False, {"leases_left": left})
        self._api.delete(f"{self._cutter.target.mount}/roles/{self._name}")
        self._token.delete_policy()
        return Outcome(True, {"leases_left": 0})


def unreachable(target: str) -> CredentialError:
    """For a credential whose target was taken out of the settings."""
    return CredentialError(f"The database {target} is not in TARGETS any more, so its credentials cannot be ended.")
