"""Procedures, functions and events out of the raw tables `proc` and `event` of an old server.

Their columns are what INFORMATION_SCHEMA.ROUTINES and EVENTS show, documented in the MySQL and MariaDB manuals; the
times of events are in UTC.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime

from .accounts import account_name
from .catalogue import Stored
from .names import literal, quote
from .v1_rows import Row

_UTF8 = ("utf8mb4", "utf8mb4_general_ci")
_ACCESS = {"NO_SQL": "NO SQL", "READS_SQL_DATA": "READS SQL DATA", "MODIFIES_SQL_DATA": "MODIFIES SQL DATA"}
_STATUS = {"DISABLED": "DISABLE", "SLAVESIDE_DISABLED": "DISABLE ON SLAVE"}


def routines_of(rows: Iterable[Row], database: str) -> list[Stored]:
    """The routines of one database; packages before their bodies."""
    found = [_routine(row) for row in rows if _text(row, "db") == database]
    return sorted(found, key=lambda each: (each.kind == "PACKAGE BODY", each.kind, each.name))


def events_of(rows: Iterable[Row], database: str) -> list[Stored]:
    return sorted((_event(row) for row in rows if _text(row, "db") == database), key=lambda each: each.name)


def _routine(row: Row) -> Stored:
    kind = _text(row, "type").upper()
    aggregate = "AGGREGATE " if _text(row, "aggregate") == "GROUP" else ""
    parts = [f"CREATE {_definer(row)}{aggregate}{kind} {quote(_text(row, 'name'))}"]
    if kind in ("PROCEDURE", "FUNCTION"):
        parts[0] += f"({_text(row, 'param_list')})"
    if kind == "FUNCTION":
        parts.append(f"RETURNS {_text(row, 'returns')}")
    if not kind.startswith("PACKAGE"):
        parts.append("DETERMINISTIC" if _text(row, "is_deterministic") == "YES" else "NOT DETERMINISTIC")
        parts.append(_ACCESS.get(_text(row, "sql_data_access"), "CONTAINS SQL"))
    parts.append(f"SQL SECURITY {_text(row, 'security_type') or 'DEFINER'}")
    return _stored(kind, row, [*parts, *_comment(row)])


def _event(row: Row) -> Stored:
    parts = [f"CREATE {_definer(row)}EVENT {quote(_text(row, 'name'))}"]
    if every := _text(row, "interval_value"):
        # Of a field such as DAY_HOUR, the value is a number of its smaller one.
        parts.append(f"ON SCHEDULE EVERY {every} {_text(row, 'interval_field').rpartition('_')[2]}")
        parts += [f"{word} {moment}" for word in ("STARTS", "ENDS") if (moment := _moment(_text(row, word.lower())))]
    else:
        parts.append(f"ON SCHEDULE AT {_moment(_text(row, 'execute_at'))}")
    parts.append(f"ON COMPLETION {'' if _text(row, 'on_completion') == 'PRESERVE' else 'NOT '}PRESERVE")
    parts.append(_STATUS.get(_text(row, "status"), "ENABLE"))
    stored = _stored("EVENT", row, [*parts, *_comment(row), "DO"])
    stored.settings["time_zone"] = _text(row, "time_zone") or "SYSTEM"
    return stored


def _moment(utc: str) -> str:
    """The moment as an expression that means the same in every time zone, "" for none."""
    if not re.match(r"[1-9]", utc):
        return ""
    return f"FROM_UNIXTIME({int(datetime.fromisoformat(utc).replace(tzinfo=UTC).timestamp())})"


def _stored(kind: str, row: Row, parts: list[str]) -> Stored:
    head, body = " ".join(parts), row["body"]
    client, collation = _text(row, "character_set_client") or _UTF8[0], _text(row, "collation_connection") or _UTF8[1]
    if not head.isascii() and not client.startswith("utf8") and row.get("body_utf8"):
        # Two character sets in one statement can't be sent.
        body, client = row["body_utf8"], _UTF8[0]
    settings = {
        "sql_mode": _text(row, "sql_mode"),
        "character_set_client": client,
        "collation_connection": collation,
    }
    if database_collation := _text(row, "db_collation"):
        settings["database_collation"] = database_collation
    return Stored(kind, _text(row, "name"), f"{head} {body.decode('utf-8', 'surrogateescape')}", settings)


def _definer(row: Row) -> str:
    user, _, host = _text(row, "definer").rpartition("@")
    return f"DEFINER={account_name(user, host, False)} " if host else ""


def _comment(row: Row) -> list[str]:
    comment = _text(row, "comment")
    return [f"COMMENT {literal(comment)}"] if comment else []


def _text(row: Row, column: str) -> str:
    return row.get(column, b"").decode("utf-8", "surrogateescape")
