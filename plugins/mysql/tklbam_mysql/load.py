"""Rows into a table: LOAD DATA fed from its files, or multi-row inserts where the server forbids that."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path

from tklbam_core.api import DatabaseError

from .connection import Error, Session, code, reason
from .layout import TableFile
from .names import literal, qualified, quote
from .versions import VALUE, CurrentRows, assignment, end_column, end_of_time, with_end

BATCH = 1 << 20
TRANSACTION = 8 << 20
"""Bytes of rows after which InnoDB commits: few commits for slow disks, and none long (see `_transactions`)."""
NO_LOCAL = frozenset({1148, 2068, 3948, 4166})
ENUM_TRUNCATED = 1265
UNKNOWN_VARIABLE = 1193
WARNINGS = 20
"""So many of a table's warnings are told."""
MOST_WARNINGS = 65535
"""So many a server counts and keeps."""
SETTINGS = (
    "SET foreign_key_checks=0, unique_checks=0, time_zone='+00:00', "
    "sql_mode='NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_DIR_IN_CREATE'",
)
OPTIONAL_SETTINGS = (
    "SET check_constraint_checks=0",
    "SET innodb_strict_mode=0",
    "SET max_statement_time=0",
    "SET sql_log_off=1",
    f"SET max_error_count={MOST_WARNINGS}",
    # A TIMESTAMP without a default has none.
    "SET explicit_defaults_for_timestamp=1",
    "SET default_collation_for_utf8mb4=utf8mb4_general_ci",
    # A table without a key stays one.
    "SET sql_generate_invisible_primary_key=0",
    "SET sql_require_primary_key=0",
)
OLD_MEANINGS = (
    # What names a character set without a collation was made where this was the default, as newer servers name both.
    "SET character_set_collations=''",
    # And utf8 was nothing else.
    "SET old_mode='UTF8_IS_UTF8MB3'",
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
    _set_if_known(session, OPTIONAL_SETTINGS)
    keep_meanings(session)


def keep_meanings(session: Session) -> None:
    """Makes names of character sets mean what they did on old servers."""
    _set_if_known(session, OLD_MEANINGS)


def _set_if_known(session: Session, statements: Sequence[str]) -> None:
    for statement in statements:
        with contextlib.suppress(Error):  # not every server has the variable
            session.execute(statement)


def load_rows(
    session: Session, database: str, table: str, statement: str, info: TableFile, files: Sequence[Path],
    tell: Callable[[int], None],
) -> Loaded:  # fmt: skip
    """Loads the rows of `files` into an empty table made by `statement`; `tell` is told bytes as they go.

    Raises DatabaseError when fewer rows arrived than the files hold, `Error` when the server refuses.
    """
    load = _inserts if info.literal else _bulk
    current = CurrentRows(statement, info) if info.versioned and not _takes_history(session) else None
    try:
        count, warnings = load(session, database, table, statement, info, files, tell, current)
    finally:
        if info.versioned and current is None:
            with contextlib.suppress(Error):
                session.execute("SET system_versioning_insert_history=0")
    past = current.past if current else 0
    if info.rows is not None and count + past != info.rows:
        said = f" ({warnings[0]})" if warnings else ""
        raise DatabaseError(f"{count} of {info.rows - past} rows could be loaded{said}", "See the server's error log.")
    if current:
        warnings.append(
            f"{past} past rows are left out, and the current ones begin now: MariaDB before 10.11 takes no others"
        )
    return Loaded(count, warnings)


def _takes_history(session: Session) -> bool:
    try:
        session.execute("SET system_versioning_insert_history=1")
    except Error as error:
        if code(error) != UNKNOWN_VARIABLE:
            raise
        return False
    return True


def _warnings(session: Session, enums: Set[str]) -> list[str]:
    """What the server said of the last rows that means a value changed.

    The empty value of an ENUM always draws a warning, and doesn't.
    """
    count = session.warning_count
    if not count:
        return []
    said = session.rows("SHOW WARNINGS")
    notable = [
        f"{message} ({number})"
        for level, number, message in said
        if level != "Note" and (number != ENUM_TRUNCATED or not any(f"'{name}'" in message for name in enums))
    ]
    if len(said) < count or count >= MOST_WARNINGS:
        notable.append("there were more warnings than the server keeps, so values may have changed")
    return notable[:WARNINGS]


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
    current: CurrentRows | None,
) -> tuple[int, list[str]]:
    dumped = info
    info = current.info if current else info
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
    warnings: list[str] = []
    enums = _enums(statement)
    parts = _transactions(info, files)
    for number, part in enumerate(parts):
        past_before = current.past if current else 0
        try:
            with _pipe_of(part, tell, current) as source:
                session.execute(
                    f"LOAD DATA LOCAL INFILE '{source}' INTO TABLE {qualified(database, table)} CHARACTER SET utf8mb4 "
                    "FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\\'' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n' "
                    f"({', '.join(targets)})" + (f" SET {', '.join(assignments)}" if assignments else "")
                )
        except Error as error:
            if code(error) not in NO_LOCAL:
                raise
            rest = [file for each in parts[number:] for file in each]
            if current:
                current.past = past_before  # what was read of this part did not arrive
            more, said = _inserts(session, database, table, statement, dumped, rest, tell, current)
            return count + more, warnings + said
        count += session.affected
        if len(warnings) < WARNINGS:
            warnings += _warnings(session, enums)
    return count, warnings


