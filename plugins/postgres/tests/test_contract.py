"""The suite that every database plugin keeps, against a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from tklbam_core.testing.databases import FIRST, SECOND, DatabaseContract
from tklbam_postgres import plugin as postgres


class Server:
    """A cluster as the suite wants it."""

    engine = "pgsql"

    def __init__(self, cluster: Any) -> None:
        self.cluster = cluster

    @property
    def options(self) -> Mapping[str, str]:
        options: Mapping[str, str] = self.cluster.options
        return options

    def fill(self) -> None:
        self.cluster.sql(
            f"""
            CREATE DATABASE {FIRST};
            CREATE DATABASE {SECOND};
            \\connect {FIRST}
            CREATE TABLE items AS SELECT g AS id, md5(g::text) AS t FROM generate_series(1, 2000) g;
            CREATE TABLE notes AS SELECT 'a note' AS t;
            \\connect {SECOND}
            CREATE TABLE few AS SELECT g AS id FROM generate_series(1, 3) g;
            """
        )

    def change(self) -> None:
        self.cluster.sql("UPDATE items SET t = 'changed' WHERE id % 500 = 0", FIRST)

    def wipe(self) -> None:
        self.cluster.sql(f"DROP DATABASE IF EXISTS {FIRST}; DROP DATABASE IF EXISTS {SECOND}".replace("; ", ";\n"))

    def content(self) -> Mapping[str, Mapping[str, Any]]:
        there = self.cluster.databases()
        return {
            name: {table.removeprefix("public."): sum_ for table, sum_ in self.cluster.checksums(name).items()}
            for name in there
            if name in (FIRST, SECOND)
        }

    def stop(self) -> None:
        self.cluster.stop()

    def start(self) -> None:
        self.cluster.start()


class TestContract(DatabaseContract):
    @pytest.fixture
    def plugin(self) -> Any:
        return postgres

    @pytest.fixture
    def server(self, make_cluster: Callable[..., Any]) -> Iterator[Any]:
        with make_cluster() as cluster:
            yield Server(cluster)
