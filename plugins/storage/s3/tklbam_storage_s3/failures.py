"""From what a service, boto3 or the network said to the error a person can act on."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from tklbam_core.api import SpaceError, TargetError, TklbamError

from .address import Place
from .credentials import PROVIDE

SKEW_REFUSED = 900
"""Seconds by which a clock may be wrong: beyond, signatures are refused."""
SKEW_WORTH_TELLING = 300

_KEYS = "Check the access key and its secret: where they are kept, and that the service still has them."
_REGION = (
    "Set storage-option s3-region to the bucket's region, or begin the address with s3://s3.REGION.amazonaws.com/."
)
_EXPIRED = "Fetch fresh credentials; those of a Hub or a role are renewed by themselves when the next run begins."
_RIGHTS = "Let these credentials list the bucket and read, write and delete below {prefix} (docs/s3.md has the policy)."
_LATER = "It is overloaded or broken; the next run tries again. Raise network-retries if it happens often."
_REACH = "Check this system's network."
_ANSWER = "Check the network, proxies and firewalls in between."
_BROKEN = "Check the network; the next run tries again."
_RESOLVE = "Check the host in the address, and this system's DNS."
_REFUSED = "Check host and port, and that the service is running."
_OLD = "If it is an old server, set storage-option s3-checksums=required; if it is there, s3-checksums=always."

_CODES: Mapping[str, tuple[str, str]] = {
    "InvalidAccessKeyId": ("the service does not know the access key", _KEYS),
    "SignatureDoesNotMatch": ("the secret key does not fit the access key, or the service does not know it", _KEYS),
    "ExpiredToken": ("the credentials have expired", _EXPIRED),
    "ExpiredTokenException": ("the credentials have expired", _EXPIRED),
    "TokenRefreshRequired": ("the credentials have expired", _EXPIRED),
    "RequestExpired": ("the credentials have expired", _EXPIRED),
    "InvalidToken": ("the session token is not one of the service's", _EXPIRED),
    "NoSuchBucket": ("there is no bucket {bucket}", "Check the address; a backup makes the bucket where it may."),
    "AccessDenied": ("access was denied", _RIGHTS),
    "AllAccessDisabled": ("access was denied", _RIGHTS),
    "403": ("access was denied", _RIGHTS),
    "Forbidden": ("access was denied", _RIGHTS),
    "PermanentRedirect": ("the bucket lies in another region", _REGION),
    "301": ("the bucket lies in another region", _REGION),
    "AuthorizationHeaderMalformed": ("the bucket lies in another region", _REGION),
    "IllegalLocationConstraintException": ("the bucket would have to be made in another region", _REGION),
    "InvalidLocationConstraint": ("the service knows no such region", _REGION),
    "BucketAlreadyExists": ("the bucket {bucket} belongs to somebody else", "Choose another name for the bucket."),
    "InvalidBucketName": ("the service allows no bucket called {bucket}", "Choose another name for the bucket."),
    "TooManyBuckets": ("the account may have no more buckets", "Use a prefix in a bucket that is there."),
    "InvalidObjectState": (
        "files lie in an archive class and can't be read before they are woken up",
        "Restore them to the bucket with the service's own tools (it takes hours), then try again.",
    ),
    "InvalidStorageClass": ("the service has no such storage class", "Check storage-option s3-storage-class."),
    "BadDigest": ("the service refused a checksum", _OLD),
    "InvalidDigest": ("the service refused a checksum", _OLD),
    "XAmzContentSHA256Mismatch": ("the service refused a checksum", _OLD),
    "MissingContentMD5": ("the service wants a checksum", _OLD),
    "NotImplemented": ("the service does not know what was asked of it", _OLD),
    "SlowDown": ("the service asks for a pause", _LATER),
    "ServiceUnavailable": ("the service is unavailable", _LATER),
    "InternalError": ("the service failed", _LATER),
    "500": ("the service failed", _LATER),
    "502": ("the service is unavailable", _LATER),
    "503": ("the service is unavailable", _LATER),
    "504": ("the service is unavailable", _LATER),
    "400": ("the request was refused, as with expired credentials or another region", f"{_EXPIRED} {_REGION}"),
    "NoSuchKey": ("a file is not there", "Another program or a rule of the bucket may have removed it."),
    "404": ("there is no such file or bucket", "Check the address."),
}
_FULL = frozenset(
    (
        "QuotaExceeded",
        "EntityTooLarge",
        "InsufficientCapacity",
        "InsufficientStorage",
        "XMinioStorageFull",
        "413",
        "507",
    )
)
_PASSING = frozenset({_LATER, _REFUSED, _REACH, _ANSWER, _BROKEN, _RESOLVE})
"""Remedies of what may be over in a moment."""
_SKEWED = frozenset({"RequestTimeTooSkewed"})
_SIGNATURE = frozenset({"SignatureDoesNotMatch", "AccessDenied", "403", "Forbidden", "InvalidAccessKeyId"})

_SAID: tuple[tuple[str, str, str], ...] = (
    (
        r"NO_CERTIFICATE_OR_CRL_FOUND|\[X509\]|PEM lib|Invalid CA bundle",
        "the file of certificates holds none",
        "Check storage-option s3-ca-file.",
    ),
    (
        r"WRONG_VERSION_NUMBER|record layer failure|unknown protocol|EOF occurred in violation of protocol",
        "it does not speak TLS",
        "If it speaks plain HTTP, set storage-option s3-tls=no.",
    ),
    (
        r"certificate verify failed|CERTIFICATE_VERIFY_FAILED|SSL validation failed|hostname .* doesn't match",
        "its certificate is not to be trusted",
        "Name the authority that signed it in storage-option s3-ca-file, or check the host.",
    ),
    (
        r"Failed to resolve|Name or service not known|name resolution|nodename nor servname|No address associated",
        "its name can't be resolved",
        _RESOLVE,
    ),
    (
        r"Connection refused",
        "nobody answers at that port",
        _REFUSED,
    ),
    (
        r"Network is unreachable|No route to host",
        "it can't be reached",
        _REACH,
    ),
    (
        r"timed? ?out",
        "it does not answer in time",
        _ANSWER,
    ),
    (
        r"Could not connect to the endpoint|Connection was closed|Connection reset|Connection aborted"
        r"|IncompleteRead|Connection broken|Failed to connect to proxy",
        "the connection broke off",
        _BROKEN,
    ),
    (
        r"credentials could not be asked for|credentials .*have expired|refreshed credentials are still expired"
        r"|retrieving credentials",
        "the credentials have expired and could not be renewed",
        "Check the Hub or the service that hands them out.",
    ),
    (r"Unable to locate credentials|Partial credentials", "there are no credentials", PROVIDE),
)
_CODE = r"An error occurred \(([\w.]+)\) when calling the (\w+) operation"


class _Words:
    """The names that a text may have in braces."""

    def __init__(self, place: Place, transient: bool = False) -> None:
        self._place = place
        self._transient = transient

    def error(self, what: str, remedy: str, said: str = "") -> TargetError:
        place = self._place
        where = place.endpoint or "Amazon S3"
        names = {"bucket": place.bucket, "prefix": place.prefix or "it"}
        detail = f" ({said})" if said else ""
        passing = self._transient and remedy in _PASSING
        return TargetError(
            f"{place.address}: {where}: {what.format(**names)}{detail}", remedy.format(**names), transient=passing
        )


def from_code(
    place: Place, code: str, said: str = "", skew: float | None = None, *, transient: bool = False
) -> TklbamError | None:
    """The error for a service's code; None where it is not a known one. `skew` is seconds, where known."""
    words = _Words(place, transient)
    if code in _SKEWED or (code in _SIGNATURE and skew is not None and abs(skew) > SKEW_REFUSED):
        by = f" by {_duration(skew)}" if skew else ""
        return words.error(f"this system's clock is wrong{by}", "Set the clock, and keep it right with NTP.")
    if code in _FULL:
        return SpaceError(
            f"{place.address}: the target is full, or its quota is used up{f' ({said})' if said else ''}",
            "Delete what is not needed there, keep fewer chains (keep-full), or have the quota raised.",
        )
    if code.startswith("KMS."):
        return words.error(f"the encryption key can't be used ({code})", "Check storage-option s3-kms-key-id.", said)
    found = _CODES.get(code)
    return words.error(*found, said) if found else None


