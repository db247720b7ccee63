"""The connection to a service: one boto3 client, with patience, checksums and certificates as they must be."""

from __future__ import annotations

import base64
import contextlib
import functools
import gc
import hashlib
import io
import os
from collections.abc import Callable, Iterator
from typing import Any

from tklbam_core.api import TargetError

from .address import DEFAULT_REGION, Place
from .credentials import CredentialSource
from .settings import Addressing, Checksums, Settings

CONNECT_TIMEOUT = 15
"""Seconds in which a server must be there, at most."""
CONNECTIONS = 32
"""Kept open for later requests, at most: as many as several volumes with their parts use at once."""
HASTY_ATTEMPTS = 2
UNANNOUNCED = 1 << 20
"""Bytes that are sent without first asking whether they may come, which costs a trip to the server and back."""


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
    session.lazy_register_component("data_loader", functools.partial(_data_loader, session))
    try:
        session.get_scoped_config()
    except ProfileNotFound as error:
        raise TargetError(
            f"{place.address}: there is no profile {settings.profile or session.profile} in ~/.aws",
            "Check storage-option s3-profile, or AWS_PROFILE in the environment.",
        ) from error
    return session


@contextlib.contextmanager
def _nothing_collected() -> Iterator[None]:
    """While very many objects are made that are all kept, looking for garbage among them costs a third of the time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _data_loader(session: Any) -> Any:
    """Botocore's loader of its descriptions of services, megabytes of JSON, in a good half of the time it takes."""
    import json

    from botocore.loaders import JSONFileLoader, Loader

    class PlainLoader(JSONFileLoader):  # type: ignore[misc]
        def _load_file(self, full_path: str, open_method: Callable[..., Any]) -> Any:
            if not os.path.isfile(full_path):
                return None
            with open_method(full_path, "rb") as file:
                return json.loads(file.read())  # dictionaries keep their order, so they need not be OrderedDicts

    class HastyLoader(Loader):  # type: ignore[misc]
        def list_available_services(self, type_name: str) -> list[str]:
            """It would look into the folder of each of 400 services, once for each kind of description."""
            folders = [path for path in self.search_paths if os.path.isdir(path)]
            return sorted({name for folder in folders for name in os.listdir(folder)})

    places = session.get_config_variable("data_path")
    return HastyLoader(
        extra_search_paths=[os.path.expanduser(os.path.expandvars(place)) for place in places.split(os.pathsep)]
        if places
        else None,
        file_loader=PlainLoader(),
    )


def new_client(
    place: Place, settings: Settings, source: CredentialSource, session: Any, hasty: Callable[[], bool]
) -> Any:
    """An S3 client that tries every request as often as the settings say, waiting longer and longer, with jitter, in
    between; while `hasty` says so, twice: somebody else has the patience.

    It may be used by several threads at once.
    """
    from botocore.config import Config

    if settings.ca_file is not None and not os.access(settings.ca_file, os.R_OK):
        raise TargetError(
            f"{place.address}: the certificates in {settings.ca_file} can't be read", "Check storage-option s3-ca-file."
        )
    path = addressing(place, settings)
    choices: dict[str, Any] = {
        "connect_timeout": min(CONNECT_TIMEOUT, settings.timeout),
        "read_timeout": settings.timeout,
        "retries": {"mode": "standard", "total_max_attempts": settings.attempts},
        "max_pool_connections": CONNECTIONS,
        "tcp_keepalive": True,
        "s3": {"addressing_style": path} if path else None,
    }
    wanted = "when_required" if checksums(place, settings) == "required" else "when_supported"
    for option in ("request_checksum_calculation", "response_checksum_validation"):
        if option in Config.OPTION_DEFAULTS:  # boto3 before 1.36 calculates none unless it must
            choices[option] = wanted
    source.provide(session)
    with _nothing_collected():
        client = session.create_client(
            "s3",
            region_name=place.region or session.get_config_variable("region") or DEFAULT_REGION,
            endpoint_url=place.endpoint,
            verify=str(settings.ca_file) if settings.ca_file else None,
            config=Config(**choices),
        )
    client.meta.events.register("before-sign.s3.DeleteObjects", _add_md5)
    client.meta.events.register_last("before-call.s3", _send_at_once)
    client.meta.events.register_first("needs-retry.s3", functools.partial(_give_up_early, hasty))
    return client


def new_manager(client: Any, settings: Settings, parts: int) -> Any:
    """What uploads large files, `parts` parts of all of them at a time. It may be used by several threads at once."""
    from s3transfer.manager import TransferConfig, TransferManager

    size = settings.part_size << 20
    config = TransferConfig(
        multipart_threshold=size,
        multipart_chunksize=size,
        max_request_concurrency=parts,
        max_in_memory_upload_chunks=parts,
        max_bandwidth=settings.bandwidth or None,
    )
    return TransferManager(client, config)


def _give_up_early(
    hasty: Callable[[], bool],
    attempts: int,
    response: Any,
    caught_exception: Exception | None,
    operation: Any,
    **_: Any,
) -> None:
    """Raises what botocore would raise after the last try."""
    from botocore.exceptions import ClientError

    if attempts < HASTY_ATTEMPTS or not hasty():
        return
    if caught_exception is not None:
        raise caught_exception
    if response is not None and response[0].status_code >= 300:
        raise ClientError(response[1], operation.name)


def _send_at_once(params: dict[str, Any], **_: Any) -> None:
    body = params.get("body")
    if isinstance(body, io.BytesIO) and body.getbuffer().nbytes <= UNANNOUNCED:
        params["headers"].pop("Expect", None)


def _add_md5(request: Any, **_: Any) -> None:
    """Old servers know no other checksum, and delete nothing without one."""
    body = request.data if isinstance(request.data, bytes) else str(request.data or "").encode()
    if "Content-MD5" not in request.headers:
        digest = hashlib.md5(body, usedforsecurity=False).digest()
        request.headers["Content-MD5"] = base64.b64encode(digest).decode()
