"""A new gateway. Its token is printed once and not kept."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from sessions import lifecycle
from sessions.errors import Invalid

OPERATOR = "service:operator"


class Command(BaseCommand):
    help = "Make a gateway and print its token: put it into the file that GATEWAY_TOKEN_FILE names there."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="small letters, digits and hyphens, such as edge-1")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            _, token = lifecycle.add_gateway(options["name"], OPERATOR)
        except Invalid as error:
            raise CommandError(str(error)) from error
        self.stdout.write(token)
