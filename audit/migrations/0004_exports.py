"""Evidence files that were asked for, and how far a SIEM has the log."""

from django.db import migrations, models
from django.db.models import Q

import audit.uuid7

STATES = [
    ("waiting", "Waiting"),
    ("running", "Being made"),
    ("ready", "Ready"),
    ("failed", "Failed"),
    ("expired", "Expired"),
]


class Migration(migrations.Migration):
    dependencies = [("audit", "0003_partitions")]

    operations = [
        migrations.CreateModel(
            name="Export",
            fields=[
                ("id", models.UUIDField(default=audit.uuid7.uuid7, editable=False, primary_key=True, serialize=False)),
                ("by", models.UUIDField()),
                ("selection", models.JSONField()),
                ("state", models.CharField(choices=STATES, default="waiting", max_length=16)),
                ("done", models.BigIntegerField(default=0)),
                ("total", models.BigIntegerField(default=0)),
                ("events", models.BigIntegerField(default=0)),
                ("unproven", models.BigIntegerField(default=0)),
                ("size", models.BigIntegerField(default=0)),
                ("sha256", models.CharField(blank=True, max_length=64)),
                ("error", models.TextField(blank=True)),
                ("made_at", models.DateTimeField()),
                ("touched_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField(null=True)),
            ],
            options={
                "indexes": [
                    models.Index(fields=["by", "-made_at"], name="export_by"),
                    models.Index(
                        fields=["touched_at"], name="export_due", condition=Q(state__in=["waiting", "running"])
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Delivery",
            fields=[
                ("name", models.CharField(max_length=32, primary_key=True, serialize=False)),
                ("next_leaf", models.BigIntegerField(default=0)),
                ("tries", models.IntegerField(default=0)),
                ("due_at", models.DateTimeField()),
                ("delivered_at", models.DateTimeField(null=True)),
            ],
        ),
    ]
