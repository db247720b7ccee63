"""From an address, in any of the forms that were ever in use, to a service, a bucket and a prefix."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit

from tklbam_core.api import TargetError, split_password

from .settings import Settings

SCHEMES = ("s3", "s3+http", "boto3+s3")
FORMS = ("s3://bucket/prefix", "s3://host[:port]/bucket/prefix", "s3+http://bucket/prefix")
DEFAULT_REGION = "us-east-1"
AMAZON = re.compile(r"s3(?:[.-](?P<region>[a-z]{2}(?:-[a-z]+)+-\d+))?\.amazonaws\.com(?:\.cn)?(?::443)?", re.I)
BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
PORT = re.compile(r"[^:]+(?::\d{1,5})?|\[[0-9A-Fa-f:.]+\](?::\d{1,5})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A bucket and where it is. `prefix` ends in a slash or is empty; `endpoint` is a URL, None for Amazon's own.

    `region` is None where nobody said. The keys are what stood in the address before an `@`, empty where nothing did;
    `address` has no secret in it.
    """

    address: str
    bucket: str
    prefix: str
    endpoint: str | None
    region: str | None
    access_key: str = ""
    secret_key: str = field(default="", repr=False)

    @property
    def engine_url(self) -> str:
        """The form in which every duplicity with boto3 understands it, 0.8 as well as 3."""
        return f"boto3+s3://{self.bucket}/{quote(self.prefix.rstrip('/'))}".rstrip("/")


def scheme_of(address: str) -> str | None:
    """Our scheme in lower case, None for somebody else's address."""
    scheme, colon, _ = address.partition(":")
    return scheme.lower() if colon and scheme.lower() in SCHEMES else None


def parse(address: str, settings: Settings, environment: Mapping[str, str]) -> Place:
    """Raises TargetError for an address that makes no sense; its text never shows what may be a secret."""
    scheme = scheme_of(address)
    shown, secret = split_password(address)
    rest = shown.partition(":")[2]
    if scheme is None or not rest.startswith("//"):
        raise _senseless(shown, "is not an address")
    authority, *parts = rest[2:].split("/")
    user, _, first = authority.rpartition("@")
    if scheme == "s3" and ("." in first or ":" in first or first.lower() == "localhost"):
        host, names = first, parts
    else:
        host, names = None, [first, *parts]
    if host is not None and not PORT.fullmatch(host):
        raise _senseless(shown, f"names no host: {host!r}")
    names = [unquote(name, errors="surrogateescape") for name in names if name]
    if not names or not first:
        hint = f" A bucket whose name has a dot is written s3+http://{host}/prefix." if host and ":" not in host else ""
        raise _senseless(shown, "names no bucket", hint)
    bucket, *path = names
    if not BUCKET.fullmatch(bucket):
        raise _senseless(shown, f"names no bucket: {bucket!r}")
    for name in path:
        if name in (".", "..") or not name.isprintable():
            raise TargetError(f"{shown}: a prefix must be plain text, without `..`", "Choose another prefix.")
    endpoint, region = _service(host, settings, environment)
    return Place(
        address=shown,
        bucket=bucket,
        prefix="".join(f"{name}/" for name in path),
        endpoint=endpoint,
        region=settings.region or region or environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION"),
        access_key=unquote(user),
        secret_key=secret,
    )


def _service(host: str | None, settings: Settings, environment: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Endpoint and region by what the address, the options and the environment say, in this order."""
    named = settings.endpoint or environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL") or None
    if host is None:
        if named is None:
            return None, None
        host, plain = urlsplit(named).netloc, urlsplit(named).scheme == "http"
    else:
        # The address says where, and the other may still say how.
        same = named is not None and urlsplit(named).netloc.lower() == host.lower()
        plain = (same and urlsplit(named or "").scheme == "http") or host.endswith(":80")
        named = named if same else None
    amazon = AMAZON.fullmatch(host)
    if settings.tls is not None:
        plain = not settings.tls
    if amazon and not plain:
        return None, amazon["region"]
    path = urlsplit(named).path if named else ""
    return f"{'http' if plain else 'https'}://{host}{path}", amazon["region"] if amazon else None


def _senseless(shown: str, why: str, hint: str = "") -> TargetError:
    return TargetError(f"{shown} {why}", f"Write it as {', '.join(FORMS[:-1])} or {FORMS[-1]}.{hint}")
