"""The program that restores, behind walls: an order on standard input, files into the destination, records to output.

The order is one JSON object in a line, see `Order`. Records are JSON objects, a line each: `{"at": BYTES}` of all
volumes, `{"unread": [PATH, WHY]}`, and at the end `{"done": PATHS}` or `{"failed": KIND, "name": VOLUME, "what": …}`.
Volumes that are not there yet are asked for by `{"want": PATH}`, one at a time; an empty line is the answer.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import BinaryIO, NoReturn

from ..parts import Parts
from .decryption import Stream, UnsupportedMessageError, WrongPassphraseError, plain_text
from .entries import DamagedVolumeError, Volume, read_sessions
from .placing import NoRoomError, Placer, UnsafeNameError
from .tarheader import DIRECTORY

AHEAD = 1 << 23
"""Bytes of plain text that are ready before they are needed, of all sessions together."""
_LEAST, _LARGEST = 1 << 14, 1 << 18
"""Bytes of a piece of it."""
OFTEN = 0.2
_SHOWN = 4096
"""Bytes of a path that is told."""
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """`sessions` are the volumes' paths and SHA-1 ("" where not known), oldest session first; `path` is the directory
    that becomes the destination ("": all, or what lies `within` these paths), whose content takes at most `room` bytes.
    With `asking` each volume is there only once it has been asked for."""

    sessions: Sequence[Sequence[tuple[str, str]]]
    path: str
    destination: str
    scratch: str
    own: bool
    secret: str = field(repr=False)
    within: Sequence[str] | None = None
    room: int | None = None
    asking: bool = False


class Failure(Exception):
    """`kind` is one of wrong-secret, unsupported, altered, damaged, unreadable, unsafe, room,
    full, disk, missing, file."""

    def __init__(self, kind: str, what: str, name: str = "") -> None:
        super().__init__(what)
        self.kind = kind
        self.name = name


class _Voice:
    """Records for whoever started this, from any thread. The last one ends the process, whatever threads are at."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def say(self, **record: object) -> None:
        with self._lock:
            self._write(record)

    def end(self, **record: object) -> NoReturn:
        with self._lock:
            self._write(record)
            os._exit(0)

    def _write(self, record: dict[str, object]) -> None:
        data = (json.dumps(record) + "\n").encode()
        while data:
            data = data[os.write(sys.stdout.fileno(), data) :]


class _Meter:
    """Bytes read of all volumes, told now and then."""

    def __init__(self, say: Callable[..., None]) -> None:
        self._say = say
        self._lock = threading.Lock()
        self._at = 0
        self._last = 0.0

    def add(self, size: int) -> None:
        with self._lock:
            self._at += size
            if time.monotonic() - self._last >= OFTEN:
                self._last = time.monotonic()
                self._say(at=self._at)


class _Asking:
    """Asks for volumes, from any thread."""

    def __init__(self, say: Callable[..., None], answers: BinaryIO) -> None:
        self._say = say
        self._answers = answers
        self._lock = threading.Lock()

    def open(self, path: str) -> FileIO:
        with self._lock:
            self._say(want=path)
            self._answers.readline()
            return _open(path)


def _open(path: str) -> FileIO:
    return open(path, "rb", buffering=0)


class _Session:
    """The volumes of a session, opened by `opener`, decrypted ahead in a thread."""

    def __init__(
        self,
        volumes: Sequence[tuple[str, str]],
        opener: Callable[[str], FileIO],
        secret: str,
        meter: _Meter,
        room: int,
    ) -> None:
        self._volumes = volumes
        self._opener = opener
        self._secret = secret
        self._meter = meter
        self._most = min(_LARGEST, max(_LEAST, room // 4))
        self._ready: queue.Queue[bytes | BaseException | None] = queue.Queue(max(2, room // self._most))
        threading.Thread(target=self._work, daemon=True).start()

    def __iter__(self) -> Iterator[Volume]:
        for path, _ in self._volumes:
            yield Volume(os.path.basename(path), Stream(self._pieces()).read)

    def _pieces(self) -> Iterator[bytes]:
        """Of one volume; None ends it."""
        while (piece := self._ready.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece

    def _work(self) -> None:
        for path, sha1 in self._volumes:
            name = os.path.basename(path)
            end: BaseException | None = None
            try:
                for piece in self._plain(path, sha1):
                    self._ready.put(piece)
            except WrongPassphraseError as error:
                end = Failure("wrong-secret", str(error), name)
            except UnsupportedMessageError as error:
                end = Failure("unsupported", str(error), name)
            except ValueError as error:
                end = Failure("damaged", str(error), name)
            except OSError as error:
                end = Failure("unreadable", error.strerror or str(error), name)
            except BaseException as error:  # noqa: BLE001 - it is raised where it can be dealt with
                end = error
            self._ready.put(end)

    def _plain(self, path: str, sha1: str) -> Iterator[bytes]:
        with self._opener(path) as file:
            if sha1 and hashlib.file_digest(file, "sha1").hexdigest() != sha1:
                raise Failure("altered", "its hash is another one", os.path.basename(path))
            file.seek(0)

            def read(size: int) -> bytes:
                data = file.read(size)
                self._meter.add(len(data))
                return data

            yield from plain_text(read, self._secret, self._most)


def _shown(path: bytes) -> str:
    """A path for people, whose terminals it does nothing to."""
    text = path[:_SHOWN].decode("utf-8", "backslashreplace")
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def extract(order: Order, say: Callable[..., None], opener: Callable[[str], FileIO] = _open) -> int:
    """Restores; the number of paths. `say` takes records, `opener` opens volumes. Raises Failure, and what
    `read_sessions` and `Placer` do."""
    prefix = os.fsencode(order.path)
    begin = len(prefix) + 1 if prefix else 0
    meter, room = _Meter(say), AHEAD // len(order.sessions)
    sessions = [iter(_Session(volumes, opener, order.secret, meter, room)) for volumes in order.sessions]

    def unread(path: bytes, why: str) -> None:
        say(unread=[_shown(path), why])

    placer = Placer(Path(order.destination), order.own, Path(order.scratch), unread, order.room)
    count = 0
    for path, entries in read_sessions(sessions, Parts.of(order.path, order.within).hold):
        newest = entries[-1]
        if prefix and path == prefix and newest.word != b"deleted" and newest.header.kind != DIRECTORY:
            raise Failure("file", order.path)
        count += newest.word != b"deleted"
        placer.place(path[begin:], entries)
    placer.finish()
    if not count and order.within is None:
        raise Failure("missing", order.path)
    return count


def main() -> None:
    """Reads the order, restores, and says how it went."""
    order, voice = Order(**json.loads(sys.stdin.buffer.readline())), _Voice()
    opener = _Asking(voice.say, sys.stdin.buffer).open if order.asking else _open
    try:
        voice.end(done=extract(order, voice.say, opener))
    except Failure as failure:
        voice.end(failed=failure.kind, name=failure.name, what=str(failure))
    except DamagedVolumeError as error:
        voice.end(failed="damaged", name=error.name, what=str(error))
    except NoRoomError as error:
        voice.end(failed="room", name="", what=str(error))
    except UnsafeNameError as error:
        voice.end(failed="unsafe", name="", what=str(error))
    except ValueError as error:
        voice.end(failed="damaged", name="", what=str(error))
    except OSError as error:
        kind = "full" if error.errno in _DISK_FULL else "disk"
        voice.end(failed=kind, name="", what=error.strerror or str(error))
