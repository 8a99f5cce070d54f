"""A browser without JavaScript, signed in as somebody."""

from collections.abc import Callable

import pytest
from django.test import Client

from sessions.models import Person

Browse = Callable[[Person], Client]
BACKEND = "allauth.account.auth_backends.AuthenticationBackend"


@pytest.fixture
def browse(db: None) -> Browse:
    def signed_in(person: Person) -> Client:
        client = Client()
        client.force_login(person, BACKEND)
        return client

    return signed_in
