"""By what leaked secrets are known again, and orders to kill everything."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import audit.uuid7


def restrict(apps, schema_editor):
    """A fingerprint never changes; of an order only its confirmation is written later."""
    role = schema_editor.quote_name(settings.DATABASE_APP_ROLE)
    for table in ("agent_sessions_fingerprint", "agent_sessions_killorder"):
        schema_editor.execute(f"REVOKE UPDATE, DELETE, TRUNCATE ON {table} FROM {role}")
    schema_editor.execute(f"GRANT UPDATE (confirmed_by_id, confirmed_at) ON agent_sessions_killorder TO {role}")


class Migration(migrations.Migration):
    dependencies = [
        ("agent_sessions", "0006_additions"),
    ]

    operations = [
        migrations.CreateModel(
            name="KillOrder",
            fields=[
                ("id", models.UUIDField(default=audit.uuid7.uuid7, editable=False, primary_key=True, serialize=False)),
                ("ordered_at", models.DateTimeField()),
                ("confirm_by", models.DateTimeField()),
                ("confirmed_at", models.DateTimeField(null=True)),
                (
                    "confirmed_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "ordered_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Fingerprint",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("digest", models.CharField(db_index=True, max_length=64)),
                (
                    "credential",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="fingerprints",
                        to="agent_sessions.credential",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("credential", "digest"), name="one_fingerprint_of_a_field")
                ],
            },
        ),
        migrations.RunPython(restrict, migrations.RunPython.noop),
    ]
