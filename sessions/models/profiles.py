"""Profiles: what a team offers to its agents, version by version."""

from collections.abc import Mapping
from typing import Any

from django.db import models
from django.db.models import F, Q

from audit import canonical
from audit.uuid7 import uuid7
from sessions.models.people import Person, Team

CONDITIONS: Mapping[str, Any] = {"sandbox": "optional", "on_finding": "note", "verified_within_days": None}


class Profile(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, models.PROTECT, related_name="profiles")
    slug = models.SlugField()
    name = models.CharField(max_length=100)
    created_at = models.DateTimeField(auto_now_add=True)
    retired_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["team", "slug"], name="profile_slug_in_team")]

    def __str__(self) -> str:
        return self.name

    @property
    def current(self) -> "ProfileVersion | None":
        """The newest published version: what requests are built from."""
        return self.versions.exclude(published_at=None).order_by("-number").first()


class ProfileVersion(models.Model):
    """One state of a profile. `body` is canonical JSON and never changes:

    {"authorization_details": [RFC 9396 objects], "limits": {"duration": s, "credential_ttl": s, "decide_within": s},
     "on_suspend": "revoke" | "keep", "on_finding": "note" | "kill", "sandbox": "required" | "optional",
     "verified_within_days": days, "summary": text}
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    profile = models.ForeignKey(Profile, models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    body = models.BinaryField()
    proposed_by = models.ForeignKey(Person, models.PROTECT, related_name="+")
    proposed_at = models.DateTimeField(auto_now_add=True)
    published_by = models.ForeignKey(Person, models.PROTECT, null=True, related_name="+")
    published_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["profile", "number"], name="profile_version_number"),
            models.CheckConstraint(
                condition=Q(published_by=None) | ~Q(published_by=F("proposed_by")), name="profile_reviewed_by_another"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.profile} v{self.number}"

    @property
    def content(self) -> dict[str, Any]:
        content: dict[str, Any] = canonical.loads(bytes(self.body))
        return content

    @property
    def conditions(self) -> dict[str, Any]:
        """Under which its sessions run; what versions of before there were sandboxes do not say is not demanded."""
        return {name: self.content.get(name, default) for name, default in CONDITIONS.items()}
