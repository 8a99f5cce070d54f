"""What one person alone cannot order."""

from django.db import models

from audit.uuid7 import uuid7
from sessions.models.people import Person


class KillOrder(models.Model):
    """Somebody wants everything killed. It is done when another person confirms it before `confirm_by`."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    ordered_by = models.ForeignKey(Person, models.PROTECT, related_name="+")
    ordered_at = models.DateTimeField()
    confirm_by = models.DateTimeField()
    confirmed_by = models.ForeignKey(Person, models.PROTECT, null=True, related_name="+")
    confirmed_at = models.DateTimeField(null=True)
