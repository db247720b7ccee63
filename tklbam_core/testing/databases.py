"""A contract suite for database plugins: what the core and the administrator rely on, run against a real server.

In a plugin's own tests:

    class TestContract(DatabaseContract):
        @pytest.fixture
        def plugin(self):
            return MyPlugin()

        @pytest.fixture
        def server(self, tmp_path):
            with my_server(tmp_path) as server:   # an object with the methods of DatabaseServer
                yield server

Each test then keeps one promise. An engine of which a promise can't hold overrides that test and says why.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest

from ..api import DatabaseError, DatabaseReport, DumpRequest, Limits, RestoreRequest, RollbackRequest


class DatabaseServer(Protocol):
    """A real server that a plugin's tests start, and what the suite asks of it."""

    engine: str
    """The plugin's entry-point name, the prefix of its limits."""

    @property
    def options(self) -> Mapping[str, str]:
        """What the administrator would write as `database-option ENGINE:KEY=VALUE` to reach this server."""
        ...

    def fill(self) -> None:
        """Makes two databases: FIRST, with the tables `items` (1,000 rows or more) and `notes` (some rows), and
        SECOND, with one table and a few rows."""
        ...

    def change(self) -> None:
        """Changes a few rows of FIRST's `items`."""
        ...

    def wipe(self) -> None:
        """Drops both databases, where they exist."""
        ...

    def content(self) -> Mapping[str, Mapping[str, Any]]:
        """All there is: database → table → something that is equal only when all rows are."""
        ...

    def stop(self) -> None:
        """Stops the server (or makes the data unreadable); `start` undoes it."""
        ...

    def start(self) -> None: ...


FIRST = "tklbam_first"
SECOND = "tklbam_second"


