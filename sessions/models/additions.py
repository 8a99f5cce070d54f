"""What a session asked for in its middle."""

from typing import Any

from django.db import models
from django.db.models import F, Q

from audit import canonical
from audit.uuid7 import uuid7
from sessions.models.people import Person
from sessions.models.runs import AgentSession


class AdditionState(models.TextChoices):
    REQUESTED = "requested", "Requested"
    APPROVED = "approved", "Approved"
    DENIED = "denied", "Denied"
    LAPSED = "lapsed", "Lapsed"


class Addition(models.Model):
    """More egress for a session that runs. `body` is canonical JSON and never changes:

    {"v": 1, "session": uuid, "number": n, "authorization_details": [egress objects], "reason": text, "duration": s}

    Approved, it holds until `ends_at`, and never longer than the session. `on_behalf_of` repeats the session's person.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    agent_session = models.ForeignKey(AgentSession, models.PROTECT, related_name="additions")
    number = models.PositiveSmallIntegerField()
    body = models.BinaryField()
    sha256 = models.CharField(max_length=64)
    state = models.CharField(max_length=16, choices=AdditionState.choices, default=AdditionState.REQUESTED)
    requested_at = models.DateTimeField()
    decide_by = models.DateTimeField()
    on_behalf_of = models.ForeignKey(Person, models.PROTECT, related_name="+")
    decided_by = models.ForeignKey(Person, models.PROTECT, null=True, related_name="+")
    decided_at = models.DateTimeField(null=True)
    ends_at = models.DateTimeField(null=True)
    denial = models.CharField(max_length=500, blank=True, default="")

    class Meta:
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(fields=["agent_session", "number"], name="addition_number"),
            models.CheckConstraint(
                condition=~Q(state="approved") | Q(decided_by__isnull=False) & ~Q(decided_by=F("on_behalf_of")),
                name="addition_by_another",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.agent_session} +{self.number}"

    @property
    def content(self) -> dict[str, Any]:
        content: dict[str, Any] = canonical.loads(bytes(self.body))
        return content
