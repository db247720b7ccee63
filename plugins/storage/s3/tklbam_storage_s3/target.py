"""A prefix of a bucket as a target."""

from __future__ import annotations

import io
import itertools
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from tklbam_core.api import EngineAddress, StoredFile, Target, TargetError, TklbamError

from .address import DEFAULT_REGION, Place
from .check import MISSING, OURS, check, time_of
from .client import new_client, new_manager, new_session
from .credentials import CredentialSource, gather
from .engine import engine_address
from .failures import code_of, from_text, told
from .settings import Settings
from .stream import ObjectReader, OneWay, Pace

if TYPE_CHECKING:
    from .agent import Agent

BATCH = 1000
"""Objects that one call may delete."""
PARTS_AT_ONCE = 8
"""Parts of large files that are on their way, and in memory, at the same time: of all writes together."""
PROOF_LASTS = 60.0
"""Seconds for which a check that succeeded need not be made again."""
BEYOND = frozenset({"InvalidRange", "416"})
NO_BULK = frozenset({"NotImplemented", "MethodNotAllowed", "MalformedXML", "405", "501", "MissingContentMD5"})


@dataclass(frozen=True, slots=True)
class Proven:
    """When a check last succeeded (monotonic seconds), and whether it wrote."""

    when: float = -math.inf
    write: bool = False

    def holds(self, write: bool) -> bool:
        return time.monotonic() - self.when < PROOF_LASTS and (self.write or not write)


