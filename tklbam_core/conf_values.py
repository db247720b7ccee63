"""What the values of the configuration may be: each function takes the text and raises ValueError saying what is
allowed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from .api.redact import split_password

MB, GB = 1 << 20, 1 << 30
_TRUE = ("yes", "true", "on", "1")
_FALSE = ("no", "false", "off", "0")
_SECRET_KEY = re.compile(r"(.*[-_])?(password|passwd|pass|pwd|secret|secretkey|secret-key|token)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class CacheSize:
    """A limit on disk space: a share of what is free, or a number of bytes. One of the two is None."""

    text: str
    percent: int | None = None
    size: int | None = None

    @classmethod
    def parse(cls, text: str) -> CacheSize:
        match = re.fullmatch(r"([0-9]{1,9}) ?(%|MB|GB)", text, re.IGNORECASE)
        if match is not None:
            number, unit = int(match[1]), match[2].upper()
            if unit == "%" and 1 <= number <= 100:
                return cls(text, percent=number)
            if unit != "%" and number >= 1:
                return cls(text, size=number * (MB if unit == "MB" else GB))
        raise ValueError("allowed are 1%…100% (of the free space), or a number with MB or GB")

    def bytes_of(self, free: int) -> int:
        """The limit in bytes, with `free` bytes on the file system."""
        return self.size if self.size is not None else free * (self.percent or 0) // 100

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class KeyValue:
    """An option handed to plugins. `engine` is empty for storage options."""

    engine: str
    key: str
    value: str

    def __str__(self) -> str:
        return f"{self.engine + ':' if self.engine else ''}{self.key}={self.value}"


def archive_engine(text: str) -> str:
    if text in ("native", "duplicity"):
        return text
    raise ValueError("allowed are native and duplicity")


def yes_or_no(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError(f"allowed are {', '.join(_TRUE)} and {', '.join(_FALSE)}")


def number(text: str, least: int, most: int) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
        raise ValueError(f"allowed are whole numbers from {least} to {most}")
    return int(text)


def address(text: str) -> str:
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*:.", text) or text.split() != [text]:
        hint = f"; a local folder is written file://{text}" if text.startswith("/") else ""
        raise ValueError(f"allowed are URLs, such as file:///srv/backup or s3://bucket/name{hint}")
    return text


def hub_url(text: str) -> str:
    if not re.fullmatch(
        r"https://[^\s/@?#]+(/[^\s?#]*)?|http://(localhost|127\.[0-9.]+|\[::1\])(:\d+)?(/[^\s?#]*)?", text
    ):
        raise ValueError(
            "allowed are https:// URLs, such as https://hub.example.org/api/backup/ (http:// on this machine)"
        )
    return text


def absolute_path(text: str) -> Path:
    if not text.startswith("/") or "\0" in text:
        raise ValueError("allowed are absolute paths")
    return Path(text)


def profile(text: str) -> str:
    if not text or text.split() != [text]:
        raise ValueError("allowed are a profile id, `empty`, `dpkg`, or the path of a profile")
    return text


def plugin(text: str) -> str:
    if not re.fullmatch(r"([a-z]+:)?[A-Za-z0-9][A-Za-z0-9_.+-]*", text):
        raise ValueError("allowed are NAME and KIND:NAME, as `tklbam plugins` shows them")
    return text


def database_option(text: str) -> KeyValue:
    match = re.fullmatch(r"([a-z][a-z0-9]*):([A-Za-z][A-Za-z0-9_-]*)=(.*)", text)
    if match is None:
        raise ValueError("allowed is ENGINE:KEY=VALUE, such as mysql:host=db.example.org")
    return _no_secret(KeyValue(*match.groups()))


def storage_option(text: str) -> KeyValue:
    match = re.fullmatch(r"([A-Za-z][A-Za-z0-9_-]*)=(.*)", text)
    if match is None:
        raise ValueError("allowed is KEY=VALUE, such as s3-endpoint=https://storage.example.org")
    return _no_secret(KeyValue("", *match.groups()))


def _no_secret(option: KeyValue) -> KeyValue:
    if _SECRET_KEY.fullmatch(option.key):
        raise ValueError(f"secrets do not stand in the configuration: write {option.key}-file=PATH instead")
    return option


def without_password(text: str) -> str:
    """An address as it is kept and shown: without the password in it, if any."""
    return split_password(text)[0]