class DatabaseContract:
    """Inherit, give it the fixtures `plugin` and `server`."""

    @pytest.fixture
    def plugin(self) -> Any:
        raise NotImplementedError("a fixture `plugin` that returns the plugin's object")

    @pytest.fixture
    def server(self) -> DatabaseServer:
        raise NotImplementedError("a fixture `server` that yields a running, empty DatabaseServer")

    def dump(self, plugin: Any, server: DatabaseServer, extras: Path, *words: str) -> DatabaseReport:
        extras.mkdir(mode=0o700, exist_ok=True)
        report = plugin.tklbam_database_dump(
            request=DumpRequest(extras=extras, limits=Limits.parse(words, server.engine), options=server.options)
        )
        assert isinstance(report, DatabaseReport)
        return report

    def complaint(self, plugin: Any, server: DatabaseServer, extras: Path) -> str:
        """What a dump says of a server that can't be read, be it an error or failures in the report."""
        try:
            failures = self.dump(plugin, server, extras).failures
        except DatabaseError as error:
            return error.what
        return "; ".join(failure.reason for failure in failures)

    def restore(
        self,
        plugin: Any,
        server: DatabaseServer,
        extras: Path,
        *words: str,
        rollback: Path | None = None,
        simulate: bool = False,
    ) -> DatabaseReport | None:
        if rollback is not None:
            rollback.mkdir(mode=0o700)
        report = plugin.tklbam_database_restore(
            request=RestoreRequest(
                extras=extras,
                limits=Limits.parse(words, server.engine),
                rollback=rollback,
                options=server.options,
                simulate=simulate,
            )
        )
        assert report is None or isinstance(report, DatabaseReport)
        return report

    def test_what_is_dumped_is_what_is_restored(self, plugin: Any, server: DatabaseServer, tmp_path: Path) -> None:
        server.fill()
        before = server.content()
        report = self.dump(plugin, server, tmp_path / "extras")
        assert not report.failures
        assert {FIRST, SECOND} <= {database.name for database in report.databases}
        server.wipe()
        assert FIRST not in server.content()
        restored = self.restore(plugin, server, tmp_path / "extras")
        assert restored is not None
        assert not restored.failures
        assert server.content() == before

    def test_unchanged_data_gives_the_same_files(self, plugin: Any, server: DatabaseServer, tmp_path: Path) -> None:
        server.fill()
        self.dump(plugin, server, tmp_path / "one")
        self.dump(plugin, server, tmp_path / "two")
        assert files_of(tmp_path / "one") == files_of(tmp_path / "two")

    def test_the_dump_stays_in_its_own_directory(self, plugin: Any, server: DatabaseServer, tmp_path: Path) -> None:
        server.fill()
        report = self.dump(plugin, server, tmp_path / "extras")
        assert [path.name for path in (tmp_path / "extras").iterdir()] == [report.directory]

    def test_the_report_counts_what_was_dumped(self, plugin: Any, server: DatabaseServer, tmp_path: Path) -> None:
        server.fill()
        report = self.dump(plugin, server, tmp_path / "extras")
        first = next(database for database in report.databases if database.name == FIRST)
        assert first.tables >= 2
        assert first.size > 0
        assert first.rows is None or first.rows >= 1000

    def test_an_excluded_database_is_not_dumped(self, plugin: Any, server: DatabaseServer, tmp_path: Path) -> None:
        server.fill()
        report = self.dump(plugin, server, tmp_path / "extras", f"-{server.engine}:{SECOND}")
        names = {database.name for database in report.databases}
        assert FIRST in names
        assert SECOND not in names

    def test_an_excluded_table_keeps_its_schema_and_loses_its_rows(
        self, plugin: Any, server: DatabaseServer, tmp_path: Path
    ) -> None:
        server.fill()
        before = server.content()
        self.dump(plugin, server, tmp_path / "extras", f"-{server.engine}:{FIRST}/items")
        server.wipe()
        self.restore(plugin, server, tmp_path / "extras")
        after = server.content()
        assert set(after[FIRST]) == set(before[FIRST])
        assert after[FIRST]["notes"] == before[FIRST]["notes"]
        assert after[FIRST]["items"] != before[FIRST]["items"]

    def test_a_restore_takes_only_what_its_limits_name(
        self, plugin: Any, server: DatabaseServer, tmp_path: Path
    ) -> None:
        server.fill()
        before = server.content()
        self.dump(plugin, server, tmp_path / "extras")
        server.wipe()
        self.restore(plugin, server, tmp_path / "extras", f"{server.engine}:{SECOND}")
        after = server.content()
        assert after[SECOND] == before[SECOND]
        assert FIRST not in after

    def test_a_limit_that_matches_nothing_is_a_warning(
        self, plugin: Any, server: DatabaseServer, tmp_path: Path
    ) -> None:
        server.fill()
        report = self.dump(plugin, server, tmp_path / "extras", f"-{server.engine}:no_such_database")
        warnings = [*report.warnings, *(text for database in report.databases for text in database.warnings)]
        assert any("no_such_database" in warning for warning in warnings)

    def test_a_stopped_server_is_an_error_that_says_so(
        self, plugin: Any, server: DatabaseServer, tmp_path: Path
    ) -> None:
        server.fill()
        server.stop()
        try:
            assert self.complaint(plugin, server, tmp_path / "extras"), "it was passed over in silence"
        finally:
            server.start()

    def test_a_simulated_restore_changes_nothing(self, plugin: Any, server: DatabaseServer, tmp_path: Path) -> None:
        server.fill()
        self.dump(plugin, server, tmp_path / "extras")
        server.change()
        before = server.content()
        report = self.restore(plugin, server, tmp_path / "extras", simulate=True)
        assert report is not None
        assert FIRST in {database.name for database in report.databases}
        assert server.content() == before

    def test_a_rollback_puts_back_what_the_restore_replaced(
        self, plugin: Any, server: DatabaseServer, tmp_path: Path
    ) -> None:
        server.fill()
        self.dump(plugin, server, tmp_path / "extras")
        server.change()
        before = server.content()
        self.restore(plugin, server, tmp_path / "extras", rollback=tmp_path / "rollback")
        assert server.content() != before
        request = RollbackRequest(rollback=tmp_path / "rollback", options=server.options)
        plugin.tklbam_database_rollback(request=request)
        assert server.content() == before
        plugin.tklbam_database_rollback(request=request)
        assert server.content() == before

    def test_a_rollback_removes_what_was_not_there(self, plugin: Any, server: DatabaseServer, tmp_path: Path) -> None:
        server.fill()
        self.dump(plugin, server, tmp_path / "extras")
        server.wipe()
        before = server.content()
        self.restore(plugin, server, tmp_path / "extras", rollback=tmp_path / "rollback")
        plugin.tklbam_database_rollback(request=RollbackRequest(rollback=tmp_path / "rollback", options=server.options))
        assert server.content() == before

    def test_extras_with_nothing_of_the_engine_are_passed_over(
        self, plugin: Any, server: DatabaseServer, tmp_path: Path
    ) -> None:
        extras = tmp_path / "extras"
        extras.mkdir()
        (extras / "another-engines-directory").mkdir()
        assert self.restore(plugin, server, extras) is None

    def test_no_server_is_looked_for_under_another_root(
        self, plugin: Any, server: DatabaseServer, tmp_path: Path
    ) -> None:
        root = tmp_path / "root"
        root.mkdir()
        request = DumpRequest(extras=tmp_path, limits=Limits(), root=root)
        assert plugin.tklbam_database_dump(request=request) is None


def files_of(directory: Path) -> dict[str, str]:
    """Relative path → SHA-256 of every file below a directory."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }
