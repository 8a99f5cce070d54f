"""Wiring only: settings, urls, asgi, celery, access table, middleware, system checks."""

from webapp.celery import app as celery_app

__all__ = ["celery_app"]
