"""Append-only targets: what can be proven, without risk, of a promise that the bucket and its policy must keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .address import Place
from .failures import code_of

NEVER_THERE = ".tklbam-never-there"
"""A name under which nothing is ever stored: a deletion of it shows what is allowed and deletes nothing."""
REFUSED = frozenset({"AccessDenied", "403", "Forbidden", "AllAccessDisabled", "MethodNotAllowed"})


@dataclass(frozen=True, slots=True)
class Guard:
    """What a bucket is guarded by. None where it was not to be learnt."""

    versioned: bool | None
    locked: bool | None
    """Whether Object Lock retains every new object by default."""
    deletes_versions: bool
    deletes: bool

    def warnings(self, place: Place) -> list[str]:
        """A line for every way in which sessions could still be destroyed with these credentials."""
        said = []
        if not self.versioned and not self.locked:
            state = "is not known to keep" if self.versioned is None else "does not keep"
            said.append(
                f"{place.address}: the bucket {state} old versions, so whoever gets hold of this system can overwrite "
                "its sessions: turn on versioning or Object Lock"
            )
        if self.deletes_versions and not self.locked:
            said.append(
                f"{place.address}: these credentials may delete old versions: take s3:DeleteObjectVersion from them"
            )
        elif self.deletes and not self.versioned and not self.locked:
            said.append(f"{place.address}: these credentials may delete files: take s3:DeleteObject from them")
        return said


def inspect(client: Any, place: Place) -> Guard:
    """Looks at the bucket and tries two deletions of what is not there. Raises botocore's errors of the network."""
    from botocore.exceptions import ClientError

    versioned: bool | None
    locked: bool | None
    try:
        versioned = client.get_bucket_versioning(Bucket=place.bucket).get("Status") == "Enabled"
    except ClientError:
        versioned = None
    try:
        lock = client.get_object_lock_configuration(Bucket=place.bucket)["ObjectLockConfiguration"]
        locked = lock.get("ObjectLockEnabled") == "Enabled" and bool(lock.get("Rule", {}).get("DefaultRetention"))
    except ClientError as error:
        locked = None if code_of(error) in REFUSED else False
    key = place.prefix + NEVER_THERE
    # The one version called `null` of a name that has none: where this is allowed, nothing comes of it.
    deletes_versions = _allowed(client, Bucket=place.bucket, Key=key, VersionId="null")
    # A plain deletion would leave a marker in a versioned bucket, and there it destroys nothing anyway.
    deletes = False if versioned else _allowed(client, Bucket=place.bucket, Key=key)
    return Guard(versioned=versioned, locked=locked, deletes_versions=deletes_versions, deletes=deletes)


def _allowed(client: Any, **named: str) -> bool:
    from botocore.exceptions import ClientError

    try:
        client.delete_object(**named)
    except ClientError as error:
        return code_of(error) not in REFUSED
    return True
