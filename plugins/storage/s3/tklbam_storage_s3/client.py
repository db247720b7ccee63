"""The connection to a service: one boto3 client, with patience, checksums and certificates as they must be."""

from __future__ import annotations

import base64
import hashlib
import os
from typing import Any

from tklbam_core.api import TargetError

from .address import DEFAULT_REGION, Place
from .credentials import CredentialSource
from .settings import Addressing, Checksums, Settings

CONNECT_TIMEOUT = 15
"""Seconds in which a server must be there, at most."""


def addressing(place: Place, settings: Settings) -> Addressing | None:
    """Services of one's own seldom have names for every bucket; None: Amazon's, boto3 knows best."""
    return settings.addressing or ("path" if place.endpoint else None)


def checksums(place: Place, settings: Settings) -> Checksums:
    """boto3's new checksums are refused by old servers; Amazon wants them, and so do buckets with Object Lock."""
    return settings.checksums or ("required" if place.endpoint and not settings.append_only else "always")


def new_session(place: Place, settings: Settings) -> Any:
    """A botocore session of the profile asked for. Raises TargetError where there is no such profile."""
    import botocore.session
    from botocore.exceptions import ProfileNotFound

    session = botocore.session.Session(profile=settings.profile)
    try:
        session.get_scoped_config()
    except ProfileNotFound as error:
        raise TargetError(
            f"{place.address}: there is no profile {settings.profile or session.profile} in ~/.aws",
            "Check storage-option s3-profile, or AWS_PROFILE in the environment.",
        ) from error
    return session


def new_client(place: Place, settings: Settings, source: CredentialSource, session: Any, attempts: int) -> Any:
    """An S3 client that tries every request `attempts` times, waiting longer and longer, with jitter, in between."""
    from botocore.config import Config

    if settings.ca_file is not None and not os.access(settings.ca_file, os.R_OK):
        raise TargetError(
            f"{place.address}: the certificates in {settings.ca_file} can't be read", "Check storage-option s3-ca-file."
        )
    path = addressing(place, settings)
    choices: dict[str, Any] = {
        "connect_timeout": min(CONNECT_TIMEOUT, settings.timeout),
        "read_timeout": settings.timeout,
        "retries": {"mode": "standard", "total_max_attempts": attempts},
        "tcp_keepalive": True,
        "s3": {"addressing_style": path} if path else None,
    }
    wanted = "when_required" if checksums(place, settings) == "required" else "when_supported"
    for option in ("request_checksum_calculation", "response_checksum_validation"):
        if option in Config.OPTION_DEFAULTS:  # boto3 before 1.36 calculates none unless it must
            choices[option] = wanted
    source.provide(session)
    client = session.create_client(
        "s3",
        region_name=place.region or session.get_config_variable("region") or DEFAULT_REGION,
        endpoint_url=place.endpoint,
        verify=str(settings.ca_file) if settings.ca_file else None,
        config=Config(**choices),
    )
    client.meta.events.register("before-sign.s3.DeleteObjects", _add_md5)
    return client


def _add_md5(request: Any, **_: Any) -> None:
    """Old servers know no other checksum, and delete nothing without one."""
    body = request.data if isinstance(request.data, bytes) else str(request.data or "").encode()
    if "Content-MD5" not in request.headers:
        digest = hashlib.md5(body, usedforsecurity=False).digest()
        request.headers["Content-MD5"] = base64.b64encode(digest).decode()
