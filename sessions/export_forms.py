"""What people choose when they ask for an evidence file."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import QuerySet

from sessions.models import Person, Team

DAY = forms.DateInput({"type": "date"}, format="%Y-%m-%d")


class Between(forms.Form):
    """Whole days in UTC, both included. Without them: from the beginning, or until now."""

    since = forms.DateField(required=False, label="From", widget=DAY)
    until = forms.DateField(required=False, label="To", widget=DAY, help_text="Whole days in UTC, both included.")

    def clean(self) -> dict[str, Any]:
        found = super().clean() or self.cleaned_data
        since, until = found.get("since"), found.get("until")
        if since and until and until < since:
            raise ValidationError("The last day is before the first one.")
        return found

    @property
    def moments(self) -> tuple[datetime | None, datetime | None]:
        """From the first moment on, and before the second."""
        since, until = self.cleaned_data["since"], self.cleaned_data["until"]
        return _midnight(since), _midnight(until + timedelta(days=1)) if until else None


class OfSession(Between):
    session = forms.UUIDField(widget=forms.HiddenInput)


class OfPerson(Between):
    person = forms.ModelChoiceField(Person.objects.none(), empty_label=None)

    def __init__(self, people: QuerySet[Person], data: Mapping[str, Any] | None = None) -> None:
        super().__init__(data, auto_id="person_%s")
        _choose(self.fields["person"], people)


class OfPeriod(Between):
    team = forms.ModelChoiceField(Team.objects.none(), empty_label=None, to_field_name="slug")

    def __init__(self, teams: QuerySet[Team], data: Mapping[str, Any] | None = None) -> None:
        super().__init__(data, auto_id="period_%s")
        _choose(self.fields["team"], teams)
        self.fields["since"].required = self.fields["until"].required = True


def _choose(field: forms.Field, among: "QuerySet[Person] | QuerySet[Team]") -> None:
    assert isinstance(field, forms.ModelChoiceField)
    field.queryset = among


def _midnight(day: date | None) -> datetime | None:
    return datetime.combine(day, time.min, UTC) if day else None
