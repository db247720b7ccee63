"""Whether a backup could be stored: tried as far as it can be, with as little left behind as can be."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from tklbam_core.api import TargetError

from . import guard
from .address import DEFAULT_REGION, Place
from .failures import SKEW_WORTH_TELLING, clock_skew, code_of
from .settings import Settings

OURS = ".tklbam-"
"""How the names of objects begin that are no files of sessions."""
TRIAL = f"{OURS}check"
SESSIONS = "duplicity-"
"""How the names of sessions' files begin."""
ABANDONED = timedelta(days=1)
"""Age at which an unfinished multipart upload belongs to nobody any more."""
MISSING = frozenset({"NoSuchBucket", "404"})
UNTIDIED = frozenset({*guard.REFUSED, "NotImplemented", "NoSuchUpload", "404", "501"})
"""Codes with which a service does not let unfinished uploads be looked for; a rule of the bucket may."""


def check(client: Any, place: Place, settings: Settings, *, write: bool) -> list[str]:
    """Proves what `Target.check` is to prove; returns what a person should know. Raises boto3's errors, TargetError.

    In append-only mode the trial object stays, for nothing may be deleted there.
    """
    headers = _look(client, place, settings, write=write)["ResponseMetadata"]["HTTPHeaders"]
    # The rest asks for one thing each, and the way there and back is most of what each takes.
    asked = [lambda: _ask_for_bucket(client, place)]
    if write:
        asked += [lambda: _try_to_write(client, place, settings), lambda: _end_abandoned_uploads(client, place)]
    said = [line for lines in _at_once(asked) for line in lines]
    skew = clock_skew(headers)
    if skew is not None and abs(skew) > SKEW_WORTH_TELLING:
        said.append(f"{place.address}: this system's clock is off by {abs(skew) / 60:.0f} minutes")
    return said


def _at_once(asked: Sequence[Callable[[], list[str]]]) -> list[list[str]]:
    """What each answers. Raises the error of the first that failed, once all have ended."""
    answers: list[list[str]] = [[] for _ in asked]
    errors: dict[int, Exception] = {}

    def ask(number: int) -> None:
        try:
            answers[number] = asked[number]()
        except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
            errors[number] = error

    # An interrupted run does not wait for an answer that may never come.
    threads = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(1, len(asked))]
    for thread in threads:
        thread.start()
    ask(0)
    for thread in threads:
        thread.join()
    if errors:
        raise errors[min(errors)]
    return answers


def time_of(client: Any, place: Place) -> datetime | None:
    """The service's time of day, where it says it."""
    answer = client.list_objects_v2(Bucket=place.bucket, Prefix=place.prefix, MaxKeys=1)
    skew = clock_skew(answer["ResponseMetadata"]["HTTPHeaders"])
    return None if skew is None else datetime.now(UTC) - timedelta(seconds=skew)


def _look(client: Any, place: Place, settings: Settings, *, write: bool) -> Any:
    from botocore.exceptions import ClientError

    wanted = {"Bucket": place.bucket, "Prefix": place.prefix, "MaxKeys": 1}
    try:
        return client.list_objects_v2(**wanted)
    except ClientError as error:
        if code_of(error) not in MISSING or not write:
            raise
    _make_bucket(client, place, settings)
    return client.list_objects_v2(**wanted)


def _ask_for_bucket(client: Any, place: Place) -> list[str]:
    """As duplicity does, which a policy may forbid where a listing below a prefix is allowed."""
    from botocore.exceptions import ClientError

    try:
        client.head_bucket(Bucket=place.bucket)
    except ClientError as error:
        if code_of(error) != "403":
            raise
        raise TargetError(
            f"{place.address}: the bucket itself may not be asked for, and duplicity does so",
            "Allow these credentials s3:ListBucket without a condition on s3:prefix.",
        ) from error
    return []


def _try_to_write(client: Any, place: Place, settings: Settings) -> list[str]:
    key = place.prefix + TRIAL
    client.put_object(Bucket=place.bucket, Key=key, Body=b"", **settings.upload_arguments(TRIAL))
    if settings.append_only:
        return guard.inspect(client, place).warnings(place)
    client.delete_object(Bucket=place.bucket, Key=key)
    return []


def _make_bucket(client: Any, place: Place, settings: Settings) -> None:
    from botocore.exceptions import ClientError

    if settings.append_only:
        raise TargetError(
            f"{place.address}: there is no bucket {place.bucket}",
            "An append-only bucket is made by whoever may delete in it, with versioning or Object Lock.",
        )
    region = client.meta.region_name
    # Services of one's own know no places by Amazon's names.
    elsewhere = place.endpoint is None and region != DEFAULT_REGION
    words = {"CreateBucketConfiguration": {"LocationConstraint": region}} if elsewhere else {}
    try:
        client.create_bucket(Bucket=place.bucket, **words)
    except ClientError as error:
        if code_of(error) == "AccessDenied":
            raise TargetError(
                f"{place.address}: there is no bucket {place.bucket}, and these credentials may make none",
                "Make the bucket, or let them (s3:CreateBucket).",
            ) from error
        if code_of(error) != "BucketAlreadyOwnedByYou":
            raise


def _end_abandoned_uploads(client: Any, place: Place) -> list[str]:
    """Parts of an upload that was never finished take room, and no listing shows them."""
    from botocore.exceptions import ClientError

    try:
        pages = client.get_paginator("list_multipart_uploads").paginate(
            Bucket=place.bucket, Prefix=place.prefix + SESSIONS
        )
        for upload in (each for page in pages for each in page.get("Uploads", [])):
            if datetime.now(UTC) - upload["Initiated"] > ABANDONED:
                client.abort_multipart_upload(Bucket=place.bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    except ClientError as error:
        # It only costs room, so no backup fails for it.
        if code_of(error) not in UNTIDIED:
            return [f"{place.address}: unfinished uploads could not be cleared ({code_of(error)})"]
    return []
