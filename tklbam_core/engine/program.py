"""The duplicity that is installed: where it is, what it can do, and its command lines."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..api.errors import EngineError, TklbamError
from ..api.models import EngineAddress
from ..api.process import run
from .patience import Patience
from .workspace import Workspace

STRONG_SECRET = 32
"""From this many characters on a secret is taken for random, so that stretching it would only cost time."""


@dataclass(frozen=True, slots=True)
class Program:
    """A duplicity executable and its version, (3, 2, 1)."""

    path: Path
    version: tuple[int, ...]

    @property
    def reads_lists(self) -> bool:
        """Whether it has `--files-from`; without it every file is compared with every line of the list."""
        return self.version >= (2,)

    @property
    def uploads_in_parallel(self) -> bool:
        return self.version >= (3,)

    @property
    def goes_by_its_cache(self) -> bool:
        """Whether it can be told to believe its cache and not look at the target. Before that it deletes nothing of
        its own accord; those that can do delete a last session that is not whole."""
        return self.version >= (3, 1)


def find_program(given: Path | None = None) -> Program:
    """The given duplicity, else the one beside this Python, else the one on PATH. Raises EngineError."""
    beside = Path(sys.executable).with_name("duplicity")
    found = given or (beside if os.access(beside, os.X_OK) else None) or shutil.which("duplicity")
    remedy = (
        "Install duplicity 2 or newer (Debian's package of that name, or `pip install --no-deps duplicity fasteners`)."
    )
    if found is None:
        raise EngineError("duplicity is not installed", remedy)
    version = _installed_version() if Path(found) == beside else None
    if version is None:
        try:
            answer = run(["env", "-u", "PYTHONOPTIMIZE", str(found), "--version"], env={"LC_ALL": "C.UTF-8"})
        except TklbamError as error:
            raise EngineError(f"{found} does not work: {error.what}", remedy) from error
        version = answer.stdout.decode("utf-8", "replace").removeprefix("duplicity").strip()
    numbers = re.match(r"\d+(?:\.\d+)*", version)
    if numbers is None:
        raise EngineError(f"{found} does not say its version", remedy)
    program = Program(Path(found), tuple(int(part) for part in numbers[0].split(".")))
    if program.version < (0, 8):
        raise EngineError(f"{found} is duplicity {numbers[0]}, which is too old", remedy)
    if shutil.which("gpg") is None:
        raise EngineError("gpg is not installed, and duplicity encrypts with it", "Install the package gnupg.")
    return program


def _installed_version() -> str | None:
    # Asking the program itself takes a quarter of a second.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("duplicity")
    except PackageNotFoundError:
        return None


def gpg_options(secret: str) -> str:
    """Level 1 compresses almost as well as 6 in much less time. Stock gpg decrypts the result with no options.

    gpg stretches a passphrase for about 0.4 s, once a file; a random secret needs none of it. The least count gpg
    takes at its word is 1088: 1024 means "as by default" to it.
    """
    stretch = " --s2k-count 1088" if len(secret) >= STRONG_SECRET else ""
    return f"--gpg-options=--no-options --compress-level 1 --cipher-algo AES256{stretch}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLine:
    """What every duplicity command of one run shares. `volume_size` is megabytes; `patience` is None for a target on
    this machine."""

    program: Program
    address: EngineAddress
    archive_dir: Path
    name: str
    workspace: Workspace
    log_fd: int
    secret: str
    patience: Patience | None
    volume_size: int

    def _common(self) -> list[str]:
        # A local disk that fails once fails again; a network is worth waiting for.
        retries = ["--num-retries", "1", "--timeout", "60"]
        if self.patience is not None:
            retries = ["--num-retries", str(self.patience.retries + 1), "--backend-retry-delay", "10"]
            retries += ["--timeout", str(self.patience.timeout)]
        return [
            *("--archive-dir", str(self.archive_dir), "--name", self.name),
            *("--tempdir", str(self.workspace.scratch), "--log-fd", str(self.log_fd), "--verbosity", "info"),
            *("--volsize", str(self.volume_size), *retries),
            gpg_options(self.secret),
            *self.address.options,
        ]

    def backup(
        self, *, full: bool, source: Path, file_list: Path, now: int | None, uploads: int, blind: bool = False
    ) -> list[str]:
        """Stores the paths of `file_list` (see `filelist`). `now` is the session's time where the clock won't do;
        a `blind` run goes by the cache and does not look at what is on the target."""
        if self.program.reads_lists:
            selection = ["--null-separator", "--files-from", str(file_list)]
        else:
            selection = ["--null-separator", "--include-filelist", str(file_list), "--exclude", "**"]
        parallel = ["--concurrency", str(uploads)] if uploads > 1 and self.program.uploads_in_parallel else []
        return [
            *(str(self.program.path), "full" if full else "incremental"),
            *self._common(),
            *("--allow-source-mismatch", "--no-files-changed", *parallel),
            *(("--no-check-remote",) if blind else ()),
            *(("--current-time", str(now)) if now is not None else ()),
            *selection,
            str(source),
            self.address.url,
        ]

    def restore(self, *, time: int, path: str | None, destination: Path, own: bool) -> list[str]:
        """Restores the state at `time` (seconds since 1970). Ids stay numbers; with `own` owners are restored."""
        modern = self.program.reads_lists
        keep = [] if own else ["--no-restore-ownership" if modern else "--do-not-restore-ownership"]
        part = ["--path-to-restore" if modern else "--file-to-restore", path] if path is not None else []
        return [
            *(str(self.program.path), "restore"),
            *self._common(),
            *("--time", str(time), "--numeric-owner", *keep, *part),
            self.address.url,
            str(destination),
        ]


def distinct_source(source: Path, workspace: Path) -> Path:
    """The source directory by a name under which duplicity does not take it for `/`.

    With `--files-from` it tells `/` by "equal to its own parent", where equal means mode, owner and time (in seconds):
    any other directory that resembles its parent in these is then stored empty, without a word. Behind a symbolic link
    the parent is never equal.
    """
    source = source.resolve()
    if source == source.parent:
        return source
    link = workspace / "above"
    link.symlink_to(source.parent)
    return link / source.name


def launcher(words: Sequence[str], command: Sequence[str]) -> list[str]:
    """The command, started by `confined.py` with these words of its own."""
    script = Path(__file__).with_name("confined.py")
    return [sys.executable, "-I", "-S", str(script), "--parent", str(os.getpid()), *words, "--", *command]


def own_program(code: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """The command that runs this code of ours in a Python of its own, and the environment it needs for that."""
    # Whatever made the package importable here makes it importable there.
    path = os.pathsep.join(place for place in sys.path if place)
    return [sys.executable, "-P", "-c", code, *arguments], {"PYTHONPATH": path}
