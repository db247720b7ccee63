"""Names, statements and pg_dump's table of contents are read as what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tklbam_core.api import FormatError
from tklbam_postgres import names, sqltext, toc


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("orders", "orders"),
        (".hidden", "%2Ehidden"),
        ("..", "%2E."),
        ("a/b%c", "a%2Fb%25c"),
        ("tab\tnew\nline\x7f", "tab%09new%0Aline%7F"),
        ("Käufer", "Käufer"),
        ("bad\udce9byte", "bad%E9byte"),
    ],
)
def test_names_become_file_names(name: str, file: str) -> None:
    assert names.file_name(name) == file


def test_only_our_own_databases_are_temporary() -> None:
    assert names.is_temporary(names.temporary_database("old"))
    assert not any(map(names.is_temporary, ["tklbam_old", "tklbam_old_shop", "xtklbam_old_0123456789ab"]))


def test_statements_are_cut_at_semicolons_that_end_them() -> None:
    script = (
        "--\n-- a; comment\n--\n\\restrict abc;'\n\nCREATE ROLE \"a;b\";\nALTER ROLE x PASSWORD 'p;''q';\n"
        "COMMENT ON ROLE x IS E'it\\'s; fine';\nDO $f$ BEGIN; END; $f$;\n\\unrestrict abc\n"
    )
    assert list(sqltext.statements(script)) == [
        'CREATE ROLE "a;b"',
        "ALTER ROLE x PASSWORD 'p;''q'",
        "COMMENT ON ROLE x IS E'it\\'s; fine'",
        "DO $f$ BEGIN; END; $f$",
    ]


@pytest.mark.parametrize(
    ("statement", "name", "renamed"),
    [
        ("ALTER DATABASE shop SET a TO 'DATABASE shop'", "shop", "ALTER DATABASE \"n\" SET a TO 'DATABASE shop'"),
        (
            'ALTER ROLE "DATABASE x" IN DATABASE "sh""op" SET a',
            'sh"op',
            'ALTER ROLE "DATABASE x" IN DATABASE "n" SET a',
        ),
        ("REVOKE ALL ON DATABASE shop FROM PUBLIC", "shop", 'REVOKE ALL ON DATABASE "n" FROM PUBLIC'),
    ],
)
def test_a_statement_about_a_database_is_turned_to_another(statement: str, name: str, renamed: str) -> None:
    assert sqltext.rename_database(statement, name, '"n"') == renamed


def test_a_statement_about_another_database_is_not() -> None:
    with pytest.raises(ValueError, match="not about"):
        sqltext.rename_database("ALTER DATABASE shop SET a TO 1", "blog", '"n"')


def test_a_table_of_contents_is_written_as_it_was_read(cluster: Any, tmp_path: Path, everything: str) -> None:
    cluster.sql(everything)
    for format_, name in (("custom", "c"), ("tar", "t"), ("directory", "d")):
        place = cluster.base / name
        cluster.run("pg_dump", "--schema-only", f"--format={format_}", f"--file={place}", "--dbname=shop")
        if format_ == "directory":
            data = (place / "toc.dat").read_bytes()
            contents = toc.read(place / "toc.dat")
            assert toc.dump(contents) == data
            assert {entry.kind for entry in contents.entries} >= {
                "TABLE",
                "POLICY",
                "SUBSCRIPTION",
                "DATABASE PROPERTIES",
            }


@pytest.mark.parametrize("damage", [b"", b"PGDMX\1\16\0\4\10\3", b"PGDMP\1\16\0\4\10\3", b"PGDMP\1\143\0\4\10\3"])
def test_a_damaged_table_of_contents_is_refused(tmp_path: Path, damage: bytes) -> None:
    file = tmp_path / "toc.dat"
    file.write_bytes(damage)
    with pytest.raises(FormatError, match=r"toc\.dat"):
        toc.read(file)