def _enums(statement: str) -> frozenset[str]:
    return frozenset(name.strip("`") for name in _ENUM.findall(statement))


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
def _pipe_of(files: Sequence[Path], tell: Callable[[int], None], current: CurrentRows | None) -> Iterator[str]:
    """A name under which the content of all files, or of their current rows, can be read once, in order."""
    reading, writing = os.pipe()
    with contextlib.suppress(OSError):  # a user with many pipes may not have a large one
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, BATCH)
    feeder = threading.Thread(target=_feed, args=(files, writing, tell, current), daemon=True)
    feeder.start()
    try:
        yield f"/dev/fd/{reading}"
    finally:
        os.close(reading)  # a feeder that nobody reads from any more ends with a broken pipe
        feeder.join()


def _feed(files: Sequence[Path], writing: int, tell: Callable[[int], None], current: CurrentRows | None) -> None:
    with contextlib.suppress(BrokenPipeError), os.fdopen(writing, "wb", buffering=0) as pipe:
        for path in files:
            for block in _blocks(path) if current is None else map(current, _lines(path)):
                view = memoryview(block)
                while view:
                    view = view[pipe.write(view) :]
                tell(len(block))


def _blocks(path: Path) -> Iterator[bytes]:
    with open(path, "rb", buffering=0) as file:
        while block := file.read(BATCH):
            yield block


def _lines(path: Path) -> Iterator[bytes]:
    """Whole lines, about as many at a time as make a block."""
    with open(path, "rb") as file:
        while lines := file.readlines(BATCH):
            yield b"".join(lines)


def _inserts(
    session: Session,
    database: str,
    table: str,
    statement: str,
    info: TableFile,
    files: Sequence[Path],
    tell: Callable[[int], None],
    current: CurrentRows | None,
) -> tuple[int, list[str]]:
    info = current.info if current else info
    names = f" ({', '.join(quote(name) for name in info.columns)})" if info.columns else ""
    start = f"INSERT INTO {qualified(database, table)}{names} VALUES (".encode("utf-8", "surrogateescape")
    end = end_column(statement, info)
    put = computed_values(info) if end is None else with_end(info, end, literal(end_of_time(session)))
    if current:
        left, put = put, lambda block: left(current(block))
    return insert_lines(session, start, files, tell, put, _enums(statement))


def insert_lines(
    session: Session,
    start: bytes,
    files: Sequence[Path],
    tell: Callable[[int], None],
    put: Callable[[bytes], bytes] = bytes,
    enums: Set[str] = frozenset(),
) -> tuple[int, list[str]]:
    """Lines of rows as inserts of about a megabyte, each its own transaction; `put` puts several in other words.

    Returns how many arrived, and the warnings about them, less those about empty values of the columns `enums`.
    """
    count = 0
    warnings: list[str] = []
    for path in files:
        for block in _lines(path):
            if rows := put(block.removesuffix(b"\n")):
                session.execute(start + rows.replace(b"\n", b"),(") + b")")
                count += session.affected
                if len(warnings) < WARNINGS:
                    warnings += _warnings(session, enums)
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
