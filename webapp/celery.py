"""The Celery application. Tasks take ids; the rows in PostgreSQL are the queue of record."""

import os

from celery import Celery

from webapp.ticker import Ticker

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.settings")

app = Celery("drawbridge")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["sessions", "audit"])
app.autodiscover_tasks(["sessions"], related_name="export_tasks")
app.autodiscover_tasks(["audit"], related_name="siem_tasks")
app.steps["worker"].add(Ticker)
