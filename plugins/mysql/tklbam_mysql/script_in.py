"""A script that mysqldump or mariadb-dump wrote, taken apart into a `myfs/`: rows streamed, statements kept."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from tklbam_core.api import FormatError, Limits

from . import layout
from .accounts import ADMINISTRATIVE
from .catalogue import EXTERNAL_ENGINES, Stored
from .cut import RowsWriter
from .layout import AccountEntry, Layout, TableFile
from .names import SYSTEM_DATABASES, quote
from .split import Splitter
from .v1 import settings_in, unwrapped

_IDENTIFIER = r"(?:`((?:[^`]|``)*)`|\"?(\w+)\"?)"
_CREATE = re.compile(
    r"CREATE\b(?:\s+OR\s+REPLACE)?(?:\s+(?:ALGORITHM|DEFINER|SQL SECURITY)\s*=?\s*\S+)*\s+(?:AGGREGATE\s+)?"
    r"(DATABASE|TABLE|SEQUENCE|VIEW|TRIGGER|FUNCTION|PROCEDURE|PACKAGE BODY|PACKAGE|EVENT)"
    r"\s+(?:IF NOT EXISTS\s+)?"
    rf"{_IDENTIFIER}",
    re.IGNORECASE,
)
_ENGINE = re.compile(r"\)[^()]*?\bENGINE=(\w+)")
_ON_TABLE = re.compile(rf"\bON\s+(?:{_IDENTIFIER}\s*\.\s*)?{_IDENTIFIER}\s+FOR\s+EACH\s+ROW", re.IGNORECASE)
_SETVAL = re.compile(rf"SETVAL\({_IDENTIFIER}, (-?\d+), 0(?:, (\d+))?\)", re.IGNORECASE)
_ALTERED = re.compile(rf"ALTER DATABASE\s+{_IDENTIFIER}\s.*\bCOLLATE\s*=?\s*(\w+)", re.IGNORECASE | re.DOTALL)
_QUOTED = r"[`'](?:[^`']|``|'')*[`']"
_ACCOUNT = re.compile(
    r"^(CREATE USER|CREATE ROLE|GRANT .*? TO|SET DEFAULT ROLE .*? FOR|ALTER USER)\s+(?:IF NOT EXISTS\s+)?"
    rf"({_QUOTED}(?:@{_QUOTED})?)",
    re.IGNORECASE,
)
_PASSED_OVER = re.compile(
    r"(DROP|LOCK|UNLOCK|ALTER DATABASE|ALTER TABLE .* (?:DISABLE|ENABLE) KEYS|FLUSH|COMMIT|START|SELECT)\b",
    re.IGNORECASE | re.DOTALL,
)
BLOCK = 1 << 18


@dataclass(slots=True)
class _Database:
    statement: str
    tables: dict[str, str] = field(default_factory=dict)
    writers: dict[str, RowsWriter] = field(default_factory=dict)
    triggers: dict[str, list[Stored]] = field(default_factory=dict)
    stored: dict[str, list[Stored]] = field(default_factory=dict)
    views: dict[str, Stored] = field(default_factory=dict)
    collation: str = ""  # as last altered: what is made next remembers it

    def remember(self, stored: Stored) -> None:
        if self.collation:
            stored.settings["database_collation"] = self.collation


class ScriptReader:
    """Reads one script into `directory`. `left_out` names statements that are no part of a dump."""

    def __init__(self, directory: Path, limits: Limits) -> None:
        self._layout = Layout(directory)
        self._limits = limits
        self._databases: dict[str, _Database] = {}
        self._accounts: dict[str, AccountEntry] = {}
        self._current: str | None = None
        self._settings: dict[str, str] = {}
        self.left_out: list[str] = []
        self._layout.begin()

    def read(self, script: BinaryIO) -> None:
        """Raises FormatError where the script is no dump of one or more databases."""
        delimiter = b";"
        pending: list[bytes] = []
        for line in script:
            if not pending:
                if line.startswith((b"--", b"\n", b"#", b"/*M!999999")):
                    continue
                if line.upper().startswith(b"DELIMITER "):
                    delimiter = line[10:].strip()
                    continue
                if delimiter == b";" and line.startswith(b"INSERT INTO "):
                    self._insert(line, script)
                    continue
            pending.append(line)
            if line.rstrip().endswith(delimiter) and not _is_open(pending, delimiter):
                text = b"".join(pending).rstrip().removesuffix(delimiter)
                self._statement(text.decode("utf-8", "surrogateescape").strip())
                pending = []
        if b"".join(pending).strip():
            raise FormatError("the script", None, "it ends in mid-statement")
        self._finish()

    def _insert(self, line: bytes, script: BinaryIO) -> None:
        database = self._known()
        sinks = {name: self._writer(name) for name in database.tables}
        splitter = Splitter({self._current or "": sinks}, self._current)
        splitter.feed(line)
        while not splitter.is_between:
            more = script.readline(BLOCK)
            if not more:
                raise FormatError("the script", None, f"it ends in the rows of {splitter.at}")
            splitter.feed(more)
        if splitter.strangers:
            raise FormatError("the script", None, f"rows of {splitter.at} come before its CREATE TABLE")

    def _writer(self, table: str) -> RowsWriter:
        database = self._known()
        if table not in database.writers:
            place = self._layout.table(self._current or "", table) / "rows"
            taken = self._limits.takes_table(self._current or "", table)
            database.writers[table] = RowsWriter(place, 0) if taken else _Nothing(place, 0)
        return database.writers[table]

    def _known(self) -> _Database:
        if self._current is None:
            raise FormatError(
                "the script", None, "it does not say which database it is of", "Make it with mariadb-dump --databases."
            )
        return self._databases.setdefault(self._current, _Database(f"CREATE DATABASE {quote(self._current)}"))

    def _statement(self, raw: str) -> None:
        text = unwrapped(raw)
        use = re.fullmatch(rf"USE\s+{_IDENTIFIER}", text, re.IGNORECASE)
        if use:
            self._current = _name(use, 1)
            return
        if re.match(r"SET\b(?!\s+DEFAULT\s+ROLE)", text, re.IGNORECASE):
            self._settings |= dict(settings_in(text))
            return
        setval = _SETVAL.search(text)
        if setval and re.match(r"(DO|SELECT)\b", text, re.IGNORECASE):
            for sequence in self._known().stored.get("sequences", []):
                if sequence.name == _name(setval, 1):
                    sequence.numbers = {"next": int(setval.group(3)), "cycles": int(setval.group(4) or 0)}
            return
        altered = _ALTERED.match(text)
        if altered and (database := self._databases.get(_name(altered, 1))):
            database.collation = altered.group(3)
        account = _ACCOUNT.match(text)
        if account:
            self._account(account.group(2), text)
            return
        create = _CREATE.match(text)
        if create:
            self._create(create.group(1).upper(), _name(create, 2), text)
        elif not _PASSED_OVER.match(text):
            self.left_out.append(text[:60])

    def _create(self, kind: str, name: str, text: str) -> None:
        if kind == "DATABASE":
            statement = re.sub(r"^CREATE DATABASE\s+(IF NOT EXISTS\s+)?", "CREATE DATABASE ", text, flags=re.IGNORECASE)
            self._databases.setdefault(name, _Database(statement)).statement = statement
            return
        database = self._known()
        stored = Stored(kind, name, text, self._session())
        if kind == "TABLE":
            database.tables[name] = text
        elif kind == "SEQUENCE":
            stored.settings = {}
            stored.numbers = {"next": 1, "cycles": 0}
            database.stored.setdefault("sequences", []).append(stored)
        elif kind == "VIEW":
            # A stand-in that comes earlier is replaced by the view itself.
            database.tables.pop(name, None)
            stored.settings = {key: value for key, value in stored.settings.items() if key != "sql_mode"}
            stored.statement = re.sub(r"^CREATE OR REPLACE\b", "CREATE", text, flags=re.IGNORECASE)
            database.views[name] = stored
        elif kind == "TRIGGER":
            database.remember(stored)
            on = _ON_TABLE.search(text)
            if on is None:
                raise FormatError("the script", None, f"trigger {name} names no table")
            database.triggers.setdefault(_name(on, 3), []).append(stored)
        else:
            database.remember(stored)
            if kind == "EVENT":
                stored.settings["time_zone"] = self._settings.get("time_zone", "SYSTEM")
            database.stored.setdefault("events" if kind == "EVENT" else "routines", []).append(stored)

    def _session(self) -> dict[str, str]:
        known = {"sql_mode": "", "character_set_client": "utf8mb4", "collation_connection": "utf8mb4_general_ci"}
        return known | {key: value for key, value in self._settings.items() if key in known}

    def _account(self, name: str, text: str) -> None:
        account = name.replace("'", "`")
        if account.strip("`").split("`", 1)[0] in ADMINISTRATIVE:
            return
        role = "@" not in account
        statement = re.sub(r"^(CREATE (?:USER|ROLE)) IF NOT EXISTS ", r"\1 ", text)
        self._accounts.setdefault(account, AccountEntry(account, role, [])).statements.append(statement)

    def _finish(self) -> None:
        taken = {}
        for name, database in sorted(self._databases.items()):
            if name.lower() in SYSTEM_DATABASES:
                if name.lower() == "mysql" and self._limits.takes_database("mysql"):
                    self._finish_database(name, database)
            elif self._limits.takes_database(name):
                taken[name] = {"tables": self._finish_database(name, database)}
        if self._accounts:
            entries = sorted(self._accounts.values(), key=lambda entry: (not entry.role, entry.account))
            layout.write_accounts(self._layout.directory / layout.ACCOUNTS, entries)
        self._layout.finish({"flavour": "", "server": "a script", "server_version": "", "databases": taken})

    def _finish_database(self, name: str, database: _Database) -> dict[str, int | None]:
        layout.write_text(self._layout.database(name) / "init", database.statement)
        counts: dict[str, int | None] = {}
        for table, statement in database.tables.items():
            writer = self._writer_of(name, database, table)
            writer.finish()
            engine = _ENGINE.search(statement)
            external = engine is not None and engine.group(1).lower() in EXTERNAL_ENGINES
            none = isinstance(writer, _Nothing)
            info = TableFile(
                engine=engine.group(1) if engine else "",
                data="external" if external else "none" if none else "rows",
                columns=writer.columns,
                versioned="row_start" in writer.columns,
                literal=True,
                rows=None if none else writer.rows,
                files=[] if none else writer.files,
            )
            place = self._layout.table(name, table)
            layout.write_text(place / "init", statement)
            layout.write_stored(place / "triggers", database.triggers.get(table, []))
            layout.write_table(place / "table.json", info)
            counts[table] = info.rows
        for kind, items in database.stored.items():
            layout.write_stored(self._layout.database(name) / kind, items)
        for view in database.views.values():
            layout.write_stored(self._layout.view(name, view.name), [view])
        return counts

    def _writer_of(self, name: str, database: _Database, table: str) -> RowsWriter:
        self._current = name
        return database.writers.get(table) or self._writer(table)


class _Nothing(RowsWriter):
    """For rows that limits leave out."""

    def pieces(self, rows: list[bytes], ended: bool) -> None:
        """Takes them, and keeps nothing."""


def _name(match: re.Match[str], group: int) -> str:
    quoted = match.group(group)
    return quoted.replace("``", "`") if quoted is not None else match.group(group + 1)


def _is_open(lines: list[bytes], delimiter: bytes) -> bool:
    """Whether a statement that seems to end at a line's end goes on, because a quote is open."""
    if delimiter != b";":
        return False
    quote_ = b""
    for match in re.finditer(rb"\\.|['\"`]", b"".join(lines), re.DOTALL):
        token = match.group()
        if len(token) == 1:
            quote_ = token if not quote_ else b"" if token == quote_ else quote_
    return bool(quote_)
