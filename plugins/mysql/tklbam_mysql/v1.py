"""The classic `myfs` layout, read as if it were ours (formats: "myfs v1")."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tklbam_core.api import DatabaseError

from .catalogue import EXTERNAL_ENGINES, Stored
from .connection import Error, Session, reason
from .layout import AccountEntry, Layout, TableEntry, TableFile, read_text
from .names import HiddenNames, qualified, quote
from .v1_accounts import statements_of

SYSTEM = frozenset({"mysql", "information_schema", "performance_schema", "sys"})
_ENGINE = re.compile(r"\)[^)]*?\b(?:ENGINE|TYPE)\s*=\s*(\w+)", re.IGNORECASE)
_SETTINGS = re.compile(
    r"@?@?(?:session\.)?(sql_mode|character_set_client|collation_connection|time_zone)\s*=\s*('[^']*'|\w+)", re.I
)
GRANT_TABLES = ("user", "db", "tables_priv", "columns_priv", "procs_priv")


class LegacyLayout(Layout):
    """A version 1 `myfs/`: names are raw directory names, rows one file, accounts the raw `mysql` tables."""

    def database(self, name: str) -> Path:
        return self.directory / name

    def table(self, database: str, name: str) -> Path:
        return self.database(database) / "tables" / name

    def databases(self) -> list[str]:
        found = [path.name for path in self.directory.iterdir() if (path / "init").is_file()]
        return sorted(name for name in found if name.lower() not in SYSTEM)

    def manifest(self) -> dict[str, Any]:
        return {"format": 1, "flavour": "", "server": "an unknown server"}

    def tables(self, database: str) -> list[TableEntry]:
        directory = self.database(database) / "tables"
        paths = sorted(directory.iterdir()) if directory.is_dir() else []
        return [LegacyTable(database, path.name, path) for path in paths if (path / "init").is_file()]

    def views(self, database: str) -> list[Stored]:
        directory = self.database(database) / "views"
        found = []
        for path in sorted(directory.iterdir()) if directory.is_dir() else []:
            for text in statements(read_text(path / "post"), ";"):
                plain = unwrapped(text)
                if re.match(r"CREATE\b.*\bVIEW\b", plain, re.IGNORECASE | re.DOTALL):
                    found.append(Stored("VIEW", path.name, plain, dict(settings_in(read_text(path / "post")))))
        return found

    def stored(self, database: str, kind: str) -> list[Stored]:
        return []

    def accounts(self, session: Session) -> list[AccountEntry]:
        """The accounts of the raw `mysql` tables, read with the help of a hidden database on the new server."""
        return raw_accounts(session, self.tables("mysql"))


def raw_accounts(session: Session, tables: Sequence[TableEntry]) -> list[AccountEntry]:
    """Accounts from the raw tables of an old `mysql` database; [] where `user` is not among them."""
    present = [table for table in tables if table.name in GRANT_TABLES]
    if not any(table.name == "user" for table in present):
        return []
    hidden = HiddenNames().new(0)
    session.execute(f"CREATE DATABASE {quote(hidden)}")
    try:
        rows = {table.name: list(_read_rows(session, hidden, table)) for table in present}
    except Error as error:
        raise DatabaseError(
            f"the accounts of the backup can't be read: {reason(error)}", "Leave them out: --limits=-mysql:mysql."
        ) from error
    finally:
        session.execute(f"DROP DATABASE IF EXISTS {quote(hidden)}")
    return statements_of(rows)


class LegacyTable(TableEntry):
    """A table of a version 1 dump: its rows are a file of lines, without the names of their columns."""

    @property
    def statement(self) -> str:
        found = [unwrapped(text) for text in statements(read_text(self.directory / "init"), ";")]
        creates = [text for text in found if re.match(r"CREATE\s+TABLE\b", text, re.IGNORECASE)]
        if not creates:
            raise DatabaseError(
                f"{self.database}.{self.name}: {self.directory / 'init'} holds no CREATE TABLE statement"
            )
        return re.sub(r"\bTYPE=(\w+)([^)]*)$", r"ENGINE=\1\2", creates[0])

    @property
    def info(self) -> TableFile:
        engine = _ENGINE.search(self.statement)
        name = engine.group(1) if engine else ""
        rows = self.directory / "rows"
        if not rows.is_file():
            return TableFile(engine=name, data="external" if name.lower() in EXTERNAL_ENGINES else "rows", rows=0)
        with open(rows, "rb") as file:
            count = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
        return TableFile(engine=name, literal=True, rows=count, files=[("rows", count, rows.stat().st_size)])

    def row_files(self) -> list[Path]:
        return [path for path in [self.directory / "rows"] if path.is_file()]

    @property
    def triggers(self) -> list[Stored]:
        path = self.directory / "triggers"
        if not path.is_file():
            return []
        found = []
        settings: dict[str, str] = {}
        for text in statements(read_text(path), ";;"):
            plain = unwrapped(text)
            settings |= dict(settings_in(plain)) if plain.upper().startswith("SET") else {}
            name = re.search(r"\bTRIGGER\s+(?:`((?:[^`]|``)*)`|(\w+))", plain)
            if name and plain.upper().startswith("CREATE"):
                title = (name.group(1) or name.group(2) or "").replace("``", "`")
                found.append(Stored("TRIGGER", title, plain, {k: v for k, v in settings.items() if k != "time_zone"}))
        return found


def _read_rows(session: Session, hidden: str, table: TableEntry) -> Iterator[dict[str, str]]:
    session.execute(f"USE {quote(hidden)}")
    session.execute(table.statement)
    start = f"INSERT INTO {qualified(hidden, table.name)} VALUES (".encode()
    for path in table.row_files():
        with open(path, "rb") as file:
            for line in file:
                session.execute(start + line.rstrip(b"\n") + b")")
    columns = [str(row[0]) for row in session.texts(f"SHOW COLUMNS FROM {qualified(hidden, table.name)}")]
    for row in session.texts(f"SELECT * FROM {qualified(hidden, table.name)}"):
        yield {name: value or "" for name, value in zip(columns, row, strict=True)}


def statements(text: str, delimiter: str) -> list[str]:
    """The statements of a small script: `delimiter` ends one at the end of a line. Comment lines are dropped."""
    lines = [
        line for line in text.split("\n") if not line.startswith("--") and not line.upper().startswith("DELIMITER")
    ]
    found, current = [], []
    for line in lines:
        stripped = line.rstrip()
        if stripped.endswith(delimiter):
            current.append(stripped.removesuffix(delimiter))
            found.append("\n".join(current).strip())
            current = []
        else:
            current.append(line)
    found.append("\n".join(current).strip())
    return [each for each in found if each]


def unwrapped(statement: str) -> str:
    """A statement out of its versioned comments (`/*!50001 … */`)."""
    text = statement.strip()
    while (start := re.search(r"/\*M?!\d*\s?", text)) is not None:
        end = _comment_end(text, start.end())
        text = text[: start.start()] + text[start.end() : end].rstrip() + text[end + 2 :]
    return text.strip()


def _comment_end(text: str, at: int) -> int:
    quoted = ""
    while at < len(text):
        character = text[at]
        if quoted:
            if character == "\\" and quoted != "`":
                at += 1
            elif character == quoted:
                quoted = ""
        elif character in "'\"`":
            quoted = character
        elif text.startswith("*/", at):
            return at
        at += 1
    return len(text)


def settings_in(text: str) -> Iterator[tuple[str, str]]:
    """Session settings that a script makes."""
    for match in _SETTINGS.finditer(text):
        value = match.group(2).strip("'")
        if not value.startswith("@"):
            yield match.group(1).lower(), value
