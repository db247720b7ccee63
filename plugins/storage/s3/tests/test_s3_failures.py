"""What services and boto3 say becomes an error with a remedy: told by code, by words, and by the clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from tklbam_core.api import SpaceError, TargetError
from tklbam_storage_s3.address import parse
from tklbam_storage_s3.failures import clock_skew, from_code, from_text, told, translate
from tklbam_storage_s3.settings import Settings

PLACE = parse("s3://storage.example.org/bucket/web1", Settings(), {})


def refusal(code: str, behind: timedelta = timedelta()) -> Exception:
    """What boto3 raises for a service's code; its Date header is our time less `behind`."""
    from botocore.exceptions import ClientError

    headers = {"date": format_datetime(datetime.now(UTC) - behind, usegmt=True)}
    response: Any = {"Error": {"Code": code, "Message": "So it said"}, "ResponseMetadata": {"HTTPHeaders": headers}}
    return ClientError(response, "PutObject")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("InvalidAccessKeyId", "does not know the access key"),
        ("SignatureDoesNotMatch", "does not fit"),
        ("ExpiredToken", "have expired"),
        ("NoSuchBucket", "no bucket bucket"),
        ("AccessDenied", "denied"),
        ("PermanentRedirect", "another region"),
        ("AuthorizationHeaderMalformed", "another region"),
        ("RequestTimeTooSkewed", "clock"),
        ("InvalidObjectState", "woken up"),
        ("KMS.DisabledException", "encryption key"),
        ("SlowDown", "pause"),
        ("SomethingNew", "SomethingNew"),
    ],
)
def test_codes(code: str, words: str) -> None:
    error = translate(PLACE, refusal(code))
    assert isinstance(error, TargetError)
    assert words in error.what
    assert error.what.startswith(PLACE.address)
    assert error.remedy
    assert "{" not in str(error)


def test_a_full_target_is_an_error_of_space() -> None:
    for code in ("QuotaExceeded", "EntityTooLarge", "XMinioStorageFull"):
        assert isinstance(translate(PLACE, refusal(code)), SpaceError)


def test_a_wrong_clock_is_told_where_it_is_what_broke_the_signature() -> None:
    hour = translate(PLACE, refusal("SignatureDoesNotMatch", timedelta(hours=1)))
    assert "clock is wrong by 60 minutes ahead" in hour.what
    day = translate(PLACE, refusal("AccessDenied", -timedelta(days=1)))
    assert "24 hours behind" in day.what
    assert "clock" not in translate(PLACE, refusal("SignatureDoesNotMatch", timedelta(minutes=5))).what
    assert "clock" not in translate(PLACE, refusal("NoSuchBucket", timedelta(hours=1))).what
    assert clock_skew({}) is None
    assert clock_skew({"date": "yesterday"}) is None


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("An error occurred (ExpiredToken) when calling the UploadPart operation: The token", "have expired"),
        ("SSL validation failed for https://x [SSL: CERTIFICATE_VERIFY_FAILED] self-signed", "certificate"),
        ("SSL validation failed for https://x [SSL: WRONG_VERSION_NUMBER] wrong version number", "speak TLS"),
        ('Could not connect to the endpoint URL: "http://x/bucket"', "broke off"),
        ("Error when retrieving credentials from custom-process: the Hub is gone", "could not be renewed"),
    ],
)
def test_what_duplicity_repeats_of_them_is_understood(said: str, words: str) -> None:
    error = from_text(PLACE, f"Giving up after 5 attempts. S3UploadFailedError: {said}")
    assert error is not None
    assert words in error.what
    assert error.remedy


def test_what_says_nothing_of_the_target_is_left_to_others() -> None:
    assert from_text(PLACE, "gpg: decryption failed: No secret key") is None
    assert from_code(PLACE, "NeverHeardOf") is None


def test_only_what_may_pass_is_worth_another_try() -> None:
    passing = from_text(PLACE, "Connection refused", transient=True)
    assert isinstance(passing, TargetError)
    assert passing.transient
    for code in ("SignatureDoesNotMatch", "NoSuchBucket", "AccessDenied"):
        error = translate(PLACE, refusal(code), transient=True)
        assert isinstance(error, TargetError)
        assert not error.transient


def test_other_errors_pass_as_they_are() -> None:
    with pytest.raises(OSError, match="disk"), told(PLACE):
        raise OSError("the disk of the source")
    with pytest.raises(TargetError, match="have expired"), told(PLACE):
        raise refusal("ExpiredToken")
