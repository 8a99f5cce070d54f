"""What sessions ask for in their middle, and what the probes said of sandboxes."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import audit.uuid7

DECIDED = "state, decided_by_id, decided_at, ends_at, denial"
TABLES = ("agent_sessions_addition", "agent_sessions_verification")


def restrict(apps, schema_editor):
    """What was asked for and what was reported never changes: only the decision on it is written later."""
    role = schema_editor.quote_name(settings.DATABASE_APP_ROLE)
    for table in TABLES:
        schema_editor.execute(f"REVOKE UPDATE, DELETE, TRUNCATE ON {table} FROM {role}")
    schema_editor.execute(f"GRANT UPDATE ({DECIDED}) ON agent_sessions_addition TO {role}")


class Migration(migrations.Migration):
    dependencies = [
        ("agent_sessions", "0005_gateways"),
    ]

    operations = [
        migrations.CreateModel(
            name="Addition",
            fields=[
                ("id", models.UUIDField(default=audit.uuid7.uuid7, editable=False, primary_key=True, serialize=False)),
                ("number", models.PositiveSmallIntegerField()),
                ("body", models.BinaryField()),
                ("sha256", models.CharField(max_length=64)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("requested", "Requested"),
                            ("approved", "Approved"),
                            ("denied", "Denied"),
                            ("lapsed", "Lapsed"),
                        ],
                        default="requested",
                        max_length=16,
                    ),
                ),
                ("requested_at", models.DateTimeField()),
                ("decide_by", models.DateTimeField()),
                ("decided_at", models.DateTimeField(null=True)),
                ("ends_at", models.DateTimeField(null=True)),
                ("denial", models.CharField(blank=True, default="", max_length=500)),
                (
                    "agent_session",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="additions",
                        to="agent_sessions.agentsession",
                    ),
                ),
                (
                    "decided_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "on_behalf_of",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "ordering": ["number"],
                "constraints": [
                    models.UniqueConstraint(fields=("agent_session", "number"), name="addition_number"),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("state", "approved"), _negated=True),
                            models.Q(
                                ("decided_by__isnull", False),
                                models.Q(("decided_by", models.F("on_behalf_of")), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="addition_by_another",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Verification",
            fields=[
                ("id", models.UUIDField(default=audit.uuid7.uuid7, editable=False, primary_key=True, serialize=False)),
                ("sandbox", models.CharField(max_length=32)),
                ("version", models.CharField(max_length=64)),
                ("framework", models.CharField(blank=True, max_length=64)),
                ("framework_version", models.CharField(blank=True, max_length=64)),
                ("host", models.CharField(blank=True, max_length=200)),
                ("held", models.PositiveSmallIntegerField()),
                ("crossed", models.PositiveSmallIntegerField()),
                ("unknown", models.PositiveSmallIntegerField(help_text="Skipped, or without a control that crosses.")),
                ("report", models.JSONField()),
                ("reported_at", models.DateTimeField()),
                (
                    "agent",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="verifications",
                        to="agent_sessions.agent",
                    ),
                ),
            ],
            options={
                "ordering": ["-reported_at"],
                "indexes": [models.Index(fields=["agent", "-reported_at"], name="verification_newest")],
            },
        ),
        migrations.RunPython(restrict, migrations.RunPython.noop),
    ]
