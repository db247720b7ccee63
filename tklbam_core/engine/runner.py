"""Running duplicity once: started so that it dies with us, listened to while it works, its end understood."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from ..api.errors import CommandError, EngineError, PluginError
from ..api.models import EngineAddress
from ..api.process import start
from ..api.progress import Progress, ProgressEvent
from ..api.redact import Redactor, split_password
from ..api.storage import Target
from . import events
from .failures import MISMATCHED_HASH, Failure
from .patience import Patience
from .program import CommandLine, Program
from .walls import refused
from .workspace import Workspace

FILES = "{files}"
"""In an address's options and environment: the directory with its files."""
OFTEN = 0.2
"""Seconds between two progress events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a run needs besides its command. `archive_dir`/`name` is duplicity's cache; `volume_size` is megabytes."""

    program: Program
    target: Target
    workspace: Workspace
    archive_dir: Path
    name: str
    secret: str
    volume_size: int
    patience: Patience
    redactor: Redactor
    destination: Path | None = None
    stage: Path | None = None
    """Where the target's files lie on this machine, so that the program need not reach the target."""

    @property
    def local(self) -> bool:
        return self.stage is not None or self.target.local_path() is not None


def run_duplicity(
    job: Job, build: Callable[[CommandLine], list[str]], take: Callable[[events.Record], None]
) -> tuple[events.Account, Failure | None]:
    """Runs the command that `build` makes; `take` is told every record as it comes.

    Raises EngineError or UnsafePathError where it could not be started as it must be.
    """
    if job.stage is not None:
        address = EngineAddress(url=f"file://{quote(os.fsencode(job.stage))}")
    else:
        address = _with_files(job.target.engine(), job.workspace)
    if split_password(address.url)[1]:
        raise PluginError(
            f"the plugin for {job.target.address} would show a password to every user", "Report this to its author."
        )
    redactor = job.redactor
    redactor.add(job.secret)
    redactor.add_environment(address.environment)
    account = events.Account()
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb"):
        try:
            line = CommandLine(
                program=job.program,
                address=address,
                archive_dir=job.archive_dir,
                name=job.name,
                workspace=job.workspace,
                log_fd=writing,
                secret=job.secret,
                patience=None if job.local else job.patience,
                volume_size=job.volume_size,
            )
            argv = build(line)
            environment = {**address.environment, "PASSPHRASE": job.secret}
            with start(
                argv, env=job.workspace.environment, secrets=environment, pass_fds=(writing, job.workspace.lock)
            ) as process:
                os.close(writing)
                writing = -1
                try:
                    for record in events.records(_lines(reading, lambda: _patience(account, job.local))):
                        account.take(replace(record, message=redactor.scrub(record.message)))
                        take(record)
                except TimeoutError:
                    process.stop()
            return account, None
        except CommandError as error:
            refused(error)
            return account, Failure(
                status=error.status,
                errors=tuple(account.errors),
                stderr=error.stderr,
                temp=job.workspace.path.parent,
                cache=job.archive_dir,
                target=job.target,
                destination=job.destination,
            )
        except OSError as error:
            raise EngineError(f"duplicity can't be run: {error}", "Check the memory and process limits.") from error
        finally:
            if writing >= 0:
                os.close(writing)


def _with_files(address: EngineAddress, workspace: Workspace) -> EngineAddress:
    """The address with its files written, 0600, into a directory of the workspace, and `{files}` replaced by it."""
    place = workspace.path / "target"
    place.mkdir(mode=0o700, exist_ok=True)
    for name, content in address.files.items():
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            raise EngineError(f"{name!r} is not a name for a target's file", "Report this to the plugin's author.")
        descriptor = os.open(place / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.write(content)
    return replace(
        address,
        options=tuple(option.replace(FILES, str(place)) for option in address.options),
        environment={name: value.replace(FILES, str(place)) for name, value in address.environment.items()},
    )


def _patience(account: events.Account, local: bool) -> float | None:
    """Seconds of silence after which duplicity, having told an error, is taken to hang; None: any.

    It waits for its gpg to end, and gpg waits for somebody to read on, for ever.
    """
    if not account.errors:
        return None
    # What does not match its hash is fetched again, which over a network may take a while.
    return 120.0 if account.errors[-1].code == MISMATCHED_HASH and not local else 5.0


def _lines(descriptor: int, patience: Callable[[], float | None]) -> Iterator[bytes]:
    """Lines as they come. Raises TimeoutError when nothing comes for as long as `patience` says."""
    rest = b""
    while True:
        if not select.select([descriptor], [], [], patience())[0]:
            raise TimeoutError
        data = os.read(descriptor, 1 << 16)
        if not data:
            break
        *whole, rest = (rest + data).split(b"\n")
        yield from whole
    if rest:
        yield rest


class UploadProgress:
    """Turns duplicity's records into progress events. `total` is bytes of the source, where known."""

    def __init__(self, progress: Progress, total: int | None) -> None:
        self._progress = progress
        self._total = total
        self._done = 0
        self._item = ""
        self._last = 0.0

    def take(self, record: events.Record) -> None:
        if record.level != "INFO":
            return
        if record.code in (events.FILE_NEW, events.FILE_CHANGED):
            self._item = record.message[2:]
        elif record.code == events.PROGRESS and record.extra.isdigit():
            # duplicity counts directories, too, and so ends a little higher.
            self._done = max(self._done, min(int(record.extra), self._total or int(record.extra)))
        else:
            return
        if time.monotonic() - self._last >= OFTEN:
            self._last = time.monotonic()
            self._progress(ProgressEvent("upload", self._done, self._total, "bytes", self._item))

    def end(self, account: events.Account) -> None:
        """Says that all is up."""
        done = self._total if self._total is not None else int(account.statistics.get("SourceFileSize", self._done))
        self._progress(ProgressEvent("upload", done, done, "bytes"))


class DownloadProgress:
    """The same for a restore, whose size nobody knows: in volumes."""

    def __init__(self, progress: Progress, phase: str) -> None:
        self._progress = progress
        self._phase = phase

    def take(self, record: events.Record) -> None:
        if record.level == "INFO" and record.code == events.PROGRESS:
            done, _, total = record.extra.partition(" ")
            if done.isdigit() and total.isdigit():
                self._progress(ProgressEvent(self._phase, int(done), int(total), "volumes"))
