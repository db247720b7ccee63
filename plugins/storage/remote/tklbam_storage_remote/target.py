"""A folder on a server as a target."""

from __future__ import annotations

import contextlib
import os
import random
import re
import secrets
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import BinaryIO, TypeVar

from tklbam_core.api import EngineAddress, SpaceError, StoredFile, Target, TargetError, TklbamError

from .bridge.faults import Entry, Fault, Store
from .kinds.base import Family
from .troubles import AWAY, FULL, KEY, LOGIN, REFUSED, TLS, WORTH_ANOTHER_TRY, Trouble, explain, judge

STRAY = ".tklbam-"
"""How the names of files begin that are being written or tried out."""
OLD = 24 * 3600
"""Seconds after which such a file belongs to nobody any more."""
PAUSES = (1.0, 2.0, 4.0)
"""Seconds before further attempts, about: each is drawn between half of it and all of it. A server that is gone for
longer is told of: whoever waits for that is duplicity, and the next backup."""

LITTLE = 2 << 20
"""Bytes below which a file system counts as full when a server gives no reason."""
CLEAR = frozenset({FULL, LOGIN, KEY, TLS, REFUSED, AWAY})
"""What duplicity's words can be trusted to say of a target."""
_UNCLEAR = re.compile(r"\bFailure\b|size mismatch in put|max-retries exceeded")
"""All that sftp servers, and lftp, have to say of a full disk."""

Answer = TypeVar("Answer")


class Connection:
    """A store that is opened when it is needed, and anew when the connection was lost."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self._store: Store | None = None

    def ask(self, do: Callable[[Store], Answer]) -> Answer:
        """Raises Trouble; what a network does at times is tried again before."""
        for pause in (*PAUSES[: self._family.access.retries], None):
            try:
                if self._store is None:
                    self._store = self._family.store()
                return do(self._store)
            except Fault as fault:
                trouble = judge(fault.text, fault.kind)
            except (TklbamError, MemoryError):
                raise
            except Exception as error:  # noqa: BLE001 - a library may raise anything, and all of it is told
                trouble = judge(str(error) or type(error).__name__)
            if trouble.kind not in WORTH_ANOTHER_TRY:
                break
            self.close()
            if pause is None:
                break
            time.sleep(pause * random.uniform(0.5, 1))
        raise trouble

    def close(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            # A connection that is already lost can't be closed well.
            with contextlib.suppress(Fault, OSError, TklbamError):
                store.close()


class RemoteTarget(Target):
    """The files of a folder. Between two requests a connection may stay open; it is closed before duplicity runs, since
    some servers allow one at a time."""

    def __init__(self, family: Family) -> None:
        self.address = family.address.shown
        self._family = family
        self._connection = Connection(family)
        self._close = weakref.finalize(self, self._connection.close)

    def engine(self) -> EngineAddress:
        self._connection.close()
        return self._family.engine()

    def _ask(self, do: Callable[[Store], Answer]) -> Answer:
        try:
            return self._connection.ask(do)
        except Trouble as trouble:
            raise explain(trouble, self._family.address) from trouble

    def _list(self) -> list[Entry] | None:
        """None where the folder is not there."""
        try:
            return self._connection.ask(lambda store: store.entries())
        except Trouble as trouble:
            if trouble.kind == "missing":
                return None
            raise explain(trouble, self._family.address) from trouble

    def check(self, *, write: bool) -> None:
        found = self._list()
        if found is None and not write:
            raise TargetError(f"{self.address}: there is no such folder", "Check the address.")
        if not write:
            return
        if found is None:
            self._ask(lambda store: store.make())
            found = self._list() or []
        old = [
            entry.name
            for entry in found
            if entry.name.startswith(STRAY) and entry.modified and time.time() - entry.modified > OLD
        ]
        self._try_out(b"This file may be deleted.\n")
        if old:
            self._ask(lambda store: store.delete(old))

    def files(self) -> Iterator[StoredFile]:
        for entry in self._list() or []:
            if not entry.name.startswith(STRAY):
                modified = datetime.fromtimestamp(entry.modified, UTC) if entry.modified is not None else None
                yield StoredFile(name=entry.name, size=entry.size, modified=modified)

    def delete(self, names: Iterable[str]) -> None:
        wanted = [_judged(name) for name in names]
        if wanted and self._list() is not None:
            self._ask(lambda store: store.delete(wanted))

    def read(self, name: str) -> BinaryIO:
        """Also raises TargetError where there is no such file. The file is fetched whole first."""
        _judged(name)
        with tempfile.TemporaryDirectory(prefix="tklbam-remote-") as place:
            path = os.path.join(place, "file")
            self._ask(lambda store: store.get(name, path))
            return open(path, "rb")  # it stays readable without a name

    def write(self, name: str, content: BinaryIO) -> None:
        """Also raises SpaceError."""
        _judged(name)
        with tempfile.TemporaryDirectory(prefix="tklbam-remote-") as place:
            path = os.path.join(place, "file")
            with open(path, "wb") as out:
                shutil.copyfileobj(content, out, 1 << 20)
            self._ask(lambda store: store.put(name, path))

    def cautions(self) -> Sequence[str]:
        if self._family.access.bandwidth and not self._family.limits_bandwidth:
            return (f"{self.address}: there is no bandwidth-limit with {self._family.address.scheme}:// addresses",)
        return ()

    def explain(self, said: str) -> TklbamError | None:
        trouble = judge(said)
        if _UNCLEAR.search(said) and trouble.kind not in (FULL, REFUSED) and self._is_full():
            trouble = Trouble(FULL, "there is no space left")
        return explain(trouble, self._family.address) if trouble.kind in CLEAR else None

    def _is_full(self) -> bool:
        """By what the server says is free, else by an attempt."""
        free = self.free_bytes()
        if free is not None:
            return free < LITTLE
        try:
            self._try_out(os.urandom(LITTLE))
        except TklbamError as error:
            return isinstance(error, SpaceError)
        return False

    def _try_out(self, content: bytes) -> None:
        """Stores a file that nobody needs and deletes it."""
        with tempfile.NamedTemporaryFile(prefix="tklbam-remote-") as trial:
            trial.write(content)
            trial.flush()
            name = f"{STRAY}{secrets.token_hex(6)}"
            try:
                self._ask(lambda store: store.put(name, trial.name))
            finally:
                # What became of it is told by the attempt itself.
                with contextlib.suppress(Trouble):
                    self._connection.ask(lambda store: store.delete([name, f"{STRAY}{name}"]))

    def free_bytes(self) -> int | None:
        try:
            return self._connection.ask(lambda store: store.free())
        except Trouble:
            return None

    def clock(self) -> datetime | None:
        seconds = self._ask(lambda store: store.clock())
        return datetime.fromtimestamp(seconds, UTC) if seconds is not None else None


def _judged(name: str) -> str:
    if not name or set(name) & set("/\0\n\r") or name in (".", ".."):
        raise TargetError(f"{name!r} is not a name a file on a target can have", "")
    return name
