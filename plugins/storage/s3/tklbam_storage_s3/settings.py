"""What the administrator says about S3 in `storage-option` lines: every key, judged."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from tklbam_core.api import SchemeOption, TargetError

PREFIX = "s3-"
STORAGE_CLASSES = {
    "STANDARD": "",
    "REDUCED_REDUNDANCY": "--s3-use-rrs",
    "STANDARD_IA": "--s3-use-ia",
    "ONEZONE_IA": "--s3-use-onezone-ia",
    "GLACIER_IR": "--s3-use-glacier-ir",
    "GLACIER": "--s3-use-glacier",
    "DEEP_ARCHIVE": "--s3-use-deep-archive",
}
"""What duplicity can be told, and how. The archives keep manifests and signatures in STANDARD."""
ARCHIVES = frozenset({"GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"})

Addressing = Literal["path", "virtual"]
Checksums = Literal["always", "required"]

OPTIONS = (
    SchemeOption(key="s3-endpoint", meaning="URL of the service where the address names none; its scheme counts"),
    SchemeOption(key="s3-tls", meaning="no: the endpoint speaks plain HTTP (default yes)"),
    SchemeOption(key="s3-ca-file", meaning="certificates of authorities to trust instead of the system's"),
    SchemeOption(key="s3-region", meaning="region of the bucket (default: the endpoint's, else us-east-1)"),
    SchemeOption(key="s3-addressing", meaning="path or virtual (bucket in the host's name; Amazon's default)"),
    SchemeOption(key="s3-profile", meaning="profile of ~/.aws/config and ~/.aws/credentials to use"),
    SchemeOption(key="s3-storage-class", meaning=", ".join(STORAGE_CLASSES)),
    SchemeOption(key="s3-server-side-encryption", meaning="AES256 or aws:kms"),
    SchemeOption(key="s3-kms-key-id", meaning="key for aws:kms (default: Amazon's own for S3)"),
    SchemeOption(key="s3-append-only", meaning="yes: this system adds sessions and never deletes any"),
    SchemeOption(key="s3-checksums", meaning="always, or required: only where a call demands one (old servers)"),
    SchemeOption(key="s3-part-size", meaning="MB of a part of a multipart upload, 5 or more (default 8)"),
    SchemeOption(key="bandwidth-limit", meaning="most KiB a second that are sent, and that are fetched"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The options as values. `endpoint` has a scheme; `part_size` is megabytes, `timeout` seconds. `attempts` is how
    often a request is tried before it fails; `bandwidth` is bytes a second, 0 for no limit."""

    endpoint: str | None = None
    tls: bool | None = None
    ca_file: Path | None = None
    region: str | None = None
    addressing: Addressing | None = None
    profile: str | None = None
    storage_class: str | None = None
    encryption: Literal["AES256", "aws:kms"] | None = None
    kms_key_id: str | None = None
    append_only: bool = False
    checksums: Checksums | None = None
    part_size: int = 8
    bandwidth: int = 0
    attempts: int = 6
    timeout: int = 60

    def upload_arguments(self, name: str) -> dict[str, str]:
        """What goes with an object of this name when it is stored, as boto3 calls it."""
        # As duplicity has it: what every run needs to read stays at hand.
        at_hand = self.storage_class in ARCHIVES and ".difftar" not in name
        stored = {"StorageClass": self.storage_class} if self.storage_class and not at_hand else {}
        if self.encryption is None:
            return stored
        key = {"SSEKMSKeyId": self.kms_key_id} if self.encryption == "aws:kms" and self.kms_key_id else {}
        return {"ServerSideEncryption": self.encryption, **key, **stored}


def _yes_or_no(text: str) -> bool:
    words = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
    if text.lower() not in words:
        raise ValueError("yes or no")
    return words[text.lower()]


def _one_of(*allowed: str) -> Callable[[str], str]:
    def judge(text: str) -> str:
        for word in allowed:
            if text.lower() == word.lower():
                return word
        raise ValueError(", ".join(allowed))

    return judge


def _number(least: int, most: int) -> Callable[[str], int]:
    def judge(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return int(text)

    return judge


def _path(text: str) -> Path:
    if not text.startswith("/"):
        raise ValueError("an absolute path")
    return Path(text)


def _word(text: str) -> str:
    if not text or not text.isprintable() or " " in text:
        raise ValueError("one word")
    return text


def _endpoint(text: str) -> str:
    whole = text if "://" in text else f"https://{text}"
    try:
        parts = urlsplit(whole)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or "@" in whole or parts.query or parts.fragment or not whole.isprintable():
        raise ValueError("a URL such as https://storage.example.org:9000, without a password")
    return whole.rstrip("/")


_JUDGES: Mapping[str, Callable[[str], object]] = {
    "endpoint": _endpoint,
    "tls": _yes_or_no,
    "ca-file": _path,
    "region": _word,
    "addressing": _one_of("path", "virtual"),
    "profile": _word,
    "storage-class": _one_of(*STORAGE_CLASSES),
    "server-side-encryption": _one_of("AES256", "aws:kms"),
    "kms-key-id": _word,
    "append-only": _yes_or_no,
    "checksums": _one_of("always", "required"),
    "part-size": _number(5, 5000),
    "bandwidth-limit": _number(0, 10_000_000),
}
_FIELDS = {"server-side-encryption": "encryption", "bandwidth-limit": "bandwidth"}
_COMMON = frozenset({"bandwidth-limit"})
"""Options that targets of other kinds have, too."""


def read_settings(options: Mapping[str, str]) -> Settings:
    """Judges the options that begin with `s3-`; others belong to other targets. Raises TargetError."""
    values: dict[str, object] = {}
    for key, text in options.items():
        if not key.startswith(PREFIX) and key not in _COMMON:
            continue
        name = key.removeprefix(PREFIX)
        if name not in _JUDGES:
            near = difflib.get_close_matches(name, _JUDGES, n=1)
            hint = f"Did you mean {PREFIX}{near[0]}?" if near else "`tklbam targets` shows those there are."
            raise TargetError(f"there is no storage-option {key}", hint)
        try:
            values[_FIELDS.get(name, name.replace("-", "_"))] = _JUDGES[name](text)
        except ValueError as error:
            remedy = f"Allowed: {error}."
            if name == "storage-class":
                remedy += " For others, set a lifecycle rule on the bucket."
            raise TargetError(f"storage-option {key}={text} makes no sense", remedy) from None
    values["bandwidth"] = int(str(values.get("bandwidth", 0))) << 10
    # What the core says of every network.
    if "network-retries" in options:
        values["attempts"] = int(options["network-retries"]) + 1
    if "network-timeout" in options:
        values["timeout"] = int(options["network-timeout"])
    settings = Settings(**values)  # type: ignore[arg-type]
    if settings.kms_key_id and settings.encryption != "aws:kms":
        raise TargetError("s3-kms-key-id needs aws:kms", "Set storage-option s3-server-side-encryption=aws:kms, too.")
    return settings
