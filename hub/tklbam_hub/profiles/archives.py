"""Profile archives: what may be uploaded, and which one is served."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import tarfile
import zlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import PurePosixPath

from django.conf import settings
from django.db import transaction
from django.db.models import Max, Q
from django.utils import timezone

from tklbam_hub.accounts.models import Account
from tklbam_hub.audit.log import Actor, record
from tklbam_hub.profiles.models import ProfileArchive

MOST_MEMBERS = 1000
# An index of a million paths compresses to a tenth and less; beyond this nobody needs a profile.
MOST_UNPACKED = 256 * 1024 * 1024
PROFILE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+~-]{0,199}")
NEEDED = frozenset(("dirindex.conf", "dirindex", "packages"))


class BadArchive(ValueError):
    """Not a profile archive; says why."""


def check(profile_id: str, content: bytes) -> list[str]:
    """Looks through an archive as a client would unpack it; returns the hooks in it that have no signature.

    Raises BadArchive for names that lead out, links, devices, bombs, and for an archive that is no profile.
    """
    if not PROFILE_ID.fullmatch(profile_id):
        raise BadArchive(f"{profile_id}: an id is letters, digits and . _ : + ~ -, at most 200 of them")
    if len(content) > settings.PROFILE_MAX_BYTES:
        raise BadArchive(f"the archive is larger than {settings.PROFILE_MAX_BYTES // 2**20} MB")
    try:
        unpacked = _Limited(fileobj=io.BytesIO(content))
        with tarfile.open(fileobj=unpacked, mode="r|") as archive:
            names = list(_safe_names(archive))
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise BadArchive(f"not a .tar.gz: {error}") from None
    missing = NEEDED - set(names)
    if missing:
        raise BadArchive(f"not a profile: {', '.join(sorted(missing))} not in it")
    hooks = [name for name in names if name.startswith("hooks.d/")]
    return sorted(name for name in hooks if not name.endswith(".sig") and f"{name}.sig" not in hooks)


class _Limited(gzip.GzipFile):
    """What is read of an unpacked archive, headers included; there is an end to it."""

    _taken = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self._taken += len(data)
        if self._taken > MOST_UNPACKED:
            raise BadArchive("the archive holds too much")
        return data


def _safe_names(archive: tarfile.TarFile) -> Iterator[str]:
    unpacked = 0
    for number, member in enumerate(archive):
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts or "\\" in member.name:
            raise BadArchive(f"{member.name!r} would be unpacked elsewhere")
        if not (member.isreg() or member.isdir()):
            raise BadArchive(f"{member.name!r} is neither a file nor a directory")
        unpacked += member.size
        if number >= MOST_MEMBERS or unpacked > MOST_UNPACKED:
            raise BadArchive("the archive holds too much")
        if member.isreg():
            yield str(path)


@transaction.atomic
def add(
    profile_id: str,
    content: bytes,
    actor: Actor,
    *,
    account: Account | None = None,
    signature: str = "",
    comment: str = "",
) -> ProfileArchive:
    """Stores a new version, which is what is served from now on. Raises BadArchive."""
    check(profile_id, content)
    same = ProfileArchive.objects.filter(account=account, profile_id=profile_id)
    newest = same.aggregate(version=Max("version"), timestamp=Max("timestamp"))
    now = timezone.now().replace(microsecond=0)
    # Two versions in one second must differ, or clients would take the second for the first.
    stamp = now if newest["timestamp"] is None else max(now, newest["timestamp"] + timedelta(seconds=1))
    made = ProfileArchive.objects.create(
        account=account,
        profile_id=profile_id,
        version=(newest["version"] or 0) + 1,
        timestamp=stamp,
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
        content=content,
        signature=signature,
        comment=comment,
    )
    record(actor, "profile.add", account=account, subject=str(made), detail=made.sha256)
    return made


@transaction.atomic
def withdraw(archive: ProfileArchive, actor: Actor) -> None:
    """The version is served no longer; the one before it is again."""
    archive.withdrawn = True
    archive.save(update_fields=["withdrawn"])
    record(actor, "profile.withdraw", account=archive.account, subject=str(archive))


def newest(account: Account, profile_id: str) -> ProfileArchive | None:
    """What the account's servers get for an id: its own newest, else everybody's. Without its content."""
    found = ProfileArchive.objects.filter(Q(account=account) | Q(account=None), profile_id=profile_id, withdrawn=False)
    # Of few rows, and NULLs are ordered differently by each database.
    rows = list(found.defer("content"))
    rows.sort(key=lambda row: (row.account_id is not None, row.version))
    return rows[-1] if rows else None
