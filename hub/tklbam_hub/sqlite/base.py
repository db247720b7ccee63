"""Django's SQLite engine for a server of many threads and processes, the same on Django 4.2 and 5.2."""

from __future__ import annotations

import sqlite3
from typing import Any

from django.db.backends.sqlite3.base import DatabaseWrapper as SqliteWrapper

# How long a request waits for another's write before it fails; a write here takes milliseconds.
PATIENCE = 30.0


class DatabaseWrapper(SqliteWrapper):
    def get_connection_params(self) -> dict[str, Any]:
        return {"timeout": PATIENCE, **super().get_connection_params()}

    def get_new_connection(self, conn_params: dict[str, Any]) -> sqlite3.Connection:
        connection: sqlite3.Connection = super().get_new_connection(conn_params)
        connection.execute("PRAGMA journal_mode = WAL")
        # A key packet that was accepted is on the disk.
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    def _start_transaction_under_autocommit(self) -> None:
        # A transaction that reads first and locks later fails at once when another wrote in between; one that locks at
        # its start waits its turn.
        self.cursor().execute("BEGIN IMMEDIATE")
