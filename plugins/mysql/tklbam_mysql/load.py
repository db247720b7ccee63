"""Rows into a table: LOAD DATA fed from its files, or multi-row inserts where the server forbids that."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path

from tklbam_core.api import DatabaseError

from .connection import Error, Session, code, reason
from .layout import TableFile
from .names import literal, qualified, quote
from .versions import VALUE, assignment, end_column, end_of_time, with_end

BATCH = 1 << 20
TRANSACTION = 8 << 20
"""Bytes of rows after which InnoDB commits: few commits for slow disks, and none long (see `_transactions`)."""
NO_LOCAL = frozenset({1148, 2068, 3948, 4166})
ENUM_TRUNCATED = 1265
WARNINGS = 20
"""So many of a table's warnings are looked at."""
SETTINGS = (
    "SET foreign_key_checks=0, unique_checks=0, time_zone='+00:00', "
    "sql_mode='NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_DIR_IN_CREATE'",
)
OPTIONAL_SETTINGS = (
    "SET check_constraint_checks=0",
    "SET innodb_strict_mode=0",
    "SET max_statement_time=0",
    "SET sql_log_off=1",
    # What names a character set without a collation was made where this was the default, as newer servers name both.
    "SET default_collation_for_utf8mb4=utf8mb4_general_ci",
    "SET character_set_collations=''",
    # A table without a key stays one.
    "SET sql_generate_invisible_primary_key=0",
    "SET sql_require_primary_key=0",
)
_ENUM = re.compile(r"^  (`(?:[^`]|``)*`) (?:enum|set)\(", re.MULTILINE | re.IGNORECASE)
_AUTO_INCREMENT = re.compile(r"^  (`(?:[^`]|``)*`) [^\n]* AUTO_INCREMENT", re.MULTILINE)


@dataclass(slots=True)
class Loaded:
    """What became of one table's rows."""

    rows: int
    warnings: list[str] = field(default_factory=list)


def prepare(session: Session) -> None:
    """Settings under which rows go in as they came out, and fast."""
    for statement in SETTINGS:
        session.execute(statement)
    for statement in OPTIONAL_SETTINGS:
        with contextlib.suppress(Error):  # not every server has the variable
            session.execute(statement)


def load_rows(
    session: Session, database: str, table: str, statement: str, info: TableFile, files: Sequence[Path],
    tell: Callable[[int], None],
) -> Loaded:  # fmt: skip
    """Loads the rows of `files` into an empty table made by `statement`; `tell` is told bytes as they go.

    Raises DatabaseError when fewer rows arrived than the files hold, `Error` when the server refuses.
    """
    if info.versioned:
        session.execute("SET system_versioning_insert_history=1")
    try:
        if info.literal:
            count, warnings = _inserts(session, database, table, statement, info, files, tell)
        else:
            count, warnings = _bulk(session, database, table, statement, info, files, tell)
    finally:
        if info.versioned:
            with contextlib.suppress(Error):
                session.execute("SET system_versioning_insert_history=0")
    return _checked(count, warnings, statement, info)


def _checked(count: int, warnings: list[tuple[int, str]], statement: str, info: TableFile) -> Loaded:
    enums = {name.strip("`") for name in _ENUM.findall(statement)}
    loaded = Loaded(count, _notable(warnings, enums))
    if info.rows is not None and count != info.rows:
        said = f" ({loaded.warnings[0]})" if loaded.warnings else ""
        raise DatabaseError(f"{count} of {info.rows} rows could be loaded{said}", "See the server's error log.")
    return loaded


def _notable(warnings: list[tuple[int, str]], enums: set[str]) -> list[str]:
    """Warnings that mean a value changed. The empty value of an ENUM always draws one, and doesn't."""
    notable = []
    for number, message in warnings:
        if number == ENUM_TRUNCATED and any(f"'{name}'" in message for name in enums):
            continue
        notable.append(f"{message} ({number})")
    return notable


def _own_values(statement: str, info: TableFile) -> set[str]:
    """Columns that must be assigned by SET, because others are: MariaDB forgets NO_AUTO_VALUE_ON_ZERO otherwise."""
    if not info.hex and not info.json and not info.versioned:
        return set()
    return {name[1:-1].replace("``", "`") for name in _AUTO_INCREMENT.findall(statement)}


