"""`tklbam internal dirindex`: writes an index of paths, or prints the changes against one."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from ..api.errors import TklbamError, UsageError
from ..host import Host
from .common import Output, common_options

if TYPE_CHECKING:
    from ..delta.model import Change, Entry
    from ..delta.rules import PathRule
    from ..delta.scan import ScanReport


@click.command(
    context_settings={"help_option_names": ["-h", "--help"], "allow_interspersed_args": False},
    short_help="Write an index of paths, or print the changes against one",
)
@click.option("-c", "--create", is_flag=True, help="Write INDEX instead of comparing with it.")
@click.option(
    "-i",
    "--input",
    "input_file",
    type=click.Path(allow_dash=True, path_type=Path),
    metavar="FILE",
    help="Read paths from FILE, too (- for standard input): as in dirindex.conf.",
)
@click.option(
    "--hash/--no-hash", "digests", default=True, help="With --create: keep digests of contents (the default)."
)
@click.option("--checksum", is_flag=True, help="Compare by digest what looks unchanged.")
@click.argument("index", type=click.Path(path_type=Path))
@click.argument("paths", nargs=-1, type=click.UNPROCESSED, metavar="[-]PATH…")
@common_options()
def command(
    host: Host,
    output: Output,
    create: bool,
    input_file: Path | None,
    digests: bool,
    checksum: bool,
    index: Path,
    paths: tuple[str, ...],
) -> int:
    """Write an index of paths, or print what changed since INDEX was written.

    A leading `-` leaves a path out. Options come before INDEX. Paths stay as they are given; relative ones are relative
    to the current directory.
    """
    from ..delta.scan import ScanReport

    words = [*_words_of(input_file), *(os.fsencode(word) for word in paths if word != "--")]
    parts = _parts(words, host.root, index)
    report = ScanReport()
    if create:
        _create(index, parts, digests, report)
    else:
        _compare(index, parts, checksum, report)
    return _tell(report, output, checksum=checksum and not create)


@dataclass(slots=True)
class _Part:
    """The paths that are absolute, or those that are relative (to `root`, where a scan takes them as absolute)."""

    root: Path
    relative: bool
    rules: list[PathRule] = field(default_factory=list)
    skip: list[bytes] = field(default_factory=list)

    def given(self, path: bytes) -> bytes:
        """A path of the scan as the command line says it."""
        return (path[1:] or b".") if self.relative else path

    def scanned(self, path: bytes) -> bytes:
        """The reverse of `given`."""
        return (b"/" if path == b"." else b"/" + path) if self.relative else path


def _words_of(file: Path | None) -> list[bytes]:
    if file is None:
        return []
    try:
        text = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise UsageError(f"can't read {file}: {error.strerror}", "Name a file with paths.") from error
    return [word for line in text.split(b"\n") for word in line.partition(b"#")[0].split()]


def _parts(words: Sequence[bytes], root: Path, index: Path) -> tuple[_Part, _Part]:
    from ..delta.rules import PathRule

    parts = (_Part(root, relative=False), _Part(Path.cwd(), relative=True))
    for word in words:
        sign, path = (b"-", word[1:]) if word.startswith(b"-") else (b"", word)
        path = os.path.normpath(path) if path else b""
        if not path or path == b".." or path.startswith(b"../"):
            raise UsageError(f"{os.fsdecode(word)!r} is not below the current directory", "Give an absolute path.")
        part = parts[not path.startswith(b"/")]
        try:
            part.rules.append(PathRule.parse(sign + part.scanned(path)))
        except ValueError as error:
            raise UsageError(str(error)) from None
    if not any(rule.include for part in parts for rule in part.rules):
        raise UsageError("no path to scan is given", "Name at least one: tklbam internal dirindex INDEX /etc")
    for part in parts:  # neither the index nor this command's temporary files are part of what it describes
        base = os.path.realpath(os.fsencode(part.root)).rstrip(b"/") + b"/"
        place = os.path.realpath(os.fsencode(index))
        if place.startswith(base):
            part.skip.append(place[len(base) - 1 :])
    return parts


def _create(index: Path, parts: Iterable[_Part], digests: bool, report: ScanReport) -> None:
    from ..api.files import atomic_write
    from ..delta.dirindex import write_index
    from ..delta.sorting import in_order

    if index.exists() and not index.is_file():
        raise UsageError(f"{index} is not a regular file", "Name a file for the index.")
    index = index.resolve()  # a link stays, and what it leads to is written
    with tempfile.TemporaryDirectory(prefix="tklbam-dirindex-") as scratch:
        made = Path(scratch) / "index"
        write_index(made, in_order(chain.from_iterable(_entries(part, digests, report) for part in parts)))
        try:
            with made.open("rb") as source, atomic_write(index) as out:
                shutil.copyfileobj(source, out)
        except OSError as error:
            raise TklbamError(f"can't write {index}: {error.strerror}", "Choose another place for it.") from error


def _entries(part: _Part, digests: bool, report: ScanReport) -> Iterator[Entry]:
    from ..delta.dirindex import indexed
    from ..delta.rules import PathRules
    from ..delta.scan import Walk

    walk = Walk(part.root, PathRules(part.rules).resolve(part.root), skip=part.skip, report=report)
    for entry in indexed(walk, digests=digests):
        yield entry._replace(path=part.given(entry.path))


def _compare(index: Path, parts: Sequence[_Part], checksum: bool, report: ScanReport) -> None:
    if not index.is_file():
        raise UsageError(f"there is no index {index}", "Write one with --create.")
    with tempfile.TemporaryDirectory(prefix="tklbam-dirindex-") as scratch:
        changes = chain.from_iterable(_changes(index, part, Path(scratch), checksum, report) for part in parts)
        _print(changes, sys.stdout.buffer)


def _changes(index: Path, part: _Part, scratch: Path, checksum: bool, report: ScanReport) -> Iterator[Change]:
    from ..delta.changes import find_changes
    from ..delta.dirindex import read_index, write_index
    from ..delta.rules import PathRules
    from ..delta.sorting import in_order

    mine = (entry for entry in read_index(index, relative=True) if entry.path.startswith(b"/") != part.relative)
    known = scratch / ("relative" if part.relative else "absolute")
    write_index(known, in_order(entry._replace(path=part.scanned(entry.path)) for entry in mine))
    rules = PathRules(part.rules)
    for change in find_changes(
        root=part.root, index=known, rules=rules, skip=part.skip, checksum=checksum, report=report
    ):
        yield change._replace(path=part.given(change.path))


def _print(changes: Iterable[Change], out: BinaryIO) -> None:
    """Prints a delta, of version 1 where every path can be said in it, for the scripts that read that."""
    from ..delta.escape import HEADER, unescape
    from ..delta.fsdelta import format_change

    sayable = True
    with tempfile.SpooledTemporaryFile(max_size=1 << 20) as spool:
        for change in changes:
            sayable = sayable and b"\t" not in change.path and b"\n" not in change.path
            spool.write(format_change(change))
        spool.seek(0)
        if sayable:
            out.writelines(unescape(line) for line in spool)
        else:
            out.write(HEADER)
            shutil.copyfileobj(spool, out)
    out.flush()


def _tell(report: ScanReport, output: Output, *, checksum: bool) -> int:
    from ..delta.escape import quoted

    for path in report.skipped_mounts:
        output.note(f"{quoted(path)} is another file system and left out; name it to scan it")
    for problem in report.problems:
        output.warn(f"{quoted(problem.path)} can't be read: {problem.reason}")
    if report.problem_count > len(report.problems):
        output.warn(f"… and {report.problem_count - len(report.problems)} more paths")
    if checksum and report.unchecked:
        output.warn(f"the index has no digest of {report.unchecked} files, so their contents were not compared")
    return 3 if report.problem_count else 0
