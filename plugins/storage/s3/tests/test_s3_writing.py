"""How files go up: from several threads at once, small ones with one request, each with what the options say."""

from __future__ import annotations

import http.server
import io
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from tests import swift as servers
from tests.ports import free_port
from tests.proxy import Proxy, proxy
from tests.swift import Swift, session_token
from tklbam_core.api import Target, TargetError
from tklbam_core.engine.patience import Patience, patient

from .conftest import FIRST, Bucket, opened

VOLUME = "duplicity-full.20260101T000000Z.vol{}.difftar.gpg"
MANIFEST = "duplicity-full.20260101T000000Z.manifest.gpg"


@pytest.fixture
def between(swift: Swift) -> Iterator[Proxy]:
    with proxy(swift.port) as made:
        yield made


def write_at_once(target: Target, contents: dict[str, bytes]) -> None:
    """Each in a thread of its own, all beginning at the same time."""
    gate = threading.Barrier(len(contents))

    def write(name: str, content: bytes) -> None:
        gate.wait(30)
        target.write(name, io.BytesIO(content))

    with ThreadPoolExecutor(len(contents)) as threads:
        for each in [threads.submit(write, *item) for item in contents.items()]:
            each.result()


def test_several_threads_write_at_once_with_keys_that_are_renewed(bucket: Bucket) -> None:
    asked = []

    def fresh(seconds: float) -> dict[str, str]:
        expires = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
        keys = {"accesskey": servers.TEMPORARY, "secretkey": servers.TEMPORARY_SECRET}
        return {**keys, "sessiontoken": session_token(seconds), "expiration": expires}

    def renew() -> dict[str, str]:
        asked.append(1)
        time.sleep(0.2)  # long enough for the others to want some, too
        return fresh(900)

    bucket.target().check(write=True)
    # Nothing of it is made yet: neither session nor client nor credentials.
    target = bucket.target(fresh(0.5), renew, part_size="5")
    sizes = [11 << 20, 6 << 20, *range(1000, 1006)]
    contents = {VOLUME.format(number): os.urandom(size) for number, size in enumerate(sizes, 1)}
    write_at_once(target, contents)
    assert len(asked) == 1
    assert {file.name: file.size for file in target.files()} == {name: len(data) for name, data in contents.items()}
    for name, data in contents.items():
        with target.read(name) as stream:
            assert stream.read() == data


def test_a_small_file_goes_up_with_one_request(bucket: Bucket, swift: Swift) -> None:
    target = bucket.target(part_size="5")
    target.check(write=True)
    before = len(swift.log)
    target.write(MANIFEST, io.BytesIO(b"x" * ((5 << 20) - 1)))
    calls = [line for line in swift.log[before:].splitlines() if f"/{bucket.name}" in line and "127.0.0.1" in line]
    assert [call.split()[4] for call in calls] == ["PUT"]


def test_what_was_cut_begins_again_where_the_content_began(bucket: Bucket, between: Proxy) -> None:
    bucket.target().check(write=True)
    weak = opened(f"s3://127.0.0.1:{between.port}/{bucket.name}/web1", {"s3-tls": "no"}, FIRST)
    data = os.urandom(2_000_000)
    content = io.BytesIO(b"not of it" + data)
    content.seek(9)
    between.cut_after(500_000, 1_500_000)
    weak.write(MANIFEST, content)
    assert between.cuts_left == 0
    with bucket.target().read(MANIFEST) as stream:
        assert stream.read() == data


def test_a_service_that_is_away_for_long_is_worth_the_core_s_patience(bucket: Bucket, between: Proxy) -> None:
    bucket.target().check(write=True)
    address = f"s3://127.0.0.1:{between.port}/{bucket.name}/web1"
    weak = opened(address, {"s3-tls": "no", "network-retries": "0"}, FIRST)
    there, between.target = between.target, free_port()
    with pytest.raises(TargetError) as caught:
        weak.write(MANIFEST, io.BytesIO(b"x"))
    assert caught.value.transient

    def comes_back(_: float) -> None:
        between.target = there

    content = io.BytesIO(b"not of it" + b"content")
    content.seek(9)
    patient(weak, Patience(sleep=comes_back)).write(MANIFEST, content)
    with bucket.target().read(MANIFEST) as stream:
        assert stream.read() == b"content"


# --- what is sent with a file ----------------------------------------------------------------------------------------


class Recorder(http.server.BaseHTTPRequestHandler):
    """Takes everything, and keeps the headers by the file's name."""

    protocol_version = "HTTP/1.1"
    seen: dict[str, dict[str, str]]

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.seen[self.path.rpartition("/")[2]] = {name.lower(): value for name, value in self.headers.items()}
        self.send_response(200)
        self.send_header("ETag", '"0"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


def sent(**options: str) -> tuple[dict[str, str], dict[str, str]]:
    """The headers that come with a volume and with a manifest."""
    seen: dict[str, dict[str, str]] = {}
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Seeing", (Recorder,), {"seen": seen}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        named = {f"s3-{key.replace('_', '-')}": value for key, value in options.items()}
        target = opened(f"s3://127.0.0.1:{server.server_port}/bucket/web1", {"s3-tls": "no", **named}, FIRST)
        for name in (VOLUME.format(1), MANIFEST):
            target.write(name, io.BytesIO(b"content"))
    finally:
        server.shutdown()
        server.server_close()
    return seen[VOLUME.format(1)], seen[MANIFEST]


def test_an_archive_class_is_for_volumes_alone() -> None:
    volume, manifest = sent(storage_class="DEEP_ARCHIVE")
    assert volume["x-amz-storage-class"] == "DEEP_ARCHIVE"
    assert "x-amz-storage-class" not in manifest
    volume, manifest = sent(storage_class="STANDARD_IA")
    assert volume["x-amz-storage-class"] == manifest["x-amz-storage-class"] == "STANDARD_IA"


def test_encryption_and_its_key_go_with_every_file() -> None:
    for headers in sent(server_side_encryption="aws:kms", kms_key_id="alias/backups"):
        assert headers["x-amz-server-side-encryption"] == "aws:kms"
        assert headers["x-amz-server-side-encryption-aws-kms-key-id"] == "alias/backups"


def test_checksums_are_sent_where_object_lock_needs_them_and_not_to_old_servers() -> None:
    for headers in sent():
        assert not [name for name in headers if "checksum" in name]
    for headers in (*sent(append_only="yes"), *sent(checksums="always")):
        # boto3 before 1.36 has the older one.
        assert [name for name in headers if name.startswith("x-amz-checksum-") or name == "content-md5"]


def test_a_small_file_is_sent_without_asking_first() -> None:
    assert not [headers for headers in sent() if "expect" in headers]


def test_a_bandwidth_limit_holds_for_all_that_goes_up_and_comes_down(bucket: Bucket) -> None:
    target = opened(bucket.address, {"s3-tls": "no", **bucket.options, "bandwidth-limit": "400"}, FIRST)
    target.check(write=True)
    content = os.urandom(500 << 10)
    contents = {VOLUME.format(number): content for number in (1, 2)}
    began = time.monotonic()
    write_at_once(target, contents)
    sent = time.monotonic() - began
    with target.read(VOLUME.format(1)) as stream:
        assert stream.read() == content
    fetched = time.monotonic() - began - sent
    assert sent > 1.5, "1,000 KiB at 400 a second"
    assert fetched > 1.0, "500 KiB"
    with pytest.raises(TargetError, match="bandwidth-limit=slow"):
        opened(bucket.address, {"bandwidth-limit": "slow"}, FIRST)
