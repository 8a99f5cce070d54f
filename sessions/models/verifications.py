"""What the probes said of the sandboxes in which agents work."""

from django.db import models

from audit.uuid7 import uuid7
from sessions.models.agents import Agent


class Verification(models.Model):
    """One run of `drawbridge verify --report`. `report` is a list of {"id", "title", "tries", "saw", "source",
    "outcome": held | crossed | skipped | invalid, "control", "why"}.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    agent = models.ForeignKey(Agent, models.PROTECT, related_name="verifications")
    sandbox = models.CharField(max_length=32)
    version = models.CharField(max_length=64)
    framework = models.CharField(max_length=64, blank=True)
    framework_version = models.CharField(max_length=64, blank=True)
    host = models.CharField(max_length=200, blank=True)
    held = models.PositiveSmallIntegerField()
    crossed = models.PositiveSmallIntegerField()
    unknown = models.PositiveSmallIntegerField(help_text="Skipped, or without a control that crosses.")
    report = models.JSONField()
    reported_at = models.DateTimeField()

    class Meta:
        ordering = ["-reported_at"]
        indexes = [models.Index(fields=["agent", "-reported_at"], name="verification_newest")]

    def __str__(self) -> str:
        return f"{self.agent}: {self.sandbox} {self.version}"

    @property
    def total(self) -> int:
        return self.held + self.crossed + self.unknown

    @property
    def passed(self) -> bool:
        return self.held > 0 and not self.crossed
