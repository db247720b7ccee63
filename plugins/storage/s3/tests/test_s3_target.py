"""The S3 target against a real server: the contract, and what S3 adds to it."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests import swift as servers
from tests.proxy import Proxy, proxy, self_signed
from tests.swift import Swift, session_token
from tklbam_core.api import Target, TargetError
from tklbam_core.testing.storage import StorageContract
from tklbam_storage_s3 import check as module

from .conftest import FIRST, Bucket, opened

APPENDER = {"access-key": servers.APPENDER, "secret-key": servers.APPENDER_SECRET}
TEMPORARY = {"type": "iamrole", "accesskey": servers.TEMPORARY, "secretkey": servers.TEMPORARY_SECRET}
NAME = "duplicity-full.20260101T000000Z.vol1.difftar.gpg"


@pytest.fixture
def between(swift: Swift) -> Iterator[Proxy]:
    with proxy(swift.port) as made:
        yield made


class TestContract(StorageContract):
    @pytest.fixture
    def target(self, bucket: Bucket) -> Target:
        return bucket.target()


def test_a_bucket_that_is_not_there_is_made_by_who_writes_and_missed_by_who_reads(bucket: Bucket) -> None:
    with pytest.raises(TargetError, match=f"no bucket {bucket.name}") as caught:
        bucket.target().check(write=False)
    assert caught.value.remedy
    bucket.target().check(write=True)
    bucket.target().check(write=False)
    assert bucket.stored() == []


def test_a_backup_s_second_look_asks_nothing_again(bucket: Bucket, swift: Swift) -> None:
    target = bucket.target()
    target.check(write=True)
    before = len(swift.log)
    target.check(write=True)
    target.check(write=False)
    assert bucket.name not in swift.log[before:]


def test_other_folders_of_the_bucket_are_nobodys_business(bucket: Bucket) -> None:
    bucket.client.create_bucket(Bucket=bucket.name)
    for key in ("web1/file", "web1/below/file", "web10/file", "file", "web1/.tklbam-check"):
        bucket.client.put_object(Bucket=bucket.name, Key=key, Body=b"x")
    target = bucket.target()
    assert [file.name for file in target.files()] == ["file"]
    target.delete(["file"])
    assert "web10/file" in bucket.stored()
    bucket.prefix = ""
    assert [file.name for file in bucket.target().files()] == ["file"]


def test_many_files_are_deleted_in_few_calls_the_first_one_first(bucket: Bucket, swift: Swift) -> None:
    target = bucket.target()
    target.check(write=True)
    names = [f"n{number}" for number in range(12)]
    for name in names:
        bucket.client.put_object(Bucket=bucket.name, Key=f"web1/{name}", Body=b"")
    before = len(swift.log)
    target.delete([*names, "was-never-there"])
    assert bucket.stored() == []
    calls = [line for line in swift.log[before:].splitlines() if f"/{bucket.name}" in line and "127.0.0.1" in line]
    assert [call.split()[4] for call in calls if call.split()[4] in ("DELETE", "POST")] == ["DELETE", "POST"]


def test_large_files_go_up_in_parts(bucket: Bucket) -> None:
    target = bucket.target(part_size="5")
    target.check(write=True)
    content = os.urandom(11 << 20)
    target.write(NAME, io.BytesIO(content))
    assert bucket.client.head_object(Bucket=bucket.name, Key=f"web1/{NAME}")["ETag"].endswith('-3"')
    with target.read(NAME) as stream:
        assert stream.read() == content


def test_uploads_that_nobody_finished_are_cleared_a_day_later(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    target = bucket.target()
    target.check(write=True)
    for key in (f"web1/{NAME}", f"web2/{NAME}", "web1/somebody-elses"):
        bucket.client.create_multipart_upload(Bucket=bucket.name, Key=key)
    bucket.target().check(write=True)
    assert len(bucket.client.list_multipart_uploads(Bucket=bucket.name)["Uploads"]) == 3
    monkeypatch.setattr(module, "ABANDONED", timedelta(seconds=-10))
    target = bucket.target()
    target.check(write=True)
    left = bucket.client.list_multipart_uploads(Bucket=bucket.name)["Uploads"]
    assert [each["Key"] for each in left] == ["web1/somebody-elses", f"web2/{NAME}"]
    assert not target.cautions()


def test_a_read_that_is_cut_goes_on_from_where_it_was(bucket: Bucket, between: Proxy) -> None:
    target = bucket.target()
    target.check(write=True)
    content = os.urandom(6_000_000)
    target.write(NAME, io.BytesIO(content))
    weak = opened(f"s3://127.0.0.1:{between.port}/{bucket.name}/web1", {"s3-tls": "no", "network-retries": "3"}, FIRST)
    between.cut_after(1_000_000, 2_000_000)
    with weak.read(NAME) as stream:
        assert stream.read() == content
    assert between.cuts_left == 0
    assert between.passed < 2 * len(content), "what had arrived was fetched again"


def test_a_file_that_changes_while_it_is_read_is_an_error_not_a_mixture(bucket: Bucket, between: Proxy) -> None:
    target = bucket.target()
    target.check(write=True)
    target.write(NAME, io.BytesIO(b"a" * 4_000_000))
    weak = opened(f"s3://127.0.0.1:{between.port}/{bucket.name}/web1", {"s3-tls": "no"}, FIRST)
    between.rate = 1_000_000  # not all of it may have come when the connection is cut
    with weak.read(NAME) as stream:
        assert stream.read(1000) == b"a" * 1000
        target.write(NAME, io.BytesIO(b"b" * 4_000_000))
        between.cut()
        between.rate = None
        with pytest.raises(TargetError):
            stream.read()


def test_a_write_that_is_cut_is_sent_again(bucket: Bucket, between: Proxy) -> None:
    bucket.target().check(write=True)
    weak = opened(f"s3://127.0.0.1:{between.port}/{bucket.name}/web1", {"s3-tls": "no", "s3-part-size": "5"}, FIRST)
    content = os.urandom(12 << 20)
    between.cut_after(2_000_000, 4_000_000)
    weak.write(NAME, io.BytesIO(content))
    assert between.cuts_left == 0
    with bucket.target().read(NAME) as stream:
        assert stream.read() == content


def test_the_certificate_must_be_trusted(bucket: Bucket, swift: Swift, tmp_path: Path) -> None:
    certificate, context = self_signed(tmp_path)
    with proxy(swift.port, context) as secure:
        address = f"s3://127.0.0.1:{secure.port}/{bucket.name}/web1"
        with pytest.raises(TargetError, match="certificate") as caught:
            opened(address, {}, FIRST).check(write=True)
        assert "s3-ca-file" in caught.value.remedy
        target = opened(address, {"s3-ca-file": str(certificate)}, FIRST)
        target.check(write=True)
        assert target.engine().environment["AWS_CA_BUNDLE"] == str(certificate)
        for useless in (tmp_path / "nowhere", tmp_path / "key.pem"):
            with pytest.raises(TargetError, match="certificates") as caught:
                opened(address, {"s3-ca-file": str(useless)}, FIRST).check(write=True)
            assert "s3-ca-file" in caught.value.remedy


def test_the_clock_is_the_server_s(bucket: Bucket) -> None:
    target = bucket.target()
    target.check(write=True)
    clock = target.clock()
    assert clock is not None
    assert abs((clock - datetime.now(UTC)).total_seconds()) < 60


# --- append-only -----------------------------------------------------------------------------------------------------


def test_append_only_adds_and_never_deletes(bucket: Bucket) -> None:
    bucket.client.create_bucket(Bucket=bucket.name)
    bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    target = bucket.target(APPENDER, append_only="yes")
    assert target.keeps_everything
    target.check(write=True)
    assert target.cautions() == ()
    target.write(NAME, io.BytesIO(b"content"))
    assert [file.name for file in target.files()] == [NAME], "the trial object shows"
    with pytest.raises(TargetError, match="append-only"):
        target.delete([NAME])
    with pytest.raises(TargetError, match="denied"):
        bucket.target(APPENDER).delete([NAME])
    assert f"web1/{NAME}" in bucket.stored()
    # Whoever overwrites it leaves the version that was there before.
    target.write(NAME, io.BytesIO(b"ransom"))
    versions = bucket.client.list_object_versions(Bucket=bucket.name, Prefix=f"web1/{NAME}")["Versions"]
    assert len(versions) == 2


def test_an_append_only_bucket_that_guards_nothing_is_warned_of_and_left_as_it_was(bucket: Bucket) -> None:
    bucket.client.create_bucket(Bucket=bucket.name)
    target = bucket.target(append_only="yes")
    target.check(write=True)
    said = "\n".join(target.cautions())
    assert "versioning" in said
    assert "DeleteObjectVersion" in said
    bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    target = bucket.target(append_only="yes")
    target.check(write=True)
    (left,) = target.cautions()
    assert "DeleteObjectVersion" in left
    listed = bucket.client.list_object_versions(Bucket=bucket.name)
    assert {each["Key"] for each in listed["Versions"]} == {"web1/.tklbam-check"}
    assert "DeleteMarkers" not in listed, "trying whether a deletion is allowed left a mark"


def test_an_append_only_bucket_is_not_made_by_the_one_who_is_guarded_against(bucket: Bucket) -> None:
    with pytest.raises(TargetError, match="no bucket"):
        bucket.target(append_only="yes").check(write=True)
    assert bucket.name not in [each["Name"] for each in bucket.client.list_buckets()["Buckets"]]


# --- credentials -----------------------------------------------------------------------------------------------------


def temporary(seconds: float) -> dict[str, str]:
    """Keys that the server takes for so long."""
    expires = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
    return {**TEMPORARY, "sessiontoken": session_token(seconds), "expiration": expires}


def test_temporary_keys_are_renewed_before_they_expire(bucket: Bucket) -> None:
    asked = []

    def renew() -> dict[str, str]:
        asked.append(1)
        return temporary(5)

    bucket.target().check(write=True)
    target = bucket.target(temporary(0.5), renew)
    target.write("one", io.BytesIO(b"1"))
    time.sleep(5.5)
    target.write("two", io.BytesIO(b"2"))
    assert len(asked) >= 2
    assert sorted(file.name for file in target.files()) == ["one", "two"]


def test_keys_that_last_a_quarter_of_an_hour_are_not_asked_for_with_every_request(bucket: Bucket) -> None:
    asked = []

    def renew() -> dict[str, str]:
        asked.append(1)
        return temporary(900)

    bucket.target().check(write=True)
    target = bucket.target(temporary(500), renew)
    for _ in range(5):
        list(target.files())
    assert len(asked) == 1


def test_a_policy_under_which_duplicity_would_fail_is_told_before_it_runs(bucket: Bucket) -> None:
    bucket.target().check(write=True)
    narrow = bucket.target({"access-key": servers.NARROW, "secret-key": servers.NARROW_SECRET})
    assert list(narrow.files()) == []
    with pytest.raises(TargetError, match="itself may not be asked for") as caught:
        narrow.check(write=True)
    assert "s3:prefix" in caught.value.remedy


def test_expired_keys_are_told_apart_from_wrong_ones(bucket: Bucket) -> None:
    bucket.target().check(write=True)
    cases = {
        "expired": bucket.target(temporary(-5)),
        "no fresh ones were handed out": bucket.target(temporary(-5), lambda: temporary(-5)),
        "does not fit": bucket.target({**FIRST, "secret-key": "wrong"}),
    }
    for words, target in cases.items():
        with pytest.raises(TargetError, match=words) as caught:
            target.check(write=False)
        assert caught.value.remedy
        assert servers.SECRET not in str(caught.value)
