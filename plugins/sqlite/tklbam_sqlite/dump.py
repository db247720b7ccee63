"""Dumping: finds the files that the administrator named and copies each by SQLite's online backup."""

from __future__ import annotations

import glob
import os
import time
from collections import Counter
from pathlib import Path

from tklbam_core.api import (
    DatabaseError,
    DatabaseFailure,
    DatabaseReport,
    DatabaseResult,
    DumpRequest,
    ProgressEvent,
)

from .store import DIRECTORY, ENGINE, Stored, copy_database, file_name, opened, quoted, tables_of, write_note

SUFFIXES = (".db", ".sqlite", ".sqlite3")


def dump(request: DumpRequest) -> DatabaseReport | None:
    """None: no files are named (`database-option sqlite:files=…`)."""
    patterns = request.options.get("files", "").split()
    if not patterns:
        return None
    found, warnings = find(request.root, patterns)
    results, failures = [], []
    directory = request.extras / DIRECTORY
    directory.mkdir(mode=0o700)
    for number, (name, path) in enumerate(sorted(found.items())):
        if not request.limits.takes_database(name):
            continue
        request.progress(ProgressEvent("sqlite dump", number, len(found), "databases", name))
        try:
            results.append(dump_one(request, directory, name, path))
        except (DatabaseError, OSError) as error:
            (directory / f"{file_name(name)}.sqlite").unlink(missing_ok=True)
            failures.append(DatabaseFailure(database=name, reason=str(error).splitlines()[0]))
    warnings += [f"the limit {rule.worded(ENGINE)} matches no database or table" for rule in request.limits.unmatched()]
    return DatabaseReport(
        engine=ENGINE,
        directory=DIRECTORY,
        server=f"{len(found)} files",
        databases=tuple(results),
        failures=tuple(failures),
        warnings=tuple(warnings),
    )


def find(root: Path, patterns: list[str]) -> tuple[dict[str, str], list[str]]:
    """(name → path within the root, warnings). Patterns are shell patterns of absolute paths."""
    paths, warnings = [], []
    for pattern in patterns:
        matched = glob.glob(pattern.lstrip("/"), root_dir=root)
        files = sorted("/" + path for path in matched if (root / path).is_file())
        # A named file that is missing is data that is gone; a pattern may match nothing for now.
        if not files and not glob.has_magic(pattern):
            raise DatabaseError(f"{pattern} is not there", "Correct `database-option sqlite:files=…`.")
        if not files:
            warnings.append(f"{pattern} matches no file")
        paths += files
    paths = sorted(set(paths))
    stems = Counter(stem(path) for path in paths)
    return {
        stem(path) if stems[stem(path)] == 1 else path.lstrip("/").replace("/", ":"): path for path in paths
    }, warnings


def stem(path: str) -> str:
    base = os.path.basename(path)
    root, suffix = os.path.splitext(base)
    return root if suffix in SUFFIXES and root else base


def dump_one(request: DumpRequest, directory: Path, name: str, path: str) -> DatabaseResult:
    began = time.monotonic()
    copy = directory / f"{file_name(name)}.sqlite"
    copy_database(request.root / path.lstrip("/"), copy)
    with opened(copy, write=True) as connection:
        connection.execute("pragma journal_mode = delete")
        excluded = [table for table in tables_of(connection) if not request.limits.takes_table(name, table)]
        if excluded:
            connection.execute("pragma foreign_keys = off")
            for table in excluded:
                connection.execute(f"delete from {quoted(table)}")
            connection.execute("vacuum")
        tables = tables_of(connection)
    copy.chmod(0o600)
    write_note(directory, Stored(name=name, path=path, copy=copy, tables=tables))
    return DatabaseResult(
        name=name,
        tables=len(tables),
        rows=sum(tables.values()),
        size=copy.stat().st_size,
        seconds=time.monotonic() - began,
    )
