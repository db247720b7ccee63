"""The classic `myfs` layout, read as if it were ours (formats: "myfs v1")."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tklbam_core.api import DatabaseError

from .catalogue import EXTERNAL_ENGINES, Stored
from .layout import AccountEntry, Layout, TableEntry, TableFile, read_text
from .v1_accounts import GRANT_TABLES, statements_of
from .v1_routines import events_of, routines_of
from .v1_rows import Row, read_rows

SYSTEM = frozenset({"mysql", "information_schema", "performance_schema", "sys"})
_ENGINE = re.compile(r"\)[^)]*?\b(?:ENGINE|TYPE)\s*=\s*(\w+)", re.IGNORECASE)
_TYPE = re.compile(r"(\n\)|\)(?=[^\n)]*\Z))\s*TYPE\s*=\s*(\w+)", re.IGNORECASE)
_WIDTH = re.compile(
    r"^(\s*`(?:[^`]|``)*`\s+timestamp)\((?:8|10|12|14)\)(\s+NOT NULL(?!\s+default))?", re.MULTILINE | re.IGNORECASE
)
"""A timestamp of MySQL 4.0: how wide it was shown. Later servers take that for digits of a second."""
_SETTINGS = re.compile(
    r"@?@?(?:session\.)?(sql_mode|character_set_client|collation_connection|time_zone)"
    r"\s*=\s*('[^']*'|\"[^\"]*\"|\w+)",
    re.IGNORECASE,
)
_COMMENTS = re.compile(
    r"`(?:[^`]|``)*`|'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\"|--[ \t][^\n]*|#[^\n]*|/\*(?!M?!).*?\*/"
    r"|(?P<open>/\*M?!\d*\s?)|(?P<close>\*/)",
    re.DOTALL,
)
"""What a versioned comment's end may not be looked for in, and its ends."""


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
        """Routines and events, which are rows of the raw `mysql` tables."""
        if kind == "routines":
            return routines_of(self._rows_of("proc"), database)
        return events_of(self._rows_of("event"), database) if kind == "events" else []

    def losses(self) -> list[str]:
        """What of the raw `mysql` tables no statement can make."""
        found = []
        for row in self._rows_of("func"):
            name, library = (row[column].decode("utf-8", "replace") for column in ("name", "dl"))
            found.append(f"function {name} of the library {library} is not restored: install it, and make it again")
        if any(True for _ in self._rows_of("host")):
            found.append("rows of mysql.host are not restored: servers ask that table no longer")
        if any(True for _ in self._rows_of("global_priv")):
            found.append("accounts in mysql.global_priv are not restored: make them again")
        if any(True for _ in self._rows_of("servers")):
            found.append("rows of mysql.servers are not restored: make them again (CREATE SERVER)")
        return found

    def accounts(self) -> list[AccountEntry]:
        return raw_accounts(self.tables("mysql"))

    def _rows_of(self, name: str) -> Iterator[Row]:
        for table in self.tables("mysql"):
            if table.name == name:
                yield from read_rows(table)


def raw_accounts(tables: Sequence[TableEntry]) -> list[AccountEntry]:
    """Accounts from the raw tables of an old `mysql` database; [] where `user` is not among them."""
    return statements_of({table.name: list(read_rows(table)) for table in tables if table.name in GRANT_TABLES})


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
        return in_new_words(creates[0])

    @property
    def info(self) -> TableFile:
        engine = _ENGINE.search(self.statement)
        name = engine.group(1) if engine else ""
        rows = self.directory / "rows"
        if name.lower() in EXTERNAL_ENGINES:
            return TableFile(engine=name, data="external", rows=0)
        if not rows.is_file():
            return TableFile(engine=name, rows=0)
        with open(rows, "rb") as file:
            count, block = 0, b"\n"
            while more := file.read(1 << 20):
                count, block = count + more.count(b"\n"), more
            count += not block.endswith(b"\n")
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


def in_new_words(statement: str) -> str:
    """A CREATE TABLE statement of MySQL 5.0 or before, as later servers understand it."""
    statement = _TYPE.sub(r"\1 ENGINE=\2", statement)
    first = _WIDTH.search(statement)

    def plain(match: re.Match[str]) -> str:
        # The first one of a table was always that of the last change.
        is_first = first is not None and match.start() == first.start()
        moment = "CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP" if is_first else "'0000-00-00 00:00:00'"
        return f"{match.group(1)} NOT NULL DEFAULT {moment}" if match.group(2) else match.group(1)

    return _WIDTH.sub(plain, statement)


def statements(text: str, delimiter: str) -> list[str]:
    """The statements of a small script: `delimiter` ends one at a line's end. Comments between them are dropped."""
    found: list[str] = []
    current: list[str] = []
    for line in text.split("\n"):
        if line.upper().startswith("DELIMITER") or (line.startswith("--") and not "".join(current).strip()):
            continue
        stripped = line.rstrip()
        if stripped.endswith(delimiter):
            found.append("\n".join([*current, stripped.removesuffix(delimiter)]).strip())
            current = []
        else:
            current.append(line)
    found.append("\n".join(current).strip())
    return [each for each in found if each]


def unwrapped(statement: str) -> str:
    """A statement out of its versioned comments (`/*!50001 … */`)."""
    text = statement.strip()
    parts, at, depth = [], 0, 0
    for token in _COMMENTS.finditer(text):
        if token["open"]:
            parts.append(text[at : token.start()])
            depth += 1
        elif token["close"] and depth:
            parts.append(text[at : token.start()].rstrip())
            depth -= 1
        else:
            continue
        at = token.end()
    return "".join([*parts, text[at:]]).strip()


def settings_in(text: str) -> Iterator[tuple[str, str]]:
    """Session settings that a script makes."""
    for match in _SETTINGS.finditer(text):
        value = match.group(2).strip("'\"")
        if not value.startswith("@"):
            yield match.group(1).lower(), value
