"""`manage.py openbao_policy`: what OpenBao has to allow the control plane for OPENBAO_PLACES."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from sessions.providers import places


class Command(BaseCommand):
    help = "Print the OpenBao policy (HCL) that the control plane needs for OPENBAO_PLACES, beside drawbridge-control."

    def handle(self, *args: Any, **options: Any) -> None:
        found = {name: places.Place.of(entry) for name, entry in settings.OPENBAO_PLACES.items()}
        self.stdout.write("\n".join(places.policy(found)))
