"""The ASGI application that uvicorn serves."""

import os

from django.core.asgi import get_asgi_application

from webapp.bodies import limited

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.settings")

application = limited(get_asgi_application())
