"""What became of the sessions by which the switch tests itself."""

from django.db import models

from audit.uuid7 import uuid7
from sessions.models.runs import AgentSession


class CanaryRun(models.Model):
    """One session that lived and was killed to see whether it dies.

    `lanes`: [{"lane": text, "passed": bool, "ms": number or null, "problem": text}]; `passed` is None while it runs.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    agent_session = models.ForeignKey(AgentSession, models.PROTECT, null=True, related_name="+")
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    passed = models.BooleanField(null=True)
    lanes = models.JSONField(default=list)
