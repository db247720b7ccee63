"""What a server lacks for a dumped database: said before anything is changed, or mapped with a warning."""

from __future__ import annotations

import sys
from collections.abc import Collection

from tklbam_core.api import DatabaseError

from . import toc, versions, without
from .connect import Server, connect
from .layout import StoredDatabase

GIVEN_UP = {"adminpack": 17, "old_snapshot": 17}
"""Extensions of functions alone that PostgreSQL itself brought along, and from which major version on it does not."""


def check(server: Server, stored: StoredDatabase, locale: str | None) -> list[str]:
    """Warnings about what will be different there. Raises DatabaseError for what can't be restored there."""
    version = toc.major(stored.toc.server_version)
    if version > server.major:
        raise DatabaseError(
            f"it was dumped from PostgreSQL {version}, and the server is PostgreSQL {server.major}",
            f"Install PostgreSQL {version} or newer.",
        )
    wanted = {stored.toc.text(entry.tag): entry for entry in stored.toc.of_kind("EXTENSION")}
    with connect(server) as connection:
        available = {row[0] for row in connection.execute("SELECT name FROM pg_available_extensions")}
    given_up = [name for name in wanted.keys() - available if server.major >= GIVEN_UP.get(name, sys.maxsize)]
    missing = sorted(wanted.keys() - available - set(given_up))
    if missing:
        raise DatabaseError(
            f"extension {', '.join(missing)} is not installed on the server",
            f"Install its package (often postgresql-{server.major}-{missing[0].replace('_', '-')} or "
            f"postgresql-contrib), then run the restore again. {without.hint(stored.toc, wanted[missing[0]])}",
        )
    warnings = versions.adapt(stored.toc, server.major)
    if given_up:
        stored.toc.entries = [entry for entry in stored.toc.entries if not _is_extension(stored.toc, entry, given_up)]
        warnings.append(f"PostgreSQL {server.major} has no extension {', '.join(sorted(given_up))}: left out")
    if locale is not None:
        warnings.append(f"its locale is {locale}, as asked for: text may sort in another order than before")
    subscriptions = [stored.toc.text(entry.tag) for entry in stored.toc.of_kind("SUBSCRIPTION")]
    if subscriptions:
        warnings.append(f"subscriptions are restored disabled: {', '.join(subscriptions)}")
    if stored.excluded:
        warnings.append(f"not in the backup, so empty: {', '.join(sorted(stored.excluded))}")
    return warnings


def _is_extension(contents: toc.Toc, entry: toc.Entry, names: Collection[str]) -> bool:
    name = contents.text(entry.tag)
    return (entry.kind == "EXTENSION" and name in names) or (
        entry.kind == "COMMENT" and name.removeprefix("EXTENSION ") in names
    )


def tablespaces(server: Server) -> frozenset[str]:
    with connect(server) as connection:
        return frozenset(row[0] for row in connection.execute("SELECT spcname FROM pg_tablespace"))


def use_default_tablespace(contents: toc.Toc, present: Collection[str]) -> list[str]:
    """Changes entries whose tablespace is not present to the default one; returns a warning for each that is not."""
    missing: dict[str, int] = {}
    for entry in contents.entries:
        name = contents.text(entry.tablespace)
        if name and name not in present:
            missing[name] = missing.get(name, 0) + 1
            entry.tablespace = b""
    return [
        f"tablespace {name} is not on the server: {count} tables and indexes are in the default one"
        for name, count in sorted(missing.items())
    ]


def collation_warnings(server: Server, stored: StoredDatabase, database: str) -> list[str]:
    """Whether text sorts by other rules here than where it was dumped (known from PostgreSQL 13 on)."""
    before = stored.collation.get("version")
    if before is None or server.version < 150000:
        return []
    with connect(server) as connection:
        row = connection.execute("SELECT datcollversion FROM pg_database WHERE datname = %s", (database,)).fetchone()
    now = row[0] if row else None
    if now is None or now == before:
        return []
    name = stored.collation.get("locale") or stored.collation.get("collate")
    return [
        f"its collation {name} is version {now} here and was {before}: text may sort "
        "differently (indexes are made anew; look at partitions by range of text and at CHECK constraints)"
    ]
