"""What newer servers no longer have, or know by another signature: an archive is changed for them, or refused."""

from __future__ import annotations

import re
from dataclasses import replace

from tklbam_core.api import DatabaseError

from . import toc, without

COMPATIBLE_ARRAYS = 14
"""From here on array_append() and its like take `anycompatible`, and no operator is written behind its operand."""
WITHOUT_OIDS = 12
BY_ARRAY_FUNCTION = re.compile(
    rb"\b(?:SFUNC|MSFUNC|MINVFUNC|FUNCTION|PROCEDURE) = (?:pg_catalog\.)?array_(?:append|cat|prepend|remove|replace)\b"
)
ANY = re.compile(rb"(?<=[(, =])any(element|array)(?=[,)\n ;])")
POSTFIX = re.compile(rb"^CREATE OPERATOR (?!.*\bRIGHTARG = )", re.DOTALL)
ABOUT_OTHERS = ("COMMENT", "ACL", "SECURITY LABEL")


def adapt(contents: toc.Toc, server: int) -> list[str]:
    """Changes an older server's archive for one of major version `server`; returns a warning for what is otherwise.

    Raises DatabaseError for what can be neither made there nor left out.
    """
    source = toc.major(contents.server_version)
    warnings = []
    if source < COMPATIBLE_ARRAYS <= server:
        warnings += _leave_out_postfix_operators(contents, server)
        warnings += _use_compatible_arrays(contents, server)
    if source < WITHOUT_OIDS <= server:
        tables = [contents.name_of(entry) for entry in contents.of_kind("TABLE") if entry.with_oids == b"true"]
        if tables:
            warnings.append(f"PostgreSQL {server} has no hidden columns oid: left out of {', '.join(tables)}")
    return warnings


def _leave_out_postfix_operators(contents: toc.Toc, server: int) -> list[str]:
    gone = {entry.dump_id: entry for entry in contents.of_kind("OPERATOR") if POSTFIX.match(entry.sql)}
    name, kept = contents.name_of, []
    for entry in contents.entries:
        used = next((gone[int(each)] for each in entry.depends if int(each) in gone), None)
        if used is not None and entry.kind not in ABOUT_OTHERS:
            raise DatabaseError(
                f"{name(entry)} uses {name(used)}, which stands behind its operand: PostgreSQL {server} has no such",
                f"Write it with a function in the old server, and make a new backup. {without.hint(contents, entry)}",
            )
        if used is None and entry.dump_id not in gone:
            kept.append(entry)
    contents.entries = kept
    return [
        f"PostgreSQL {server} has no operators behind their operand: {name(entry)} is left out"
        for entry in gone.values()
    ]


def _use_compatible_arrays(contents: toc.Toc, server: int) -> list[str]:
    changed = {
        entry.dump_id: entry
        for entry in contents.of_kind("AGGREGATE", "OPERATOR")
        if BY_ARRAY_FUNCTION.search(entry.sql) and ANY.search(entry.sql)
    }

    def as_there(entry: toc.Entry) -> toc.Entry:
        if entry.dump_id in changed:
            drop = _compatible(entry.drop or b"")
            return replace(entry, tag=_compatible(entry.tag), definition=_compatible(entry.sql), drop=drop)
        if entry.kind in ABOUT_OTHERS and any(int(each) in changed for each in entry.depends):
            # A comment may say anything.
            head, is_, text = entry.sql.partition(b" IS ")
            return replace(entry, tag=_compatible(entry.tag), definition=_compatible(head) + is_ + text)
        return entry

    contents.entries = [as_there(entry) for entry in contents.entries]
    name = contents.name_of
    return [
        f"{name(entry)} takes anycompatible and anycompatiblearray, as array functions of PostgreSQL {server} do"
        for entry in changed.values()
    ]


def _compatible(sql: bytes) -> bytes:
    return ANY.sub(lambda match: b"anycompatible" if match[1] == b"element" else b"anycompatiblearray", sql)
