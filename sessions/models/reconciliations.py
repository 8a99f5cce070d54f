"""What became of comparing our rows with what the far ends say."""

from django.db import models

from audit.uuid7 import uuid7


class Reconciliation(models.Model):
    """One comparison. `findings`: [{"kind": "orphan" or "missing", "where": text, "name": text, "did": text}].

    `problems` are far ends that could not be asked, in sentences; `seen` how many credentials they said are alive.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    seen = models.PositiveIntegerField(default=0)
    findings = models.JSONField(default=list)
    problems = models.JSONField(default=list)
