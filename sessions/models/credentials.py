"""Credentials, from intent to proof of death."""

from typing import Any

from django.db import models
from django.db.models import Q

from audit import canonical
from audit.uuid7 import uuid7
from sessions.models.runs import AgentSession


class CredentialState(models.TextChoices):
    INTENT = "intent", "Being minted"
    ISSUED = "issued", "Live"
    REVOKING = "revoking", "Revocation requested"
    REVOKED = "revoked", "Revoked"
    UNPROVABLE = "unprovable", "Revoked, cannot be proven"
    PROVEN = "proven", "Proven dead"
    EXPIRED_UNREVOKED = "expired_unrevoked", "Expired, not revoked"


DEAD = (CredentialState.PROVEN, CredentialState.UNPROVABLE, CredentialState.EXPIRED_UNREVOKED)


class Credential(models.Model):
    """One short-lived secret. The row exists, as an intent, before anything is minted.

    `name` is derived from the id and is what the provider mints under, so that a crash leaves nothing nameless.
    `handle` is what the provider needs to revoke; it holds no secret. `sealed` is the secret under the envelope key,
    kept until its death is proven. `slot` says which part of the grant it serves; a rotation is a new generation.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    agent_session = models.ForeignKey(AgentSession, models.PROTECT, related_name="credentials")
    provider = models.CharField(max_length=32)
    slot = models.CharField(max_length=64)
    generation = models.PositiveIntegerField(default=1)
    details = models.BinaryField(help_text="The authorization_details that it serves, as canonical JSON.")
    grant_hash = models.CharField(max_length=64)
    ttl_s = models.PositiveIntegerField()
    state = models.CharField(max_length=24, choices=CredentialState.choices, default=CredentialState.INTENT)
    handle = models.JSONField(default=dict)
    sealed = models.BinaryField(null=True)
    sealed_with = models.CharField(max_length=32, blank=True)
    problem = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField()
    issued_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    delivered_at = models.DateTimeField(null=True)

    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField()
    claimed_until = models.DateTimeField(null=True)

    class Meta:
        ordering = ["slot", "generation"]
        constraints = [
            models.UniqueConstraint(fields=["agent_session", "slot", "generation"], name="credential_generation")
        ]
        indexes = [
            models.Index(fields=["next_attempt_at"], name="credential_to_mint", condition=Q(state="intent")),
            models.Index(fields=["expires_at"], name="credential_live", condition=Q(state="issued")),
        ]

    @property
    def name(self) -> str:
        return f"dbr_{self.id.hex}"

    @property
    def content(self) -> list[dict[str, Any]]:
        content: list[dict[str, Any]] = canonical.loads(bytes(self.details))
        return content

    @property
    def alive(self) -> bool:
        """Whether it may still open something."""
        return self.state not in DEAD


class Fingerprint(models.Model):
    """By what a secret is recognised when somebody shows it: a keyed digest of one field of it, and no way back."""

    credential = models.ForeignKey(Credential, models.PROTECT, related_name="fingerprints")
    digest = models.CharField(max_length=64, db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["credential", "digest"], name="one_fingerprint_of_a_field")]


class Revocation(models.Model):
    """The act of ending one credential. `revoked_at` and `proven_at` are two different moments.

    `given_up_at`: nothing more is tried, because it died by itself, or because there is nothing by which to prove it.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    credential = models.OneToOneField(Credential, models.PROTECT, related_name="revocation")
    reason = models.CharField(max_length=32)
    requested_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)
    proven_at = models.DateTimeField(null=True)
    given_up_at = models.DateTimeField(null=True)

    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField()
    claimed_until = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(
                fields=["next_attempt_at"], name="revocation_due", condition=Q(proven_at=None, given_up_at=None)
            )
        ]


class RevocationStep(models.Model):
    """One try of one step of a revocation, with what was answered. `proof` steps try what must be refused."""

    class Kind(models.TextChoices):
        REVOKE = "revoke", "Revoke"
        PROOF = "proof", "Proof"
        TIDY = "tidy", "Tidy"

    revocation = models.ForeignKey(Revocation, models.PROTECT, related_name="steps")
    attempt = models.PositiveIntegerField()
    name = models.CharField(max_length=32)
    kind = models.CharField(max_length=8, choices=Kind.choices)
    label = models.CharField(max_length=100)
    done = models.BooleanField()
    evidence = models.JSONField(default=dict)
    at = models.DateTimeField()
    elapsed_us = models.PositiveBigIntegerField()

    class Meta:
        ordering = ["id"]
