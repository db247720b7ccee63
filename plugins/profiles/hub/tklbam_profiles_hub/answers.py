"""A Hub's answers, judged: what is not of the API's types never gets further than this."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, ValidationError, field_validator

from tklbam_core.api import BackupRecord, Credentials

from .api_key import is_key
from .refusals import plain

LONGEST_KEY = 64 << 10
LONGEST_TEXT = 4096
MOST_FIELDS = 50
ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""The form of a backup's id; the API's are numbers."""
_Model = TypeVar("_Model", bound=BaseModel)
_FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


class Nonsense(ValueError):
    """An answer is not what the API says; the text names the field, and holds nothing of its value."""


def _id(value: object) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not ID.fullmatch(text):
        raise ValueError("no id")
    return text


def _name(value: object) -> str:
    """A text for people; what would disturb a terminal is replaced."""
    if value is None:
        return ""
    if not isinstance(value, str | int | float) or len(str(value)) > LONGEST_TEXT:
        raise ValueError("no text")
    return plain(str(value))


def _moment(value: object) -> datetime | None:
    if value in (None, ""):
        return None
    if not isinstance(value, str):
        raise ValueError("no date")
    found = datetime.fromisoformat(value)
    return found.astimezone(UTC) if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _timestamp(value: object) -> datetime:
    """Seconds since 1970, as a number or as text, or a date; whole seconds, which is what a file's time keeps."""
    if isinstance(value, str) and not re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
        found = _moment(value)
        if found is None:
            raise ValueError("no time")
        return found.replace(microsecond=0)
    if not isinstance(value, int | float | str) or isinstance(value, bool):
        raise ValueError("no time")
    try:
        return datetime.fromtimestamp(int(float(value)), UTC)
    except (OverflowError, OSError) as error:
        raise ValueError("no time") from error


Name = Annotated[str, BeforeValidator(_name)]
Moment = Annotated[datetime | None, BeforeValidator(_moment)]


class SubkeyAnswer(BaseModel):
    subkey: str

    @field_validator("subkey")
    @classmethod
    def _is_a_key(cls, value: str) -> str:
        if not is_key(value):
            raise ValueError("no key")
        return value


class TimestampAnswer(BaseModel):
    archive_timestamp: Annotated[datetime, BeforeValidator(_timestamp)]


class RecordAnswer(BaseModel):
    """`size` is in bytes. The key packet and the address are passed on as they are: the core judges both."""

    backup_id: Annotated[str, BeforeValidator(_id)]
    address: str = Field(min_length=1, max_length=LONGEST_TEXT)
    key: Annotated[str, Field(max_length=LONGEST_KEY, pattern=r"^[A-Za-z0-9+/=_\s-]*$")] = ""
    server_id: Name = ""
    turnkey_version: Name = ""
    date_created: Moment = None
    date_updated: Moment = None
    size: Annotated[int, Field(ge=0, lt=1 << 63)] = 0
    description: Name = ""

    @field_validator("address")
    @classmethod
    def _is_one_line(cls, value: str) -> str:
        if not value.isprintable():
            raise ValueError("no address")
        return value

    @field_validator("size", mode="before")
    @classmethod
    def _is_known(cls, value: object) -> object:
        return 0 if value is None else value

    @field_validator("key", mode="before")
    @classmethod
    def _is_there(cls, value: object) -> object:
        return "" if value is None else value


def subkey(answer: Any) -> str:
    """Each of these raises Nonsense."""
    return _judged(SubkeyAnswer, answer).subkey


def timestamp(answer: Any) -> datetime:
    return _judged(TimestampAnswer, answer).archive_timestamp


def record(answer: Any) -> BackupRecord:
    found = _judged(RecordAnswer, answer)
    return BackupRecord(
        backup_id=found.backup_id,
        address=found.address,
        key=found.key.strip(),
        profile_id=found.turnkey_version,
        created=found.date_created,
        updated=found.date_updated,
        size=found.size,
        label=found.description,
        server_id=found.server_id,
    )


def records(answer: Any) -> list[BackupRecord]:
    if not isinstance(answer, list):
        raise Nonsense("no list")
    return [record(each) for each in answer]


def credentials(answer: Any) -> Credentials:
    """Whatever the type, its fields are passed on: which ones it takes is known to the storage plugin."""
    if not isinstance(answer, dict) or len(answer) > MOST_FIELDS:
        raise Nonsense("no object")
    fields = {}
    for name, value in answer.items():
        if not _FIELD.fullmatch(name):
            raise Nonsense("a field's name")
        if value is None:
            continue
        if not isinstance(value, str | int) or len(str(value)) > LONGEST_KEY or not str(value).isprintable():
            raise Nonsense(f"the field {name}")
        fields[name] = str(value)
    kind = fields.pop("type", "")
    if not any(fields.values()):
        # Storage that needs none: classic clients know no type that says so, and get a user with empty keys.
        return Credentials(kind="")
    return Credentials(kind=kind, fields=fields)


def _judged(model: type[_Model], answer: Any) -> _Model:
    try:
        return model.model_validate(answer)
    except ValidationError as error:
        # Only where it is wrong: a value may be a secret.
        places = [".".join(map(str, mistake["loc"])) or "no object" for mistake in error.errors(include_url=False)]
        raise Nonsense(", ".join(dict.fromkeys(places))) from None
