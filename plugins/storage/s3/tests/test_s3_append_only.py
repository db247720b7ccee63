"""A server that can add sessions and not destroy any, and an owner who prunes and mends from elsewhere."""

from __future__ import annotations

import secrets
from pathlib import Path

from tests import swift as servers
from tests.e2e.machine import Machine
from tests.e2e.small import conf, initialised
from tests.swift import Swift

from .conftest import Bucket, new_bucket


def system_with_a_bucket(swift: Swift, base: Path) -> tuple[Machine, Bucket]:
    bucket = new_bucket(swift)
    bucket.client.create_bucket(Bucket=bucket.name)
    made = initialised(base / "system")
    made.environment = {
        "AWS_ACCESS_KEY_ID": servers.APPENDER,
        "AWS_SECRET_ACCESS_KEY": servers.APPENDER_SECRET,
        "AWS_ENDPOINT_URL": swift.endpoint,
    }
    options = ("storage-option s3-append-only=yes", "keep-full 1", "volsize 1")
    conf(made, f"address s3://{bucket.name}/web1", *options)
    made.write("/etc/tklbam/overrides", "/srv\n")
    made.write("/srv/big", secrets.token_bytes(1_500_000))
    return made, bucket


def prune(bucket: Bucket, oldest_full: str) -> None:
    """As docs/s3.md says: a chain's files bear a time before the full session that follows it."""
    for key in bucket.stored():
        if "duplicity-" in key and key.split(".")[1] < oldest_full:
            bucket.client.delete_object(Bucket=bucket.name, Key=key)


def undo_the_intruder(bucket: Bucket, since: set[str]) -> None:
    """As docs/s3.md says: what was written since goes, version by version, and what was there before is current."""
    for each in bucket.client.list_object_versions(Bucket=bucket.name, Prefix="web1/")["Versions"]:
        if each["VersionId"] not in since:
            bucket.client.delete_object(Bucket=bucket.name, Key=each["Key"], VersionId=each["VersionId"])


def test_an_intruder_with_the_server_s_keys_can_add_and_destroy_nothing(swift: Swift, tmp_path: Path) -> None:
    system, bucket = system_with_a_bucket(swift, tmp_path)
    assert "does not keep old versions" in system.tklbam("backup").err
    first = {key for key in bucket.stored() if "duplicity-full" in key}
    bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    done = system.tklbam("backup", "--full-backup", "now")
    assert "old versions" not in done.err
    kept = {key for key in bucket.stored() if "duplicity-full" in key}
    assert first < kept, "keep-full deleted what is to be kept"

    versions = bucket.client.list_object_versions(Bucket=bucket.name, Prefix="web1/")["Versions"]
    before = {each["VersionId"] for each in versions}
    intruder = Bucket(swift, bucket.name).target(
        {"access-key": servers.APPENDER, "secret-key": servers.APPENDER_SECRET}
    )
    for file in list(intruder.files()):
        with open("/dev/null", "rb") as nothing:
            intruder.write(file.name, nothing)
    assert {file.size for file in intruder.files()} == {0}
    undo_the_intruder(bucket, before)
    system.tklbam("check", "--restore-test", "--quiet")

    (newest,) = {key.split(".")[1] for key in kept - first if key.endswith("manifest.gpg")}
    prune(bucket, newest)
    assert {key for key in bucket.stored() if "duplicity-full" in key} == kept - first
    done = system.tklbam("backup")
    assert "an incremental session" in done.err
