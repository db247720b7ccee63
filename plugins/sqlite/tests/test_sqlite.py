"""SQLite: the contract, and what is this engine's own."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tklbam_core.api import DatabaseError, DumpRequest, FormatError, Limits, RestoreRequest
from tklbam_core.testing.databases import FIRST, SECOND, DatabaseContract, DatabaseServer
from tklbam_sqlite import plugin as sqlite_plugin


class Files:
    """SQLite's "server": two files, which other connections have open."""

    engine = "sqlite"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()

    @property
    def options(self) -> Mapping[str, str]:
        return {"files": f"{self.directory}/*.db"}

    def execute(self, name: str, *statements: str) -> None:
        connection = sqlite3.connect(self.directory / f"{name}.db")
        with connection:
            for statement in statements:
                connection.execute(statement)
        connection.close()

    def fill(self) -> None:
        self.execute(
            FIRST,
            "pragma journal_mode = wal",
            "create table items (id integer primary key, name text, data blob)",
            "create table notes (id integer primary key, item references items)",
            "with recursive n(i) as (select 1 union all select i + 1 from n where i < 2000)"
            " insert into items select i, 'name ' || i, randomblob(20) from n",
            "insert into notes select id, id from items where id % 100 = 0",
            "create view named as select name from items",
        )
        self.execute(SECOND, "create table x (a)", "insert into x values (1), (2.5), (null), (x'00ff')")

    def change(self) -> None:
        self.execute(FIRST, "update items set name = 'changed' where id % 500 = 0")

    def wipe(self) -> None:
        for path in self.directory.iterdir():
            path.unlink()

    def content(self) -> Mapping[str, Mapping[str, Any]]:
        found = {}
        for path in sorted(self.directory.glob("*.db")):
            connection = sqlite3.connect(path)
            tables = [row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")]
            found[path.stem] = {table: connection.execute(f"select * from {table}").fetchall() for table in tables}
            connection.close()
        return found

    def stop(self) -> None:
        self.kept = (self.directory / f"{FIRST}.db").read_bytes()
        (self.directory / f"{FIRST}.db").write_bytes(b"not a database" * 100)

    def start(self) -> None:
        (self.directory / f"{FIRST}.db").write_bytes(self.kept)


class TestContract(DatabaseContract):
    @pytest.fixture
    def plugin(self) -> Any:
        return sqlite_plugin

    @pytest.fixture
    def server(self, tmp_path: Path) -> DatabaseServer:
        return Files(tmp_path / "databases")

    def test_no_server_is_looked_for_under_another_root(
        self, plugin: Any, server: DatabaseServer, tmp_path: Path
    ) -> None:
        """Files are not servers: those under another root are that root's own, when options name them."""
        server.fill()
        extras = tmp_path / "extras"
        extras.mkdir()
        request = DumpRequest(
            extras=extras, limits=Limits(), root=tmp_path, options={"files": f"/databases/{FIRST}.db"}
        )
        assert plugin.tklbam_database_dump(request=request).databases[0].name == FIRST
        assert plugin.tklbam_database_dump(request=DumpRequest(extras=extras, limits=Limits(), root=tmp_path)) is None


@pytest.fixture
def files(tmp_path: Path) -> Files:
    made = Files(tmp_path / "databases")
    made.fill()
    return made


def dump(files: Files, extras: Path, /, **options: str) -> Any:
    extras.mkdir(exist_ok=True)
    return sqlite_plugin.tklbam_database_dump(
        request=DumpRequest(extras=extras, limits=Limits(), options={**files.options, **options})
    )


def test_a_copy_is_consistent_while_another_program_writes(files: Files, tmp_path: Path) -> None:
    writer = sqlite3.connect(files.directory / f"{FIRST}.db")
    writer.execute("begin immediate")
    writer.execute("delete from items")
    dump(files, tmp_path / "extras")
    writer.rollback()
    writer.close()
    copied = sqlite3.connect(tmp_path / "extras/sqlitefs" / f"{FIRST}.sqlite")
    assert copied.execute("select count(*) from items").fetchone() == (2000,)
    copied.close()


def test_a_named_file_that_is_gone_is_an_error(files: Files, tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match=r"gone\.db"):
        dump(files, tmp_path / "extras", files="/srv/gone.db")


def test_files_of_the_same_name_are_called_by_their_paths(files: Files, tmp_path: Path) -> None:
    (files.directory / "sub").mkdir()
    files.execute(f"sub/{FIRST}", "create table t (a)")
    report = dump(files, tmp_path / "extras", files=f"{files.directory}/{FIRST}.db {files.directory}/sub/*.db")
    names = {database.name for database in report.databases}
    assert len(names) == 2
    assert all(name.endswith(f"{FIRST}.db") and ":" in name for name in names)


def test_a_damaged_dump_leaves_the_database_as_it_is(files: Files, tmp_path: Path) -> None:
    dump(files, tmp_path / "extras")
    before = files.content()
    copy = tmp_path / "extras/sqlitefs" / f"{FIRST}.sqlite"
    content = bytearray(copy.read_bytes())
    content[4096:8192] = b"\xff" * 4096
    copy.write_bytes(content)
    report = sqlite_plugin.tklbam_database_restore(
        request=RestoreRequest(extras=tmp_path / "extras", limits=Limits(), rollback=None)
    )
    assert report is not None
    assert [failure.database for failure in report.failures] == [FIRST]
    assert files.content() == before


def test_an_excluded_table_is_left_as_it_is_here(files: Files, tmp_path: Path) -> None:
    dump(files, tmp_path / "extras")
    files.change()
    here = files.content()[FIRST]["items"]
    sqlite_plugin.tklbam_database_restore(
        request=RestoreRequest(
            extras=tmp_path / "extras",
            limits=Limits.parse([f"-sqlite:{FIRST}/items"], "sqlite"),
            rollback=None,
        )
    )
    assert files.content()[FIRST]["items"] == here


def test_a_path_out_of_the_root_is_refused(files: Files, tmp_path: Path) -> None:
    dump(files, tmp_path / "extras")
    note = tmp_path / "extras/sqlitefs" / f"{FIRST}.json"
    note.write_text(note.read_text().replace(str(files.directory), "/../../etc"))
    with pytest.raises(FormatError, match=rf"{FIRST}\.json"):
        sqlite_plugin.tklbam_database_restore(
            request=RestoreRequest(extras=tmp_path / "extras", limits=Limits(), rollback=None)
        )