class S3Target(Target):
    """The objects below `place`'s prefix whose names have no further slash. Nothing is asked before it is needed.

    Several threads may list, read, write and delete at once.
    """

    parallel_writes = 16

    def __init__(
        self,
        place: Place,
        settings: Settings,
        credentials: Mapping[str, str],
        renew: Callable[[], Mapping[str, str]] | None,
        environment: Mapping[str, str],
    ) -> None:
        self.address = place.address
        self.keeps_everything = settings.append_only
        self._place = place
        self._settings = settings
        self._environment = environment
        given = gather(credentials, place.access_key, place.secret_key)
        self._source = CredentialSource(place.address, given, renew, lambda: self._session)
        self._cautions: list[str] = []
        self._proven = Proven()
        self._pace = Pace(settings.bandwidth)
        self._checking = False
        self._making = threading.RLock()
        self._made: dict[str, Any] = {}

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        """What `make` makes, which is made once, whichever thread asks first."""
        with self._making:
            if name not in self._made:
                self._made[name] = make()
            return self._made[name]

    @property
    def _session(self) -> Any:
        return self._once("session", lambda: new_session(self._place, self._settings))

    @property
    def _client(self) -> Any:
        def connect() -> Any:
            return new_client(self._place, self._settings, self._source, self._session, lambda: self._checking)

        return self._once("client", connect)

    @property
    def _manager(self) -> Any:
        return self._once("manager", lambda: new_manager(self._client, self._settings, PARTS_AT_ONCE))

    @property
    def _agent(self) -> Agent:
        from .agent import Agent

        agent: Agent = self._once("agent", lambda: Agent(self._source.current))
        return agent

    # --- the engine --------------------------------------------------------------------------------------------------

    def engine(self) -> EngineAddress:
        """Credentials that expire are not handed over: duplicity asks for them, as often as it needs."""
        with told(self._place):
            refreshable = self._source.refreshable
            return engine_address(
                self._place,
                self._settings,
                endpoint=self._place.endpoint or self._configured_endpoint(),
                region=self._place.region or self._session.get_config_variable("region") or DEFAULT_REGION,
                keys=None if refreshable else self._source.current(),
                process=self._agent.command if refreshable else None,
                environment=self._environment,
            )

    def _configured_endpoint(self) -> str | None:
        """What ~/.aws/config may say where nothing else does."""
        found = str(self._client.meta.endpoint_url)
        return None if ".amazonaws.com" in found else found

    def explain(self, said: str) -> TklbamError | None:
        return from_text(self._place, said)

    # --- checking ----------------------------------------------------------------------------------------------------

    def check(self, *, write: bool) -> None:
        """Raises TargetError, SpaceError: no such bucket (without `write`), wrong keys, no rights, a wrong clock.

        What was proven a moment ago is not proven again: a backup checks before it scans and before it stores.
        """
        if self._proven.holds(write):
            return
        self._checking = True  # so that requests are not repeated for long: a check is, as a whole
        try:
            with told(self._place, transient=True):
                self._cautions = check(self._client, self._place, self._settings, write=write)
        finally:
            self._checking = False
        self._proven = Proven(time.monotonic(), write)

    def cautions(self) -> Sequence[str]:
        return tuple(self._cautions)

    def clock(self) -> datetime | None:
        with told(self._place):
            return time_of(self._client, self._place)

    # --- files -------------------------------------------------------------------------------------------------------

    def files(self) -> Iterator[StoredFile]:
        from botocore.exceptions import ClientError

        prefix = self._place.prefix
        with told(self._place):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._place.bucket, Prefix=prefix, Delimiter="/"
            )
            try:
                for each in (each for page in pages for each in page.get("Contents", [])):
                    name = each["Key"].removeprefix(prefix)
                    if name and not name.startswith(OURS):
                        modified = each["LastModified"].astimezone(UTC)
                        yield StoredFile(name=name, size=int(each["Size"]), modified=modified)
            except ClientError as error:
                if code_of(error) not in MISSING:
                    raise

    def delete(self, names: Iterable[str]) -> None:
        """The first goes alone and before the rest, a thousand a call: it may be what makes sense of the others."""
        if self.keeps_everything:
            raise TargetError(
                f"{self.address}: nothing is deleted on an append-only target",
                "Prune it from a place that has the rights to (docs/s3.md).",
            )
        keys = (self._key(name) for name in names)
        with told(self._place):
            for first in itertools.islice(keys, 1):
                self._client.delete_object(Bucket=self._place.bucket, Key=first)
            while batch := list(itertools.islice(keys, BATCH)):
                self._delete_batch(batch)

    def _delete_batch(self, keys: Sequence[str]) -> None:
        from botocore.exceptions import ClientError

        wanted = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
        try:
            failed = self._client.delete_objects(Bucket=self._place.bucket, Delete=wanted).get("Errors", [])
        except ClientError as error:
            if code_of(error) not in NO_BULK:
                raise
            failed = [{"Key": key, "Code": "NotImplemented"} for key in keys]
        # One by one the service also says in its own words why it will not.
        for each in failed:
            if each.get("Code") not in ("NoSuchKey", "404"):
                self._client.delete_object(Bucket=self._place.bucket, Key=each["Key"])

    def read(self, name: str) -> BinaryIO:
        return self.read_from(name, 0)

    def read_from(self, name: str, offset: int) -> BinaryIO:
        from botocore.exceptions import ClientError

        key = self._key(name)

        def get(offset: int, etag: str | None) -> dict[str, Any]:
            more = {"Range": f"bytes={offset}-"} if offset else {}
            same = {"IfMatch": etag} if offset and etag else {}
            answer: dict[str, Any] = self._client.get_object(Bucket=self._place.bucket, Key=key, **more, **same)
            return answer

        with told(self._place):
            try:
                raw = _Told(self._place, get, self._settings.attempts, offset, self._pace)
            except ClientError as error:
                # So a service answers where the file ends before, or right there.
                if code_of(error) not in BEYOND or not offset:
                    raise
                return io.BytesIO()
        return cast(BinaryIO, io.BufferedReader(raw, 1 << 20))

    def write(self, name: str, content: BinaryIO) -> None:
        """Also raises SpaceError. A file of one part or less goes up with a single request; of a larger one, several
        parts at a time, and those of one that fails are removed.

        What is sent is held in memory, part by part, so that it can be sent again: `content` is read once. An error is
        transient where the connection or the service failed; somebody else may then have more patience.
        """
        key, size = self._key(name), self._settings.part_size << 20
        arguments = self._settings.upload_arguments(name)
        stream = OneWay(content)
        begin = stream.read(size)
        with told(self._place, transient=True):
            if len(begin) < size and not self._settings.bandwidth:
                self._client.put_object(Bucket=self._place.bucket, Key=key, Body=begin, **arguments)
            else:
                stream.unread(begin)
                del begin
                self._manager.upload(stream, self._place.bucket, key, extra_args=arguments).result()

    def _key(self, name: str) -> str:
        if not name or "/" in name or "\0" in name or name in (".", ".."):
            raise TargetError(f"{name!r} is not a name a file on a target can have", "")
        return self._place.prefix + name


class _Told(ObjectReader):
    """A reader whose errors are ours."""

    def __init__(
        self, place: Place, get: Callable[[int, str | None], dict[str, Any]], attempts: int, offset: int, pace: Pace
    ) -> None:
        self._place = place
        self._pace = pace
        super().__init__(get, attempts, offset)

    def _some(self, most: int) -> bytes:
        with told(self._place):
            data = super()._some(min(most, self._pace.most))
        self._pace.take(len(data))
        return data