def _bulk(
    session: Session,
    database: str,
    table: str,
    statement: str,
    info: TableFile,
    files: Sequence[Path],
    tell: Callable[[int], None],
) -> tuple[int, list[tuple[int, str]]]:
    targets, assignments = [], []
    own_values, end = _own_values(statement, info), end_column(statement, info)
    for number, name in enumerate(info.columns):
        if name in info.generated:
            targets.append("@unused")
        elif name in info.hex:
            targets.append(f"@v{number}")
            assignments.append(f"{quote(name)}=UNHEX(SUBSTR(@v{number}, 3))")
        elif name in info.json:
            targets.append(f"@v{number}")
            assignments.append(f"{quote(name)}=CONVERT(@v{number} USING utf8mb4)")
        elif name == end:
            targets.append(f"@v{number}")
            assignments.append(assignment(name, f"@v{number}", end_of_time(session)))
        elif name in own_values:
            targets.append(f"@v{number}")
            assignments.append(f"{quote(name)}=@v{number}")
        else:
            targets.append(quote(name))
    count = 0
    warnings: list[tuple[int, str]] = []
    parts = _transactions(info, files)
    for number, part in enumerate(parts):
        try:
            with _pipe_of(part, tell) as source:
                session.execute(
                    f"LOAD DATA LOCAL INFILE '{source}' INTO TABLE {qualified(database, table)} CHARACTER SET utf8mb4 "
                    "FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\\'' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n' "
                    f"({', '.join(targets)})" + (f" SET {', '.join(assignments)}" if assignments else "")
                )
        except Error as error:
            if code(error) not in NO_LOCAL:
                raise
            rest = [file for each in parts[number:] for file in each]
            more, said = _inserts(session, database, table, statement, info, rest, tell)
            return count + more, warnings + said
        count += session.affected
        if len(warnings) < WARNINGS:
            warnings += _warnings(session)
    return count, warnings


def _transactions(info: TableFile, files: Sequence[Path]) -> list[Sequence[Path]]:
    """Files that are loaded together.

    Engines without transactions build their indexes when the first load ends, so they get everything at once. InnoDB
    gets some megabytes at a time: while one transaction is long, MariaDB's thread for statistics does not rest.
    """
    if info.engine.lower() != "innodb":
        return [files]
    groups: list[list[Path]] = []
    size = TRANSACTION
    for file, (_, _, length) in zip(files, info.files, strict=True):
        if size >= TRANSACTION:
            groups.append([])
            size = 0
        groups[-1].append(file)
        size += length
    return list(groups)


@contextlib.contextmanager
def _pipe_of(files: Sequence[Path], tell: Callable[[int], None]) -> Iterator[str]:
    """A name under which the content of all files can be read once, in order."""
    reading, writing = os.pipe()
    with contextlib.suppress(OSError):  # a user with many pipes may not have a large one
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, BATCH)
    feeder = threading.Thread(target=_feed, args=(files, writing, tell), daemon=True)
    feeder.start()
    try:
        yield f"/dev/fd/{reading}"
    finally:
        os.close(reading)  # a feeder that nobody reads from any more ends with a broken pipe
        feeder.join()


def _feed(files: Sequence[Path], writing: int, tell: Callable[[int], None]) -> None:
    with contextlib.suppress(BrokenPipeError), os.fdopen(writing, "wb", buffering=0) as pipe:
        for path in files:
            with open(path, "rb", buffering=0) as file:
                while block := file.read(BATCH):
                    view = memoryview(block)
                    while view:
                        view = view[pipe.write(view) :]
                    tell(len(block))


def _warnings(session: Session) -> list[tuple[int, str]]:
    if not session.warning_count:
        return []
    return [(int(row[1]), str(row[2])) for row in session.rows(f"SHOW WARNINGS LIMIT {WARNINGS}") if row[0] != "Note"]


def _inserts(
    session: Session,
    database: str,
    table: str,
    statement: str,
    info: TableFile,
    files: Sequence[Path],
    tell: Callable[[int], None],
) -> tuple[int, list[tuple[int, str]]]:
    names = f" ({', '.join(quote(name) for name in info.columns)})" if info.columns else ""
    start = f"INSERT INTO {qualified(database, table)}{names} VALUES (".encode("utf-8", "surrogateescape")
    end = end_column(statement, info)
    put = computed_values(info) if end is None else with_end(info, end, literal(end_of_time(session)))
    return insert_lines(session, start, files, tell, put)


def insert_lines(
    session: Session,
    start: bytes,
    files: Sequence[Path],
    tell: Callable[[int], None],
    put: Callable[[bytes], bytes] = bytes,
) -> tuple[int, list[tuple[int, str]]]:
    """Lines of rows as inserts of about a megabyte, each its own transaction; `put` puts several in other words."""
    count = 0
    warnings: list[tuple[int, str]] = []
    for path in files:
        with open(path, "rb") as file:
            while lines := file.readlines(BATCH):
                block = b"".join(lines).removesuffix(b"\n")
                session.execute(start + put(block).replace(b"\n", b"),(") + b")")
                count += session.affected
                if session.warning_count and len(warnings) < WARNINGS:
                    warnings += _warnings(session)
                tell(len(block))
    return count, warnings


def computed_values(info: TableFile) -> Callable[[bytes], bytes]:
    """What writes DEFAULT for the values that the server computes, in lines of the format: MySQL takes nothing else."""
    if not set(info.generated) & set(info.columns):
        return bytes
    pattern, replacement, groups = b"^", b"", 0
    for is_computed, run in groupby(name in info.generated for name in info.columns):
        number = len(list(run))
        values = b",".join([VALUE] * number)
        comma = b"," if replacement else b""
        if is_computed:
            pattern += comma + values
            replacement += comma + b",".join([b"DEFAULT"] * number)
        else:
            groups += 1
            pattern += b"(" + comma + values + b")"
            replacement += b"\\g<%d>" % groups
    return partial(re.compile(pattern + b"$", re.MULTILINE).sub, replacement)


def explain(error: BaseException) -> str:
    """One line about an error of loading."""
    return error.what if isinstance(error, DatabaseError) else reason(error)
