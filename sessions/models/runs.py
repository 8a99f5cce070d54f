"""Agent sessions, their grants, the decisions on them, and their changes of state."""

from typing import Any

from django.db import models
from django.db.models import F, Q

from audit import canonical
from audit.uuid7 import uuid7
from sessions.models.agents import Agent
from sessions.models.people import Person, Team
from sessions.models.profiles import ProfileVersion


class State(models.TextChoices):
    REQUESTED = "requested", "Requested"
    APPROVED = "approved", "Approved"
    ACTIVE = "active", "Active"
    SUSPENDED = "suspended", "Suspended"
    ENDED = "ended", "Ended"
    DENIED = "denied", "Denied"
    WITHDRAWN = "withdrawn", "Withdrawn"
    LAPSED = "lapsed", "Lapsed"


LIVE = (State.APPROVED, State.ACTIVE, State.SUSPENDED)


class EndReason(models.TextChoices):
    COMPLETED = "completed", "Completed"
    EXPIRED = "expired", "Expired"
    KILLED = "killed", "Killed"
    FINDING = "finding", "Ended by a finding"
    FAILED = "failed", "Could not be started"


class AgentSession(models.Model):
    """One run of one agent under one profile version, on behalf of one person.

    `killed_at` is a tombstone: once set, nothing late lifts it.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, models.PROTECT, related_name="agent_sessions")
    agent = models.ForeignKey(Agent, models.PROTECT, related_name="agent_sessions")
    person = models.ForeignKey(Person, models.PROTECT, related_name="agent_sessions")
    profile_version = models.ForeignKey(ProfileVersion, models.PROTECT, related_name="agent_sessions")
    state = models.CharField(max_length=16, choices=State.choices, default=State.REQUESTED)
    end_reason = models.CharField(max_length=16, choices=EndReason.choices, blank=True)
    purpose = models.CharField(max_length=500)
    grant_hash = models.CharField(max_length=64)
    duration_s = models.PositiveIntegerField()

    user_code = models.CharField(max_length=9)
    device_code_digest = models.CharField(max_length=64, unique=True)
    # Null and not empty until it is given out: many sessions have none, and each one is unique.
    token_digest = models.CharField(max_length=64, unique=True, null=True)  # noqa: DJ001
    # SHA-256 of the proxy secret, which anybody who has the token can derive; empty until the token is given out.
    proxy_digest = models.CharField(max_length=64, blank=True, default="")
    # Grows with each change of the policy or of a secret that a gateway is to add.
    policy_serial = models.PositiveIntegerField(default=0)
    # What its runner reported of the sandbox around it; empty where it reported none.
    sandbox = models.CharField(max_length=64, blank=True, default="")
    poll_interval_s = models.PositiveSmallIntegerField(default=5)
    polled_at = models.DateTimeField(null=True)

    requested_at = models.DateTimeField()
    decide_by = models.DateTimeField()
    approved_at = models.DateTimeField(null=True)
    active_at = models.DateTimeField(null=True)
    ends_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    killed_at = models.DateTimeField(null=True)
    killed_by = models.ForeignKey(Person, models.PROTECT, null=True, related_name="+")

    class Meta:
        indexes = [
            models.Index(fields=["team", "-requested_at"], name="run_team_requested"),
            models.Index(fields=["state", "decide_by"], name="run_lapse", condition=Q(state="requested")),
            models.Index(
                fields=["state", "ends_at"], name="run_expire", condition=Q(state__in=["active", "suspended"])
            ),
        ]
        constraints = [
            models.UniqueConstraint(fields=["user_code"], condition=Q(state="requested"), name="run_user_code"),
            models.CheckConstraint(
                condition=Q(killed_at=None) | Q(state="ended", end_reason="killed"), name="run_tombstone"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.agent}: {self.purpose[:40]}"

    @property
    def live(self) -> bool:
        return self.state in LIVE

    @property
    def grant(self) -> "Grant":
        return self.grants.get(sha256=self.grant_hash)


class Grant(models.Model):
    """Exactly what a session may have, as canonical JSON (RFC 8785); `sha256` is the grant hash. Never changed."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    agent_session = models.ForeignKey(AgentSession, models.PROTECT, related_name="grants")
    sha256 = models.CharField(max_length=64)
    body = models.BinaryField()
    made_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["agent_session", "sha256"], name="grant_once")]

    @property
    def content(self) -> dict[str, Any]:
        content: dict[str, Any] = canonical.loads(bytes(self.body))
        return content


class Approval(models.Model):
    """One person's decision on one grant hash. `on_behalf_of` repeats the session's person for the constraint."""

    class Decision(models.TextChoices):
        APPROVED = "approved", "Approved"
        DENIED = "denied", "Denied"

    agent_session = models.ForeignKey(AgentSession, models.PROTECT, related_name="approvals")
    grant_hash = models.CharField(max_length=64)
    person = models.ForeignKey(Person, models.PROTECT, related_name="approvals")
    on_behalf_of = models.ForeignKey(Person, models.PROTECT, related_name="+")
    decision = models.CharField(max_length=8, choices=Decision.choices)
    reason = models.CharField(max_length=500, blank=True)
    decided_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(decision="denied") | ~Q(person=F("on_behalf_of")), name="approval_by_another"
            ),
            models.UniqueConstraint(fields=["agent_session", "person"], name="approval_once"),
        ]


class Transition(models.Model):
    """One change of state: who, from, to, when."""

    agent_session = models.ForeignKey(AgentSession, models.PROTECT, related_name="transitions")
    from_state = models.CharField(max_length=16, blank=True)
    to_state = models.CharField(max_length=16)
    act = models.CharField(max_length=64, help_text="person:<id>, agent:<id> or service:<name>")
    event = models.UUIDField()
    at = models.DateTimeField()

    class Meta:
        ordering = ["id"]
