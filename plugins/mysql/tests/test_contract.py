"""The contract that every database plugin keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tklbam_core.testing.databases import FIRST, SECOND, DatabaseContract
from tklbam_mysql.plugin import MysqlPlugin


class ContractServer:
    """A real server as the suite wants it."""

    engine = "mysql"

    def __init__(self, real: Any) -> None:
        self._real = real

    @property
    def options(self) -> Mapping[str, str]:
        return self._real.options  # type: ignore[no-any-return]

    def fill(self) -> None:
        self._real.sql(f"""
            CREATE DATABASE {FIRST}; CREATE DATABASE {SECOND}; USE {FIRST};
            CREATE TABLE items (id int PRIMARY KEY, name varchar(50)); CREATE TABLE notes (id int, text text);
            INSERT INTO items SELECT seq, MD5(seq) FROM seq_1_to_2000; INSERT INTO notes VALUES (1,'a'),(2,'b');
            CREATE TABLE {SECOND}.few (id int); INSERT INTO {SECOND}.few VALUES (1),(2),(3);
        """)

    def change(self) -> None:
        self._real.sql(f"UPDATE {FIRST}.items SET name='changed' WHERE id IN (3, 700)")

    def wipe(self) -> None:
        self._real.sql(f"DROP DATABASE IF EXISTS {FIRST}; DROP DATABASE IF EXISTS {SECOND}")

    def content(self) -> Mapping[str, Mapping[str, Any]]:
        names = self._real.sql("SHOW DATABASES").split()
        return {name: self._real.checksums(name) for name in names if name in (FIRST, SECOND)}

    def stop(self) -> None:
        self._real.stop()

    def start(self) -> None:
        self._real.start()


class TestContract(DatabaseContract):
    @pytest.fixture
    def plugin(self) -> Any:
        return MysqlPlugin()

    @pytest.fixture
    def server(self, source: Any) -> ContractServer:
        return ContractServer(source)
