"""The Hub on PostgreSQL: a list of ten thousand records, and a hundred clients that start at once.

`python -m tests.bench hub`. A database server and a Hub of its own are started and removed.
"""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from plugins.postgres.tests.conftest import BINARIES, PgCluster, scratch_directory
from tests.hub_client import HubClient
from tests.hub_server import HubServer, hub_server

ROUNDS = 15
RECORDS, CLIENTS = 10_000, 100
MOST_MILLISECONDS = 200
COLUMNS = (
    "account_id, api_key_id, storage_id, profile_id, server_id, created_at, updated_at, size, in_progress,"
    " last_outcome, chain_increments, verified, muted, storage_access_key, storage_secret_key"
)


@contextmanager
def postgresql() -> Iterator[PgCluster]:
    """A server with an empty database `hub`, open to this machine alone."""
    template, place = scratch_directory(), scratch_directory()
    try:
        if os.geteuid() == 0:
            shutil.chown(template, "postgres")
        words = [*(str(BINARIES / "initdb"), "-N", "-D", str(template / "data"), "-U", "postgres", "--locale=C.UTF-8")]
        trust = ["--auth-local=trust", "--auth-host=trust"]
        subprocess.run(PgCluster.as_owner([*words, *trust]), check=True, capture_output=True, cwd="/")
        server = PgCluster(place, template / "data")
        try:
            server.start()
            server.sql("CREATE DATABASE hub")
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(template)
        shutil.rmtree(place)


def fill(cluster: PgCluster, number: str, records: int) -> None:
    """Makes `records` more of the first account's backup with that number, each with a key packet of its own."""
    cluster.sql(
        f"INSERT INTO records_backuprecord (number, address, label, key, {COLUMNS}) SELECT 100000 + g, address || g,"
        f" 'label ' || g, repeat(md5(g::text), 9), {COLUMNS} FROM records_backuprecord, generate_series(1, {records}) g"
        f" WHERE number = {number} AND account_id = 1",
        "hub",
    )


def at_the_server(client: HubClient, rounds: int) -> list[tuple[float, float]]:
    """Milliseconds that the server took, and worked, for each of several lists, as it says itself."""
    took = []
    for _ in range(rounds):
        answer = client.get("records/")
        assert len(answer.json) >= RECORDS
        passed, worked = re.findall(r"dur=([\d.]+)", answer.headers["Server-Timing"])
        took.append((float(passed), float(worked)))
    return took


def start_backup(server: HubServer, number: int) -> str:
    """As `tklbam init` and the beginning of a first backup; returns the backup's id."""
    client = HubClient(server.api_url, server.api_key)
    client.link()
    assert client.get("credentials/").status == 200
    made = client.create(server_id=f"server-{number}")
    assert client.put(f"record/{made['backup_id']}/inprogress/", bool=True).status == 200
    assert client.put("record/update/", address=made["address"], kind="full", size=number).status == 200
    return str(made["backup_id"])


def run() -> None:
    with tempfile.TemporaryDirectory() as directory, postgresql() as cluster:
        url = f"postgresql://postgres@127.0.0.1:{cluster.port}/hub"
        with hub_server(Path(directory), url) as server:
            began = time.perf_counter()
            with ThreadPoolExecutor(CLIENTS) as pool:
                numbers = list(pool.map(lambda number: start_backup(server, number), range(CLIENTS)))
            assert len(set(numbers)) == CLIENTS
            print(f"{CLIENTS} clients start a backup at once: all served, {time.perf_counter() - began:.1f} s in all")
            fill(cluster, numbers[0], RECORDS)
            client = HubClient(server.api_url, server.api_key)
            client.link()
            took = at_the_server(client, ROUNDS)
            middle, work = (statistics.median(column) for column in zip(*took, strict=True))
            verdict = "ok" if middle < MOST_MILLISECONDS else "TOO SLOW"
            print(
                f"{RECORDS:,} records in one list, at the server: median {middle:.0f} ms, of it {work:.0f} ms work"
                f" (allowed {MOST_MILLISECONDS} ms): {verdict}"
            )


if __name__ == "__main__":
    run()
