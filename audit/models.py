"""Rows of the log. Nothing here is ever changed or deleted: see migration 0002 for who enforces that."""

from django.db import models
from django.db.models import Q

from audit.uuid7 import uuid7


class Stream(models.Model):
    """What events are numbered within: one agent session, or one team's administration.

    The row's lock makes numbering gapless, and commit order equal to number order, within the stream.
    """

    id = models.UUIDField(primary_key=True)
    last_seq = models.BigIntegerField(default=0)


class Event(models.Model):
    """One thing that happened. `body` is the canonical JSON that the log commits to; the columns repeat parts of it.

    `leaf_index` is null until the integrator gives the row its place in the tree.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    stream = models.UUIDField()
    seq = models.BigIntegerField()
    kind = models.CharField(max_length=64)
    outcome = models.CharField(max_length=16)
    occurred_at = models.DateTimeField()
    recorded_at = models.DateTimeField()
    body = models.BinaryField()
    leaf_index = models.BigIntegerField(null=True, unique=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["stream", "seq"], name="event_stream_seq")]
        indexes = [
            models.Index(fields=["stream", "kind", "seq"], name="event_stream_kind_seq"),
            models.Index(fields=["recorded_at"], name="event_recorded_at"),
            models.Index(fields=["id"], name="event_waiting", condition=Q(leaf_index=None)),
        ]


class DeferredEvent(models.Model):
    """An event that a kill could not write to the log when it acted: kept here until the sweep appends it."""

    id = models.UUIDField(primary_key=True, editable=False)
    stream = models.UUIDField()
    content = models.JSONField()
    deferred_at = models.DateTimeField(auto_now_add=True)
