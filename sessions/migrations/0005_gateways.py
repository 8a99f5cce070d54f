"""Gateways, what each of them holds, and what a session shows to them."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import audit.uuid7

NEVER_DELETED = ("agent_sessions_gateway", "agent_sessions_gatewaycut")
OPEN = models.Q(("acknowledged_at", None), ("lapsed_at", None))
STATES = [
    ("intent", "Being minted"),
    ("issued", "Live"),
    ("revoking", "Revocation requested"),
    ("revoked", "Revoked"),
    ("unprovable", "Revoked, cannot be proven"),
    ("proven", "Proven dead"),
    ("expired_unrevoked", "Expired, not revoked"),
]


def restrict(apps, schema_editor):
    role = schema_editor.quote_name(settings.DATABASE_APP_ROLE)
    for table in NEVER_DELETED:
        schema_editor.execute(f"REVOKE DELETE, TRUNCATE ON {table} FROM {role}")


class Migration(migrations.Migration):
    dependencies = [("agent_sessions", "0004_erasure")]

    operations = [
        migrations.CreateModel(
            name="Gateway",
            fields=[
                (
                    "id",
                    models.UUIDField(default=audit.uuid7.uuid7, editable=False, primary_key=True, serialize=False),
                ),
                ("name", models.CharField(max_length=50, unique=True)),
                ("token_digest", models.CharField(max_length=64, unique=True)),
                (
                    "hint",
                    models.CharField(help_text="The first characters of the token, to recognise it by.", max_length=16),
                ),
                ("address", models.CharField(blank=True, max_length=200)),
                ("version", models.CharField(blank=True, max_length=64)),
                ("lease_until", models.DateTimeField(null=True)),
                ("started_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("retired_at", models.DateTimeField(null=True)),
                (
                    "retired_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={"ordering": ["name"]},
        ),
        migrations.CreateModel(
            name="GatewayCut",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("held_since", models.DateTimeField()),
                ("cut_at", models.DateTimeField(null=True)),
                ("connections", models.PositiveIntegerField(null=True)),
                ("elapsed_us", models.PositiveBigIntegerField(null=True)),
                ("acknowledged_at", models.DateTimeField(null=True)),
                ("lapsed_at", models.DateTimeField(null=True)),
                (
                    "agent_session",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="gateway_cuts",
                        to="agent_sessions.agentsession",
                    ),
                ),
                (
                    "gateway",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="cuts", to="agent_sessions.gateway"
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
                "constraints": [
                    models.UniqueConstraint(
                        condition=OPEN, fields=("gateway", "agent_session"), name="gateway_holds_once"
                    )
                ],
            },
        ),
        migrations.AddField("agentsession", "proxy_digest", models.CharField(blank=True, default="", max_length=64)),
        migrations.AddField("agentsession", "policy_serial", models.PositiveIntegerField(default=0)),
        migrations.AddField("agentsession", "sandbox", models.CharField(blank=True, default="", max_length=64)),
        migrations.AlterField("credential", "state", models.CharField(choices=STATES, default="intent", max_length=24)),
        migrations.RunPython(restrict, migrations.RunPython.noop),
    ]
