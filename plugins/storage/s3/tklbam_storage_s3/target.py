"""A prefix of a bucket as a target."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, BinaryIO, cast

from tklbam_core.api import EngineAddress, StoredFile, Target, TargetError, TklbamError

from . import guard
from .address import DEFAULT_REGION, Place
from .agent import Agent
from .client import new_client, new_session
from .credentials import CredentialSource, gather
from .engine import engine_address
from .failures import SKEW_WORTH_TELLING, clock_skew, code_of, from_text, told
from .settings import ARCHIVES, Settings
from .stream import ObjectReader, OneWay

OURS = ".tklbam-"
"""How the names of objects begin that are no files of sessions."""
TRIAL = f"{OURS}check"
BATCH = 1000
"""Objects that one call may delete."""
CHECK_ATTEMPTS = 2
"""A check is repeated as a whole by who has the patience."""
ABANDONED = timedelta(days=1)
"""Age at which an unfinished multipart upload belongs to nobody any more."""
BEYOND = frozenset({"InvalidRange", "416"})
MISSING = frozenset({"NoSuchBucket", "404"})
NO_BULK = frozenset({"NotImplemented", "MethodNotAllowed", "MalformedXML", "405", "501", "MissingContentMD5"})


class S3Target(Target):
    """The objects below `place`'s prefix whose names have no further slash. Nothing is asked before it is needed."""

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

    @cached_property
    def _session(self) -> Any:
        return new_session(self._place, self._settings)

    @cached_property
    def _client(self) -> Any:
        return self._connect(self._settings.attempts)

    def _connect(self, attempts: int) -> Any:
        return new_client(self._place, self._settings, self._source, self._session, attempts)

    @cached_property
    def _agent(self) -> Agent:
        return Agent(self._source.current)

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

        In append-only mode the trial object stays, for nothing may be deleted there; it is hidden from `files`.
        """
        self._cautions = []
        with told(self._place, transient=True):
            client = self._connect(CHECK_ATTEMPTS)
            answer = self._look(client, write=write)
            self._ask_for_bucket(client)
            if write:
                self._try_out(client)
                self._end_abandoned_uploads(client)
        skew = clock_skew(answer["ResponseMetadata"]["HTTPHeaders"])
        if skew is not None and abs(skew) > SKEW_WORTH_TELLING:
            self._cautions.append(f"{self.address}: this system's clock is off by {abs(skew) / 60:.0f} minutes")

    def cautions(self) -> Sequence[str]:
        return tuple(self._cautions)

    def _look(self, client: Any, *, write: bool) -> Any:
        from botocore.exceptions import ClientError

        wanted = {"Bucket": self._place.bucket, "Prefix": self._place.prefix, "MaxKeys": 1}
        try:
            return client.list_objects_v2(**wanted)
        except ClientError as error:
            if code_of(error) not in MISSING or not write:
                raise
        self._make_bucket(client)
        return client.list_objects_v2(**wanted)

    def _ask_for_bucket(self, client: Any) -> None:
        """As duplicity does, which a policy may forbid where a listing below a prefix is allowed."""
        from botocore.exceptions import ClientError

        try:
            client.head_bucket(Bucket=self._place.bucket)
        except ClientError as error:
            if code_of(error) != "403":
                raise
            raise TargetError(
                f"{self.address}: the bucket itself may not be asked for, and duplicity does so",
                "Allow these credentials s3:ListBucket without a condition on s3:prefix.",
            ) from error

    def _make_bucket(self, client: Any) -> None:
        from botocore.exceptions import ClientError

        if self.keeps_everything:
            raise TargetError(
                f"{self.address}: there is no bucket {self._place.bucket}",
                "An append-only bucket is made by whoever may delete in it, with versioning or Object Lock.",
            )
        region = client.meta.region_name
        # Services of one's own know no places by Amazon's names.
        elsewhere = self._place.endpoint is None and region != DEFAULT_REGION
        words = {"CreateBucketConfiguration": {"LocationConstraint": region}} if elsewhere else {}
        try:
            client.create_bucket(Bucket=self._place.bucket, **words)
        except ClientError as error:
            if code_of(error) == "AccessDenied":
                raise TargetError(
                    f"{self.address}: there is no bucket {self._place.bucket}, and these credentials may make none",
                    "Make the bucket, or let them (s3:CreateBucket).",
                ) from error
            if code_of(error) != "BucketAlreadyOwnedByYou":
                raise

    def _try_out(self, client: Any) -> None:
        key = self._place.prefix + TRIAL
        client.put_object(Bucket=self._place.bucket, Key=key, Body=b"", **self._upload_arguments(TRIAL))
        if self.keeps_everything:
            self._cautions += guard.inspect(client, self._place).warnings(self._place)
        else:
            client.delete_object(Bucket=self._place.bucket, Key=key)

    def _end_abandoned_uploads(self, client: Any) -> None:
        """Parts of an upload that was never finished take room, and no listing shows them."""
        from botocore.exceptions import ClientError

        try:
            pages = client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self._place.bucket, Prefix=self._place.prefix
            )
            for upload in (each for page in pages for each in page.get("Uploads", [])):
                if datetime.now(UTC) - upload["Initiated"] > ABANDONED:
                    client.abort_multipart_upload(
                        Bucket=self._place.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                    )
        except ClientError as error:
            # It only costs room: where it is not allowed, or the service has no such call, a rule of the bucket may.
            self._cautions += self._not_tidied(code_of(error))

    def _not_tidied(self, code: str) -> list[str]:
        if code in guard.REFUSED or code in ("NotImplemented", "NoSuchUpload", "404", "501"):
            return []
        return [f"{self.address}: unfinished uploads could not be cleared ({code})"]

    def clock(self) -> datetime | None:
        with told(self._place):
            headers = self._look(self._client, write=False)["ResponseMetadata"]["HTTPHeaders"]
        skew = clock_skew(headers)
        return None if skew is None else datetime.now(UTC) - timedelta(seconds=skew)

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
                raw = _Told(self._place, get, self._settings.attempts, offset)
            except ClientError as error:
                # So a service answers where the file ends before, or right there.
                if code_of(error) not in BEYOND or not offset:
                    raise
                return io.BytesIO()
        return cast(BinaryIO, io.BufferedReader(raw, 1 << 20))

    def write(self, name: str, content: BinaryIO) -> None:
        """Also raises SpaceError. Large files go up in parts, several at a time; parts of a failed one are removed."""
        from s3transfer.manager import TransferConfig, TransferManager

        size = self._settings.part_size << 20
        config = TransferConfig(
            multipart_threshold=size, multipart_chunksize=size, max_request_concurrency=4, max_in_memory_upload_chunks=4
        )
        with told(self._place), TransferManager(self._client, config) as manager:
            manager.upload(
                OneWay(content), self._place.bucket, self._key(name), extra_args=self._upload_arguments(name)
            ).result()

    def _upload_arguments(self, name: str) -> dict[str, str]:
        kind = self._settings.storage_class
        # As duplicity has it: what every run needs to read stays at hand.
        at_hand = kind in ARCHIVES and ".difftar" not in name
        stored = {"StorageClass": kind} if kind and not at_hand else {}
        return {**self._settings.upload_arguments, **stored}

    def _key(self, name: str) -> str:
        if not name or "/" in name or "\0" in name or name in (".", ".."):
            raise TargetError(f"{name!r} is not a name a file on a target can have", "")
        return self._place.prefix + name


class _Told(ObjectReader):
    """A reader whose errors are ours."""

    def __init__(
        self, place: Place, get: Callable[[int, str | None], dict[str, Any]], attempts: int, offset: int
    ) -> None:
        self._place = place
        super().__init__(get, attempts, offset)

    def _some(self, most: int) -> bytes:
        with told(self._place):
            return super()._some(most)
