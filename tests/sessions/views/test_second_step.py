"""TOTP: what is kept of it, and that it is asked for."""

import time

from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, generate_totp_secret, hotp_value
from django.test import Client
from django.urls import reverse

from tests.factories import PASSWORD


def code(secret):
    return format_hotp_value(hotp_value(secret, int(time.time()) // 30))


def password_given(person):
    client = Client()
    answer = client.post(reverse("account_login"), {"login": person.email, "password": PASSWORD})
    assert answer.headers["Location"] == reverse("mfa_authenticate")
    return client


def test_secrets_of_the_second_step_are_sealed(world):
    secret = generate_totp_secret()
    TOTP.activate(world.lead, secret)
    RecoveryCodes.activate(world.lead)
    kept = [str(one.data) for one in Authenticator.objects.filter(user=world.lead)]
    assert len(kept) == 2
    assert not any(secret in each for each in kept)
    assert all("'k1:" in each for each in kept)


def test_password_alone_opens_nothing(world):
    TOTP.activate(world.lead, generate_totp_secret())
    assert password_given(world.lead).get("/").status_code == 302


def test_password_and_code_open(world):
    secret = generate_totp_secret()
    TOTP.activate(world.lead, secret)
    client = password_given(world.lead)
    client.post(reverse("mfa_authenticate"), {"code": code(secret)})
    assert client.get("/").status_code == 200


def test_wrong_code_is_said_so(world):
    TOTP.activate(world.lead, generate_totp_secret())
    answer = password_given(world.lead).post(reverse("mfa_authenticate"), {"code": "abcdef"})
    assert "Incorrect code." in answer.content.decode()


def test_recovery_code_opens_once(world):
    TOTP.activate(world.lead, generate_totp_secret())
    [first, *_] = RecoveryCodes.activate(world.lead).get_unused_codes()
    for expected in (200, 302):
        client = password_given(world.lead)
        client.post(reverse("mfa_authenticate"), {"code": first})
        assert client.get("/").status_code == expected


def test_second_step_is_closed_after_five_wrong_codes(world):
    secret = generate_totp_secret()
    TOTP.activate(world.lead, secret)
    client = password_given(world.lead)
    for _ in range(5):
        client.post(reverse("mfa_authenticate"), {"code": "000000"})
    answer = client.post(reverse("mfa_authenticate"), {"code": code(secret)})
    assert "Too many failed login attempts." in answer.content.decode()
    assert client.get("/").status_code == 302
