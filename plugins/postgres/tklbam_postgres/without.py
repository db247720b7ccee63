"""Objects that a restore leaves out because it was told to: what this server can't have keeps nothing else from it."""

from __future__ import annotations

from collections.abc import Collection

from tklbam_core.api import DatabaseError

from . import toc

WITH_ROWS = ("TABLE", "TABLE DATA", "SEQUENCE", "SEQUENCE SET", "BLOB", "BLOBS")


def leave_out(contents: toc.Toc, names: Collection[str]) -> tuple[set[str], list[str]]:
    """Takes out the entries called so (`view public.v`), and what needs them; returns which of the names were there,
    and a warning. Raises DatabaseError where a table would go with them.
    """
    called = {entry.dump_id: name for entry in contents.entries if (name := contents.name_of(entry)) in names}
    if not called:
        return set(), []
    gone = set(called)
    while True:
        more = {
            entry.dump_id
            for entry in contents.entries
            if entry.dump_id not in gone and any(int(each) in gone for each in entry.depends)
        }
        if not more:
            break
        gone |= more
    left_out = [entry for entry in contents.entries if entry.dump_id in gone]
    for entry in left_out:
        if entry.kind in WITH_ROWS:
            raise DatabaseError(
                f"{', '.join(called.values())} can't be left out, for {contents.name_of(entry)} would go with it",
                "Take it out of database-option pgsql:leave-out.",
            )
    contents.entries = [entry for entry in contents.entries if entry.dump_id not in gone]
    return set(called.values()), [f"left out, as asked for: {', '.join(map(contents.name_of, left_out))}"]


def hint(contents: toc.Toc, entry: toc.Entry | None) -> str:
    """How to do without something that could not be restored."""
    if entry is None or entry.kind in WITH_ROWS:
        return "See the server's log."
    return f"To restore without it: database-option pgsql:leave-out={contents.name_of(entry)}."
