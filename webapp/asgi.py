"""The ASGI application that uvicorn serves."""

import os

from django.core.asgi import get_asgi_application

from webapp.bodies import limited

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.settings")
django = get_asgi_application()

from sessions.api.ingest import shortcut  # noqa: E402 - once Django is set up

application = limited(shortcut(django))
