"""What people type or choose on the pages."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import QuerySet

from audit.event import now
from audit.models import Hold
from sessions.lifecycle import Narrower
from sessions.models import Role, Team
from sessions.models.agents import Framework
from sessions.providers import registry
from sessions.words import plain, span

LONGEST_RULE = timedelta(days=90)
DURATIONS = (300, 900, 1_800, 3_600, 7_200, 14_400, 28_800)


class Decide(forms.Form):
    """The grant hash says which grant was read: the server compares it with the one that stands."""

    grant_hash = forms.RegexField(r"^[0-9a-f]{64}$", widget=forms.HiddenInput)


class Unshown(forms.Textarea):
    """What was typed is never sent back."""

    def format_value(self, value: Any) -> str:
        return ""


class LookUp(forms.Form):
    """A string that was found somewhere. It is never stored, and never shown again."""

    text = forms.CharField(
        min_length=12,
        max_length=20_000,
        strip=False,
        label="What was found",
        widget=Unshown({"rows": 4, "autocomplete": "off", "spellcheck": "false"}),
        help_text="A token, a password, a private key, or the text around it. It is not stored.",
    )


class Deny(Decide):
    reason = forms.CharField(
        max_length=500, required=False, strip=True, widget=forms.Textarea({"rows": 3}), label="Why (the agent is told)"
    )


class NewRule(forms.Form):
    """One rule out of something that was denied. Never a whole domain with all methods, and never without an end."""

    location = forms.CharField(max_length=600, label="Address", help_text="https://host/path/ - all below the last /")
    methods = forms.CharField(max_length=100, label="Methods", help_text="Such as GET POST; tunnel for tls://")
    until = forms.DateField(label="Last day", widget=forms.DateInput({"type": "date"}))

    def clean_until(self) -> date:
        until: date = self.cleaned_data["until"]
        today = now().date()
        if not today <= until <= today + LONGEST_RULE:
            raise ValidationError(f"Choose a day from today, and at most {LONGEST_RULE.days} days from now.")
        return until

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if {"location", "methods", "until"} <= cleaned.keys():
            for problem in registry.problems_of([self.details()]):
                self.add_error(None, problem)
            path = cleaned["location"].partition("://")[2].partition("/")[2]
            if "*" in cleaned["methods"] and not path:
                self.add_error("methods", "Not a whole host with all methods: name the methods, or a path.")
        return cleaned

    def details(self) -> dict[str, Any]:
        """An egress object (docs/gateway.md)."""
        return {
            "type": "egress",
            "locations": [self.cleaned_data["location"].strip()],
            "actions": self.cleaned_data["methods"].replace(",", " ").split(),
            "until": self.cleaned_data["until"].isoformat(),
        }


@dataclass(frozen=True)
class Choice:
    """One action on one place of one object, as a checkbox."""

    value: str
    action: str
    kept: bool


@dataclass(frozen=True)
class Place:
    name: str
    choices: tuple[Choice, ...]


class ApproveLess(Decide):
    """A narrower grant: what is ticked (`object:location:action`), for no longer than was asked."""

    keep = forms.MultipleChoiceField(
        error_messages={"required": "Nothing is left to grant: deny the request instead."}, label="What it may do"
    )
    duration_s = forms.TypedChoiceField(coerce=int, label="For")

    def __init__(self, content: Mapping[str, Any], data: Mapping[str, Any] | None = None, grant_hash: str = "") -> None:
        self._details: Sequence[Mapping[str, Any]] = content["authorization_details"]
        asked = content["limits"]["duration"]
        everything = list(self._offered())
        super().__init__(data, initial={"grant_hash": grant_hash, "keep": everything, "duration_s": asked})
        self._field("keep").choices = [(value, value) for value in everything]
        shorter = [length for length in DURATIONS if length < asked]
        self._field("duration_s").choices = [(length, span(length)) for length in (*shorter, asked)]

    def _field(self, name: str) -> forms.ChoiceField:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        return field

    def places(self) -> Iterator[Place]:
        """The checkboxes, a row for each place."""
        kept = set(self["keep"].value() or ())
        for number, each in enumerate(self._details):
            for index, location in enumerate(each["locations"]):
                yield Place(
                    name=plain(location.removeprefix("postgresql://")),
                    choices=tuple(
                        Choice(value := f"{number}:{index}:{action}", action, value in kept)
                        for action in each["actions"]
                    ),
                )

    def narrower(self) -> Narrower:
        return Narrower(details=list(self._narrowed()), duration_s=self.cleaned_data["duration_s"])

    def _offered(self) -> Iterator[str]:
        for number, each in enumerate(self._details):
            for index in range(len(each["locations"])):
                yield from (f"{number}:{index}:{action}" for action in each["actions"])

    def _narrowed(self) -> Iterator[dict[str, Any]]:
        """Each object with less in it; places of one object that keep different actions become objects of their own."""
        kept = set(self.cleaned_data["keep"])
        for number, each in enumerate(self._details):
            places: dict[tuple[str, ...], list[str]] = {}
            for index, location in enumerate(each["locations"]):
                actions = tuple(action for action in each["actions"] if f"{number}:{index}:{action}" in kept)
                if actions:
                    places.setdefault(actions, []).append(location)
            for actions, locations in places.items():
                yield {**each, "locations": locations, "actions": list(actions)}


class DeviceCode(forms.Form):
    """The code that the runner printed. Case, spaces and a missing hyphen do not matter."""

    user_code = forms.CharField(
        max_length=20,
        label="Code",
        widget=forms.TextInput({"autocomplete": "off", "autocapitalize": "characters", "spellcheck": "false"}),
    )

    def clean_user_code(self) -> str:
        letters = "".join(letter for letter in self.cleaned_data["user_code"].upper() if letter.isalnum())
        if len(letters) != 8:
            raise ValidationError("A code has eight letters, such as WDJB-MJHT.")
        return f"{letters[:4]}-{letters[4:]}"


class InTeam(forms.Form):
    """A form about something new in one of the person's teams."""

    team = forms.ModelChoiceField(Team.objects.none(), empty_label=None, to_field_name="slug")

    def __init__(self, teams: QuerySet[Team], data: Mapping[str, Any] | None = None) -> None:
        super().__init__(data)
        field = self.fields["team"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = teams


class RegisterAgent(InTeam):
    name = forms.CharField(max_length=100, help_text="As people will recognise it on a request, such as release-bot.")
    framework = forms.ChoiceField(choices=Framework.choices)


class CreateProfile(InTeam):
    name = forms.CharField(max_length=100, help_text="Such as Warehouse: orders.")
    slug = forms.SlugField(
        max_length=50, label="Short name", help_text="What agents ask for, such as warehouse-orders."
    )


class ProposeVersion(forms.Form):
    content = forms.CharField(
        max_length=60_000, widget=forms.Textarea({"rows": 24, "spellcheck": "false", "class": "code"}), label="Content"
    )

    def clean_content(self) -> dict[str, Any]:
        try:
            content = json.loads(self.cleaned_data["content"])
        except ValueError as error:
            raise ValidationError(f"This is not JSON: {error}") from error
        if not isinstance(content, dict):
            raise ValidationError("A profile is one JSON object: { … }.")
        return content


class AddPerson(forms.Form):
    email = forms.EmailField(label="E-mail address", widget=forms.EmailInput({"autocomplete": "off"}))
    name = forms.CharField(
        max_length=100,
        required=False,
        help_text="Needed for somebody who has no account yet.",
        widget=forms.TextInput({"autocomplete": "off"}),
    )
    role = forms.ChoiceField(choices=Role.choices)

    def clean_email(self) -> str:
        return str(self.cleaned_data["email"]).lower()


class ErasePerson(forms.Form):
    """`confirm` repeats the person's address: whoever erases has read whose page line it is."""

    person = forms.UUIDField(widget=forms.HiddenInput)
    confirm = forms.CharField(max_length=254, label="Their e-mail address, to confirm")
    reason = forms.CharField(max_length=500, label="Why (goes into the log, sealed)")


class PlaceHold(forms.Form):
    """What is named: a session by its id, a person by their e-mail address or id, a team by its short name."""

    what = forms.ChoiceField(choices=Hold.What.choices, label="Hold what belongs to a")
    value = forms.CharField(
        max_length=254, label="Which one", help_text="A session's id, a person's address or id, a team's short name."
    )
    reason = forms.CharField(max_length=500, label="Why", help_text="Such as a case's number. Goes into the log.")


class ReleaseHold(forms.Form):
    reason = forms.CharField(max_length=500, label="Why it is released")


class GrantRole(forms.Form):
    person = forms.UUIDField(widget=forms.HiddenInput)
    role = forms.ChoiceField(choices=Role.choices)
