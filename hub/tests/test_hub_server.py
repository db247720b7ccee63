"""The server under way, on SQLite and PostgreSQL: a hundred clients at once, a stop during a request, a kill."""

from __future__ import annotations

import shutil
import signal
import socket
import sqlite3
import time
import urllib.error
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from plugins.postgres.tests.conftest import BINARIES, PgCluster
from tests.bench import hub as bench
from tests.hub_client import KEY_PACKET, HubClient
from tests.hub_server import HubServer, hub_server

CLIENTS = 100
# What a busy machine may add to the 200 ms that `python -m tests.bench hub` holds the server to.
MOST_MILLISECONDS = 1000


@pytest.fixture(scope="module")
def cluster() -> Iterator[PgCluster]:
    if not BINARIES.name:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with bench.postgresql() as server:
        yield server


@pytest.fixture(scope="module")
def on_postgresql(cluster: PgCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    url = f"postgresql://postgres@127.0.0.1:{cluster.port}/hub"
    with hub_server(tmp_path_factory.mktemp("postgresql"), url) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest) -> HubServer:
    made: HubServer = request.getfixturevalue("hub" if request.param == "sqlite" else "on_postgresql")
    return made


def linked(server: HubServer) -> HubClient:
    client = HubClient(server.api_url, server.api_key)
    client.link()
    return client


def test_a_hundred_clients_starting_at_once_are_all_served(server: HubServer) -> None:
    with ThreadPoolExecutor(CLIENTS) as pool:
        numbers = list(pool.map(lambda number: bench.start_backup(server, number), range(CLIENTS)))
    assert len(set(numbers)) == CLIENTS
    records = linked(server).get("records/").json
    stored = {record["server_id"]: record for record in records if record["server_id"].startswith("server-")}
    assert len(stored) == CLIENTS
    assert len({record["address"] for record in stored.values()}) == CLIENTS
    assert {record["size"] for record in stored.values()} == set(range(CLIENTS))
    assert "Traceback" not in server.log()


def test_ten_thousand_records_are_one_quick_list(on_postgresql: HubServer, cluster: PgCluster) -> None:
    client = linked(on_postgresql)
    made = client.create(server_id="one-of-many")
    bench.fill(cluster, made["backup_id"], bench.RECORDS)
    took = bench.at_the_server(client, rounds=5)
    assert min(passed for passed, _ in took) < MOST_MILLISECONDS, took


def test_the_operators_commands_see_what_is_there(on_postgresql: HubServer) -> None:
    server = on_postgresql
    assert server.command("user", "add", "bert", "--no-password", "--max-gb", "1.5") == "account bert\n"
    server.command("user", "set", "bert", "--email", "bert@example.org", "--overdue-after", "1")
    client = HubClient(server.api_url, server.command("key", "add", "bert", "web1").strip())
    client.link()
    address = client.create()["address"]
    client.put("record/1/inprogress/", bool=True)
    client.put("record/update/", address=address, size=1_500_000_000, outcome="incomplete")
    assert client.put("record/1/inprogress/", bool=True).error == (401, "BackupRecord.LimitExceeded")
    row = next(line for line in server.command("user", "list").splitlines() if line.startswith("bert\t"))
    assert row.split("\t") == ["bert", "bert@example.org", "user", "active", "subscribed", "1 backups", "1.50 GB"]
    (key,) = server.command("key", "list", "bert").splitlines()
    assert key.split("\t")[1:4] == ["bert", "web1", "active"]
    assert "failed\tbert\t#1 debian-12\n" in server.command("notify", "--dry-run")
    server.command("key", "revoke", key.split("\t")[0])
    assert client.get("records/").error == (400, "BackupAccount.InvalidSubKey")
    assert server.command("storage", "list").startswith("backups\tfile://")


def test_null_characters_never_reach_the_database(on_postgresql: HubServer) -> None:
    # SQLite would take them.
    client = linked(on_postgresql)
    answer = client.post("record/create/", key="k\0", turnkey_version="x")
    assert answer.error == (400, "Request.BadArgument")
    assert client.get("archive/", turnkey_version="\0").error == (400, "Request.BadArgument")


def test_a_database_that_is_gone_is_an_error_with_a_name(cluster: PgCluster, on_postgresql: HubServer) -> None:
    client = linked(on_postgresql)
    cluster.stop()
    try:
        answer = client.get("records/")
        assert answer.error == (503, "Hub.Unavailable")
        assert answer.headers["Retry-After"] == "60"
        assert HubClient(f"{on_postgresql.url}/").get("healthz").status == 503
    finally:
        cluster.start()
    assert client.get("records/").status == 200


def test_a_copy_of_a_running_hub_takes_its_place(hub: HubServer, tmp_path: Path) -> None:
    client = linked(hub)
    made = client.create()
    state, copy = hub.directory / "state", tmp_path / "state"
    copy.mkdir(mode=0o700)
    # What sqlite3's .backup does.
    with (
        closing(sqlite3.connect(state / "hub.sqlite3")) as running,
        closing(sqlite3.connect(copy / "hub.sqlite3")) as kept,
    ):
        running.backup(kept)
    for name in ("master-key", "secret-key"):
        shutil.copy(state / name, copy / name)
    with hub_server(tmp_path) as restored:
        moved = HubClient(restored.api_url, subkey=client.subkey)
        assert moved.get(f"record/{made['backup_id']}/").json == made
        restored.stop()
        # Without its master key a database is of no use to anybody.
        (copy / "master-key").write_text("another\n")
        restored.start()
        assert moved.get("records/").error == (400, "BackupAccount.InvalidSubKey")


def is_read(client: socket.socket) -> bool:
    """Whether all that was sent has been read, by a server on this machine."""
    ends = [f"0100007F:{port:04X}" for _, port in (client.getsockname(), client.getpeername())]
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    # What the one has still to send, and the other still to read.
    sent, read = (next(row[4].split(":") for row in rows if row[1:3] == each) for each in (ends, ends[::-1]))
    return int(sent[0], 16) == int(read[1], 16) == 0


def test_a_stop_lets_running_requests_end(tmp_path: Path) -> None:
    with hub_server(tmp_path) as server:
        client = linked(server)
        body = f"key={KEY_PACKET}&turnkey_version=debian-12".encode()
        head = (
            f"POST /api/backup/record/create/ HTTP/1.1\r\nHost: 127.0.0.1\r\nsubkey: {client.subkey}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        ).encode()
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as slow:
            slow.sendall(head + body[:10])
            while not is_read(slow):
                time.sleep(0.02)
            process = server.process
            assert process is not None
            process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            slow.sendall(body[10:])
            answer = b"".join(iter(lambda: slow.recv(4096), b""))
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert process.wait(60) == 0
        server.stop()

        # And nothing is lost when the server is killed.
        server.start()
        assert server.stop(signal.SIGKILL) != 0
        with pytest.raises(urllib.error.URLError, match="refused"):
            client.get("records/")
        server.start("--access-log")
        assert [record["key"] for record in client.get("records/").json] == [KEY_PACKET]

        # The API key stands in a query, and queries stay out of the log.
        client.link()
        server.stop()
        assert '"GET /api/backup/subkey/" 200' in server.log()
        for secret in (client.api_key, client.subkey):
            assert secret not in server.log()
