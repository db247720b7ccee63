"""What `internal fixstat` and `internal delete` share: the delta they read, the paths they take, how they report."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..api.errors import UsageError
from .common import Output

if TYPE_CHECKING:
    from ..delta.model import Change
    from ..delta.report import ApplyReport


@dataclass(frozen=True, slots=True)
class Part:
    """Changes below one root, in order, as absolute paths. `shown` turns a path into what is printed for it."""

    root: Path
    changes: Sequence[Change]
    takes: Callable[[bytes], bool]
    shown: Callable[[bytes], bytes]


def read_parts(delta: str, paths: Sequence[str], root: Path) -> Iterator[Part]:
    """The absolute paths of a delta (`-`: standard input), below `root`, and the relative ones.

    Relative paths are relative to the current directory, in the delta as on the command line. Raises FormatError,
    UsageError.
    """
    changes = list(_read(delta))
    here = os.getcwdb()
    words = [_absolute(os.fsencode(word), here) for word in paths if word != "--"]
    live = root == Path("/")
    base = os.fsencode(root).rstrip(b"/")
    for relative in (False, True):
        mine = [change for change in changes if change.path.startswith(b"/") != relative]
        if not mine:
            continue
        takes = _filter([word for word, is_relative in words if live or is_relative == relative], words)
        if relative:
            prefix = here.rstrip(b"/") + b"/"
            mine = [change._replace(path=os.path.normpath(prefix + change.path)) for change in mine]
            yield Part(Path("/"), _in_order(mine), takes, lambda path: _relative(path, here))
        else:
            yield Part(root, _in_order(mine), takes, lambda path: base + path)


def _read(delta: str) -> Iterator[Change]:
    from ..delta.fsdelta import parse_delta, read_delta

    if delta == "-":
        yield from parse_delta(sys.stdin.buffer, "standard input", relative=True)
        return
    if not os.path.exists(delta):
        raise UsageError(f"there is no delta {delta}", "Name a file that `tklbam internal dirindex` printed.")
    yield from read_delta(Path(delta), relative=True)


def _in_order(changes: list[Change]) -> list[Change]:
    from ..delta.escape import sort_key

    return sorted(changes, key=lambda change: sort_key(change.path))


def _absolute(word: bytes, here: bytes) -> tuple[bytes, bool]:
    """A path rule made absolute, and whether it was relative."""
    sign, path = (b"-", word[1:]) if word.startswith(b"-") else (b"", word)
    if not path:
        raise UsageError("an empty path takes nothing", "Leave it out.")
    return sign + os.path.normpath(os.path.join(here, path)), not path.startswith(b"/")


def _filter(mine: list[bytes], words: list[tuple[bytes, bool]]) -> Callable[[bytes], bool]:
    from ..delta.rules import PathRules

    # One include anywhere turns the default to "out", also for the part that it is not about.
    return PathRules.from_words(mine).tree(default=all(word.startswith(b"-") for word, _ in words)).covers


def _relative(path: bytes, here: bytes) -> bytes:
    relative = os.path.relpath(path, here)
    # So that no shell command takes it for an option.
    return b"./" + relative if relative.startswith(b"-") else relative


def tell(report: ApplyReport, output: Output) -> int:
    """Warns of every problem; returns the exit status."""
    for problem in report.problems:
        output.warn(str(problem))
    return 1 if report.problems else 0
