"""A restore test of a remote target believes the target alone, whatever is kept here, and leaves nothing."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import swift as servers
from tests.e2e.machine import Machine
from tests.e2e.small import conf, initialised
from tests.swift import Swift
from tests.unit.snapshots import snapshot

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def bucket() -> str:
    """Of this module's system alone: another may follow it on the same server, when tests move between processes."""
    return f"check-remote-{secrets.token_hex(6)}"


@pytest.fixture(scope="module")
def client(swift: Swift) -> Any:
    """To look behind the plugin's back."""
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=swift.endpoint,
        aws_access_key_id=servers.KEY,
        aws_secret_access_key=servers.SECRET,
        region_name=servers.REGION,
    )


@pytest.fixture(scope="module")
def made(swift: Swift, bucket: str, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A system with a full session of several volumes and two increments in S3."""
    system = initialised(tmp_path_factory.mktemp("remote") / "root")
    conf(system, f"address s3://127.0.0.1:{swift.port}/{bucket}/web1", "storage-option s3-tls=no", "volsize 1")
    fields = f"access-key = {servers.KEY}\nsecret-key = {servers.SECRET}\n"
    system.write("/etc/tklbam/credentials", f"[s3://127.0.0.1:{swift.port}]\n{fields}", 0o600)
    system.write("/etc/tklbam/overrides", "/srv\n")
    system.write("/srv/big", secrets.token_bytes(2_500_000))
    for number in range(3):
        system.write("/srv/changing", f"{number}\n" * 10_000)
        system.tklbam("backup", "--quiet")
    system.tklbam("restore", "--raw-download", str(system.path("/srv/fetched")))
    shutil.rmtree(system.path("/srv/fetched"))
    assert list(system.path("/var/cache/tklbam/restore").rglob("*.difftar.*"))
    return system


def outcome(made: Machine, temp: Path, status: int = 0) -> dict[str, Any]:
    """What a restore test finds; nothing that is kept here changes, and nothing is left."""
    kept = [made.path(place) for place in ("/var/cache/tklbam", "/var/lib/tklbam/cache")]
    before = [snapshot(place, times=False) for place in kept]
    made.environment = {"TMPDIR": str(temp)}
    (found,) = made.json("check", "--restore-test", status=status)["targets"]
    assert [snapshot(place, times=False) for place in kept] == before
    assert os.listdir(temp) == []
    test: dict[str, Any] = found["restore_test"]
    return test


def test_a_sound_chain_is_complete(made: Machine, tmp_path: Path) -> None:
    test = outcome(made, tmp_path)
    assert (test["outcome"], test["problems"]) == ("complete", [])
    assert test["compared"] == test["files"] > 4


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGE: dict[str, tuple[str, Callable[[bytes], bytes | None]]] = {
    "a byte of a volume": ("vol2.difftar", flipped),
    "a byte of a manifest": ("duplicity-full.*manifest", flipped),
    "a manifest that is cut": ("duplicity-inc.*manifest", lambda content: content[:-20]),
    "a volume that is gone": ("vol3.difftar", lambda _: None),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_there_is_found(made: Machine, client: Any, bucket: str, tmp_path: Path, what: str) -> None:
    pattern, harm = DAMAGE[what]
    listed = client.list_objects_v2(Bucket=bucket, Prefix="web1/")["Contents"]
    key = next(each["Key"] for each in listed if re.search(pattern, each["Key"]))
    content = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    harmed = harm(content)
    try:
        if harmed is None:
            client.delete_object(Bucket=bucket, Key=key)
        else:
            client.put_object(Bucket=bucket, Key=key, Body=harmed)
        test = outcome(made, tmp_path, status=1)
    finally:
        client.put_object(Bucket=bucket, Key=key, Body=content)
    assert test["outcome"] == "failed"
    (problem,) = test["problems"]
    assert ("volume 3 of" if harmed is None else key.rpartition("/")[2]) in problem
