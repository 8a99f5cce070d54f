"""Gateways, and which of them may pass something on for which session."""

from django.db import models
from django.db.models import Q

from audit.uuid7 import uuid7
from sessions.models.people import Person
from sessions.models.runs import AgentSession


class Gateway(models.Model):
    """One gateway, with a token of which only the digest is kept. It passes something on only while its lease lasts."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=50, unique=True)
    token_digest = models.CharField(max_length=64, unique=True)
    hint = models.CharField(max_length=16, help_text="The first characters of the token, to recognise it by.")
    address = models.CharField(max_length=200, blank=True)
    version = models.CharField(max_length=64, blank=True)
    lease_until = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    retired_at = models.DateTimeField(null=True)
    retired_by = models.ForeignKey(Person, models.PROTECT, null=True, related_name="+")

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def reference(self) -> str:
        """How events name this gateway."""
        return f"gateway:{self.name}"


class GatewayCut(models.Model):
    """One gateway's hold on one session: from the moment it was given the policy until it is cut.

    It is over when the gateway says so (`acknowledged_at`), or when it came back from a lapse without the session
    (`lapsed_at`). While its lease has run out it passes nothing either.
    """

    gateway = models.ForeignKey(Gateway, models.PROTECT, related_name="cuts")
    agent_session = models.ForeignKey(AgentSession, models.PROTECT, related_name="gateway_cuts")
    held_since = models.DateTimeField()
    cut_at = models.DateTimeField(null=True)
    connections = models.PositiveIntegerField(null=True)
    elapsed_us = models.PositiveBigIntegerField(null=True)
    acknowledged_at = models.DateTimeField(null=True)
    lapsed_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["gateway", "agent_session"],
                condition=Q(acknowledged_at=None, lapsed_at=None),
                name="gateway_holds_once",
            )
        ]
