"""How much a backup holds, looked up where it is stored: classic clients never say."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tklbam_hub.storage.models import Storage
from tklbam_hub.storage.places import bucket_of


class CannotMeasure(Exception):
    """This Hub can't look there; says why."""


def size_of(storage: Storage, address: str) -> int:
    """Bytes of all that is stored at an address. Raises CannotMeasure where only clients can look."""
    if storage.kind == Storage.Kind.S3:
        return _in_bucket(storage, address)
    parts = urlsplit(address)
    if parts.scheme != "file":
        raise CannotMeasure(f"{parts.scheme} addresses are for clients alone")
    path = Path(unquote(parts.path))
    if not path.parent.is_dir():
        raise CannotMeasure(f"{path.parent} is not on this machine")
    return _in_directory(path)


def _in_directory(path: Path) -> int:
    try:
        entries = list(os.scandir(path))
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise CannotMeasure(str(error)) from None
    total = 0
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            total += _in_directory(Path(entry.path))
        elif entry.is_file(follow_symlinks=False):
            total += entry.stat(follow_symlinks=False).st_size
    return total


def _in_bucket(storage: Storage, address: str) -> int:
    try:
        boto3: Any = importlib.import_module("boto3")
        botocore: Any = importlib.import_module("botocore.exceptions")
    except ImportError:
        raise CannotMeasure("boto3 is not installed: pip install tklbam-hub[s3]") from None
    bucket = bucket_of(address)
    client = boto3.client(
        "s3",
        region_name=storage.region or "us-east-1",
        endpoint_url=storage.s3_endpoint or (f"https://{bucket.endpoint}" if bucket.endpoint else None),
        aws_access_key_id=storage.access_key or None,
        aws_secret_access_key=storage.secret_key or None,
    )
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket.name, Prefix=f"{bucket.prefix}/")
    try:
        return sum(int(each["Size"]) for page in pages for each in page.get("Contents", ()))
    except (botocore.ClientError, botocore.BotoCoreError) as error:
        raise CannotMeasure(str(error)) from None