def from_text(place: Place, text: str, *, transient: bool = False) -> TklbamError | None:
    """The error behind what duplicity or boto3 said in words; None where nothing in it is known."""
    for match in reversed(list(re.finditer(_CODE, text))):
        found = from_code(place, match[1], match[2], transient=transient)
        if found is not None:
            return found
    words = _Words(place, transient)
    return next((words.error(what, remedy) for pattern, what, remedy in _SAID if re.search(pattern, text, re.I)), None)


def clock_skew(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds by which this system's clock is ahead of the service's; None where it did not say its time."""
    try:
        theirs = parsedate_to_datetime(headers["date"])
    except (KeyError, ValueError):
        return None
    if theirs.tzinfo is None:
        theirs = theirs.replace(tzinfo=UTC)
    return ((now or datetime.now(UTC)) - theirs).total_seconds()


def code_of(error: BaseException) -> str:
    """A service's code for what went wrong ("NoSuchBucket", or the status: "404"); empty for other errors."""
    response: Any = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def translate(place: Place, error: Exception, *, transient: bool = False) -> TklbamError:
    """The error to raise in place of one of boto3's. `transient`: nobody has tried again yet."""
    if isinstance(error, TklbamError):
        return error
    code = code_of(error)
    if code:
        response: Any = getattr(error, "response", {})
        skew = clock_skew(response.get("ResponseMetadata", {}).get("HTTPHeaders", {}))
        said = f"{response.get('Error', {}).get('Message') or ''} {code}".strip()
        found = from_code(place, code, said, skew, transient=transient)
        if found is not None:
            return found
    chain = [error, error.__cause__, error.__context__, getattr(error, "kwargs", {}).get("error")]
    text = " ".join(str(each) for each in chain if each is not None)
    known = from_text(place, text, transient=transient)
    return known or _Words(place).error("it can't be used", "Check the address and the service.", str(error))


@contextlib.contextmanager
def told(place: Place, *, transient: bool = False) -> Iterator[None]:
    """Turns boto3's errors into ours; anything else, such as an error of the file that is sent, passes as it is.

    Errors are `transient` where asked for and where it makes sense: boto3 itself has tried again before.
    """
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

    try:
        yield
    except (BotoCoreError, ClientError, HTTPClientError) as error:
        raise translate(place, error, transient=transient) from error
    except RuntimeError as error:
        # So botocore says that fresh credentials have expired as well.
        if "credentials" not in str(error):
            raise
        raise translate(place, error, transient=transient) from error


def _duration(seconds: float) -> str:
    ahead = "ahead" if seconds > 0 else "behind"
    minutes = round(abs(seconds) / 60)
    return f"{minutes} minutes {ahead}" if minutes < 120 else f"{minutes // 60} hours {ahead}"
