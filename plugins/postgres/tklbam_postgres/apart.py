"""What is set last, by a session of ours, and may be refused: security labels, and privileges on what the archive does
not make itself, such as functions of the server and of extensions, which another version may lack."""

from __future__ import annotations

from . import toc
from .connect import Server
from .databases import execute_inside
from .names import identifier
from .sqltext import rename_database, statements


def is_apart(entry: toc.Entry, made: frozenset[int]) -> bool:
    """`made` are the ids of all entries of the archive."""
    if entry.kind == "ACL" and not entry.tag.startswith(b"DATABASE "):
        return bool(entry.depends) and made.isdisjoint(map(int, entry.depends))
    return entry.kind == "SECURITY LABEL"


def apply(server: Server, contents: toc.Toc, name: str) -> list[str]:
    """Onto database `name`; returns warnings for what was refused. Raises DatabaseError where the server is gone.

    After its settings: a label's provider may be one that they load.
    """
    original = contents.text(contents.of_kind("DATABASE")[0].tag)
    made = contents.ids()
    todo: dict[str, list[str]] = {"ACL": [], "SECURITY LABEL": []}
    for entry in contents.entries:
        if is_apart(entry, made):
            if entry.namespace and not contents.of_kind("SEARCHPATH"):  # names without schemas, before 10.3
                todo[entry.kind].append(f"SET search_path TO {identifier(contents.text(entry.namespace))}, pg_catalog")
            for statement in statements(contents.text(entry.sql)):
                if entry.tag.startswith(b"DATABASE "):
                    statement = rename_database(statement, original, identifier(name))
                todo[entry.kind].append(statement)
    strings = "on" if contents.standard_strings else "off"
    warnings = execute_inside(server, name, todo["ACL"], standard_conforming_strings=strings)
    labels = [statement for statement in todo["SECURITY LABEL"] if not statement.startswith("SET ")]
    refused = execute_inside(server, name, todo["SECURITY LABEL"], standard_conforming_strings=strings)
    if refused:
        warnings.append(f"{len(refused)} of {len(labels)} security labels are {refused[0]}")
    return [warning.replace(identifier(name), identifier(original)) for warning in warnings]
