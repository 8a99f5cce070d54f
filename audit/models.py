"""Rows of the log. Events are never changed or deleted: see migration 0003 for who enforces that."""

from django.db import models
from django.db.models import F, Q

from audit.uuid7 import uuid7


class Stream(models.Model):
    """What events are numbered within: one agent session, or one team's administration.

    The row's lock makes numbering gapless, and commit order equal to number order, within the stream.
    """

    id = models.UUIDField(primary_key=True)
    last_seq = models.BigIntegerField(default=0)


class Outcome(models.IntegerChoices):
    SUCCESS = 0, "success"
    FAILURE = 1, "failure"
    DENIED = 2, "denied"


class Event(models.Model):
    """One thing that happened. `body` is the canonical JSON that the log commits to; the columns repeat parts of it.

    Partitioned by the month in `id`. `actor` is null where the session's own agent did it. Where the row stands in
    the tree follows from its Run.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    stream = models.UUIDField()
    seq = models.BigIntegerField()
    occurred_at = models.DateTimeField()
    recorded_at = models.DateTimeField()
    outcome = models.SmallIntegerField(choices=Outcome.choices)
    kind = models.TextField()
    actor = models.TextField(null=True)  # noqa: DJ001 - absent is not empty, and takes no room
    host = models.TextField(null=True)  # noqa: DJ001
    path = models.TextField(null=True)  # noqa: DJ001
    body = models.BinaryField()

    class Meta:
        indexes = [
            models.Index(fields=["stream", "kind", "seq"], name="event_kind"),
            models.Index(fields=["stream", "host", "seq"], name="event_host", condition=Q(host__isnull=False)),
            models.Index(fields=["stream", "actor", "seq"], name="event_actor", condition=Q(actor__isnull=False)),
            models.Index(fields=["stream", "outcome", "seq"], name="event_outcome", condition=Q(outcome__gt=0)),
        ]


class Run(models.Model):
    """The events [first_seq, last_seq] of a stream that one transaction appended.

    `first_leaf` is null until the integrator gives the run its place in the tree: the leaves from there on.
    """

    stream = models.UUIDField()
    first_seq = models.BigIntegerField()
    last_seq = models.BigIntegerField()
    first_leaf = models.BigIntegerField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["stream", "first_seq"], name="run_stream_seq"),
            models.UniqueConstraint(fields=["first_leaf"], name="run_first_leaf"),
            models.CheckConstraint(condition=Q(last_seq__gte=F("first_seq")), name="run_not_empty"),
        ]
        indexes = [models.Index(fields=["id"], name="run_waiting", condition=Q(first_leaf=None))]


class Head(models.Model):
    """One row: how far the tree has come. `size` leaves have their places; `published_size` of them are signed for, and
    `indexed_size` are in what pages count and search by.
    """

    id = models.SmallIntegerField(primary_key=True, default=1)
    size = models.BigIntegerField(default=0)
    published_size = models.BigIntegerField(default=0)
    indexed_size = models.BigIntegerField(default=0)
    published_root = models.BinaryField()
    published_at = models.DateTimeField(null=True)
    beat_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(id=1), name="head_one_row"),
            models.CheckConstraint(condition=Q(published_size__lte=F("size")), name="head_signed_has_place"),
        ]


class Block(models.Model):
    """The words of up to 64 neighbouring events of a stream: what a search looks at before it reads events."""

    stream = models.UUIDField()
    first_seq = models.BigIntegerField()
    last_seq = models.BigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["stream", "first_seq"], name="block_stream_seq")]


class Density(models.Model):
    """How many events of a kind occurred in five seconds of a stream, and between which numbers they stand."""

    stream = models.UUIDField()
    bucket = models.DateTimeField()
    kind = models.TextField()
    events = models.IntegerField()
    refused = models.IntegerField()
    first_seq = models.BigIntegerField()
    last_seq = models.BigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["stream", "bucket", "kind"], name="density_bucket")]


class DeferredEvent(models.Model):
    """An event that a kill could not write to the log when it acted: kept here until the sweep appends it."""

    id = models.UUIDField(primary_key=True, editable=False)
    stream = models.UUIDField()
    content = models.JSONField()
    deferred_at = models.DateTimeField(auto_now_add=True)


class Health(models.Model):
    """What is wrong with a part of the log now, in a sentence for people; a part without a row is well."""

    part = models.CharField(max_length=32, primary_key=True)
    problem = models.TextField()
    since = models.DateTimeField()
    seen_at = models.DateTimeField()


class SubjectKey(models.Model):
    """The key of one person's fields in events, sealed under an envelope key. Empty once it was destroyed."""

    subject = models.TextField(primary_key=True)
    sealed = models.BinaryField()
    sealed_with = models.CharField(max_length=32, blank=True)
    made_at = models.DateTimeField()
    destroyed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(destroyed_at=None) | Q(sealed=b"", sealed_with=""), name="subject_key_destroyed"
            )
        ]


class Hold(models.Model):
    """Keeps what belongs to `value`, and each event that names it, from being pruned until it is released."""

    class What(models.TextChoices):
        SESSION = "session", "Session"
        PERSON = "person", "Person"
        TEAM = "team", "Team"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    what = models.CharField(max_length=8, choices=What.choices)
    value = models.UUIDField()
    by = models.TextField(help_text="person:<id>")
    since = models.DateTimeField()
    released_by = models.TextField(blank=True)
    released_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["what", "value"], condition=Q(released_at=None), name="hold_once")
        ]


class Pruned(models.Model):
    """One row: the log's minimum index (tlog-tiles): entries below it may be gone."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    minimum = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="pruned_one_row")]


class LeftBundle(models.Model):
    """An entry bundle below the minimum index that is still in the log's store: held, or about to be removed."""

    index = models.BigIntegerField(primary_key=True)


class Export(models.Model):
    """An evidence file that somebody asked for: what it holds, how far it has come, and until when it is kept.

    `by` is a person's id; `selection` is what was asked for, in the words of the application that asked.
    """

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        RUNNING = "running", "Being made"
        READY = "ready", "Ready"
        FAILED = "failed", "Failed"
        EXPIRED = "expired", "Expired"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    by = models.UUIDField()
    selection = models.JSONField()
    state = models.CharField(max_length=16, choices=State.choices, default=State.WAITING)
    done = models.BigIntegerField(default=0)
    total = models.BigIntegerField(default=0)
    events = models.BigIntegerField(default=0)
    unproven = models.BigIntegerField(default=0)
    size = models.BigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True)
    error = models.TextField(blank=True)
    made_at = models.DateTimeField()
    touched_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["by", "-made_at"], name="export_by"),
            models.Index(fields=["touched_at"], name="export_due", condition=Q(state__in=["waiting", "running"])),
        ]


class Delivery(models.Model):
    """How far a receiver outside has the log: it has every leaf below `next_leaf`. `tries` failed since the last."""

    name = models.CharField(max_length=32, primary_key=True)
    next_leaf = models.BigIntegerField(default=0)
    tries = models.IntegerField(default=0)
    due_at = models.DateTimeField()
    delivered_at = models.DateTimeField(null=True)
