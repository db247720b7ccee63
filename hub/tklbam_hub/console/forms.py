"""The forms of the console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.conf import settings
from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest

from tklbam_hub.accounts.models import Account
from tklbam_hub.accounts.signin import BLOCKED_ATTRIBUTE
from tklbam_hub.notices import webhook
from tklbam_hub.records.models import BackupRecord

if TYPE_CHECKING:
    _RecordForm = forms.ModelForm[BackupRecord]
    _AccountForm = forms.ModelForm[Account]
else:
    _RecordForm = _AccountForm = forms.ModelForm

MOST_SIGNATURE = 64 * 1024
YEARS_HOURS = 10 * 366 * 24


class SignInForm(AuthenticationForm):
    blocked = "Too many attempts. Wait a quarter of an hour, then try again."

    def __init__(self, request: HttpRequest | None = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(request, *args, **kwargs)
        self.fields["username"].label = "Name"
        self.error_messages = {
            "invalid_login": "The name or the password is wrong.",
            "inactive": "This account was closed. Ask whoever runs this Hub.",
        }

    def get_invalid_login_error(self) -> ValidationError:
        if getattr(self.request, BLOCKED_ATTRIBUTE, False):
            return ValidationError(self.blocked, code="blocked")
        return super().get_invalid_login_error()


class BackupForm(_RecordForm):
    """What people may say about a backup; everything else is its server's to say."""

    overdue_after_hours = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=YEARS_HOURS,
        label="Overdue after (hours)",
        help_text="Since the last good session. 0: never. Empty: as your account has it.",
    )

    class Meta:
        model = BackupRecord
        fields = ("label", "overdue_after_hours", "muted")
        labels: ClassVar = {"muted": "Announce nothing about this backup"}
        help_texts: ClassVar = {
            "label": "How this backup is called here and in tklbam list.",
            "muted": "No e-mail and no webhook when it fails or is overdue; it is still shown here.",
        }

    def clean_label(self) -> str:
        return one_line(self.cleaned_data["label"])


class DeleteBackupForm(forms.Form):
    """Wants the backup's number typed: a click in the wrong row deletes nothing."""

    confirmation = forms.CharField(label="Number of the backup", max_length=20)

    def __init__(self, *args: Any, number: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.number = number
        field = self.fields["confirmation"]
        field.help_text = f"Type {number} to confirm."
        field.widget.attrs.update({"inputmode": "numeric", "autocomplete": "off"})

    def clean_confirmation(self) -> str:
        said: str = self.cleaned_data["confirmation"].strip().removeprefix("#")
        if said != str(self.number):
            raise ValidationError(f"This backup is number {self.number}.")
        return said


class NewKeyForm(forms.Form):
    label = forms.CharField(max_length=80, help_text="Where the key will be used: a server, a customer, a site.")
    own_records_only = forms.BooleanField(
        required=False,
        label="Servers with this key see only backups made with it",
        help_text="For servers that should not be able to restore each other's backups.",
    )

    def clean_label(self) -> str:
        return one_line(self.cleaned_data["label"])


class EmailForm(_AccountForm):
    """A new address takes the account's password, too: whoever has it can get at the password."""

    password = forms.CharField(
        label="Your password", strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "current-password"})
    )

    class Meta:
        model = Account
        fields = ("email",)
        labels: ClassVar = {"email": "E-mail address"}
        help_texts: ClassVar = {"email": "Where failed and overdue backups are announced."}

    field_order = ("email", "password")

    def clean_password(self) -> str:
        password: str = self.cleaned_data["password"]
        # Compared with what is stored, not with what this form may have set meanwhile.
        if not self.instance.check_password(password):
            raise ValidationError("That is not your password.")
        return password


class NotificationForm(_AccountForm):
    overdue_after_hours = forms.IntegerField(
        min_value=0,
        max_value=YEARS_HOURS,
        label="A backup is overdue after (hours)",
        help_text="Since its last good session. 0: never. A backup's own page can say otherwise.",
    )
    webhook_url = forms.CharField(
        required=False,
        max_length=500,
        label="Webhook",
        widget=forms.URLInput(attrs={"placeholder": "https://chat.example.org/hooks/…"}),
        help_text="Gets a POST with JSON when a backup fails, is overdue or recovers.",
    )

    class Meta:
        model = Account
        fields = ("overdue_after_hours", "notify_email", "webhook_url")
        labels: ClassVar = {"notify_email": "Announce failed and overdue backups by e-mail"}

    def clean_webhook_url(self) -> str:
        url: str = self.cleaned_data["webhook_url"].strip()
        if url:
            try:
                webhook.check_url(url)
            except webhook.WebhookError as error:
                raise ValidationError(f"No announcement would arrive there: {error}.") from None
        return url


class ProfileForm(forms.Form):
    """A new version of a profile; whether the archive is one is for `profiles/archives.py` to say."""

    profile_id = forms.CharField(
        label="Profile id", max_length=200, help_text="Such as turnkey-wordpress-18.0-bookworm-amd64 or debian-12."
    )
    archive = forms.FileField(label="Archive", help_text="The profile's files as .tar.gz.")
    signature = forms.FileField(
        label="Signature", required=False, help_text="Detached and armoured; handed out with the archive."
    )
    comment = forms.CharField(max_length=200, required=False)

    def clean_archive(self) -> UploadedFile[Any]:
        archive: UploadedFile[Any] = self.cleaned_data["archive"]
        if archive.size is None or archive.size > settings.PROFILE_MAX_BYTES:
            raise ValidationError(f"An archive has at most {settings.PROFILE_MAX_BYTES >> 20} MB.")
        return archive

    def clean_signature(self) -> UploadedFile[Any] | None:
        signature: UploadedFile[Any] | None = self.cleaned_data["signature"]
        if signature and (signature.size is None or signature.size > MOST_SIGNATURE):
            raise ValidationError("That is no signature: it is too large.")
        return signature

    def clean_comment(self) -> str:
        return one_line(self.cleaned_data["comment"])


def save_fields(form: Any, *more: str) -> None:
    """Writes the columns of a valid model form, and `more`, and no others: servers write to the same row meanwhile."""
    form.instance.save(update_fields=[*(name for name in form.Meta.fields if name in form.fields), *more])


def one_line(text: str) -> str:
    """Text without what would break a line of a list or hide in a terminal: control and formatting characters."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
