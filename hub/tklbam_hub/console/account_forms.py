"""The forms with which operators look after accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError

from tklbam_hub.accounts.models import Account
from tklbam_hub.console.forms import save_fields

if TYPE_CHECKING:
    _AccountForm = forms.ModelForm[Account]
else:
    _AccountForm = forms.ModelForm

GB = 10**9
FIELDS = ("email", "subscribed", "is_staff", "max_backups")
LABELS = {
    "username": "Name",
    "email": "E-mail address",
    "subscribed": "Subscribed",
    "is_staff": "Runs this Hub",
    "is_active": "Open",
    "max_backups": "Backups at most",
}
HELP = {
    "username": "Letters, digits and @ . + - _; what people sign in with.",
    "email": "Where failed and overdue backups are announced.",
    "subscribed": "Without it servers read and restore, and make no new backups.",
    "is_staff": "May look after all accounts and upload profiles.",
    "is_active": "A closed account can't sign in, and its keys open nothing. Its backups stay.",
    "max_backups": "No limit when empty.",
}


class AccountForm(_AccountForm):
    """What an operator may change about an account; not its own rights, lest nobody is left to give them back."""

    max_gb = forms.FloatField(
        required=False, min_value=0, max_value=1e9, label="GB at most", help_text="No limit when empty."
    )

    class Meta:
        model = Account
        fields = (*FIELDS, "is_active")
        labels: ClassVar = LABELS
        help_texts: ClassVar = HELP

    def __init__(self, *args: Any, by: Account, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.max_bytes is not None:
            self.initial["max_gb"] = self.instance.max_bytes / GB
        if self.instance.pk == by.pk:
            for own in ("is_staff", "is_active"):
                del self.fields[own]

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        gigabytes: float | None = data.get("max_gb")
        self.instance.max_bytes = None if gigabytes is None else int(gigabytes * GB)
        return data

    def store(self) -> None:
        self.instance.is_superuser = self.instance.is_staff
        save_fields(self, "max_bytes", "is_superuser")


class PasswordForm(forms.Form):
    """A password for somebody else, who should change it."""

    password = forms.CharField(
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="At least 10 characters, and not an easy one. Hand it over safely; its owner should change it.",
    )

    def refuse(self, error: ValidationError) -> None:
        """Shows at the field what is wrong with the password."""
        self.add_error("password", error)


class NewAccountForm(_AccountForm):
    password = forms.CharField(
        strip=False,
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="At least 10 characters. Without one the account has API keys alone and can't sign in.",
    )

    class Meta:
        model = Account
        fields = ("username", *FIELDS)
        labels: ClassVar = LABELS
        help_texts: ClassVar = HELP

    field_order = ("username", "email", "password", "subscribed", "is_staff", "max_backups")
