"""Agents, and the keys that they authenticate with."""

from django.db import models

from audit.uuid7 import uuid7
from sessions.models.people import Person, Team


class Framework(models.TextChoices):
    CLAUDE_CODE = "claude-code", "Claude Code"
    CURSOR = "cursor", "Cursor"
    DEVIN = "devin", "Devin"
    CODEX = "codex", "Codex"
    OTHER = "other", "Other"


class Agent(models.Model):
    """A registered non-human identity, with the person who answers for it."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, models.PROTECT, related_name="agents")
    owner = models.ForeignKey(Person, models.PROTECT, related_name="agents")
    name = models.CharField(max_length=100)
    framework = models.CharField(max_length=16, choices=Framework.choices)
    created_at = models.DateTimeField(auto_now_add=True)
    retired_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["team", "name"], name="agent_name_in_team")]

    def __str__(self) -> str:
        return self.name

    @property
    def reference(self) -> str:
        """How events name this agent."""
        return f"agent:{self.id}"


class AgentKey(models.Model):
    """A key of an agent: only the digest of it is kept. It was shown once."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    agent = models.ForeignKey(Agent, models.PROTECT, related_name="keys")
    hint = models.CharField(max_length=16, help_text="The first characters of the key, to recognise it by.")
    digest = models.CharField(max_length=64, unique=True)
    created_by = models.ForeignKey(Person, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    revoked_at = models.DateTimeField(null=True)
    revoked_by = models.ForeignKey(Person, models.PROTECT, null=True, related_name="+")
    last_used_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.hint}… of {self.agent}"
