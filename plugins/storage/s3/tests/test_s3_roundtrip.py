"""A system's life with its backups in S3, through the command: full, increment, restore, prune; no secret is seen."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from urllib.parse import quote

import pytest

from tests import swift as servers
from tests.argv import Seen, watched_arguments
from tests.e2e.machine import Done, Machine
from tests.e2e.small import conf, initialised, small_system
from tests.swift import Swift

from .conftest import Bucket, new_bucket

SECRET_IN_URL = quote(servers.SECRET, safe="")


@dataclass
class Story:
    """What happened: outputs in their order, and the names on the target after each backup."""

    bucket: Bucket
    first: Machine
    second: Machine
    big: bytes
    outputs: list[Done]
    stored: list[list[str]]
    arguments: Seen


@pytest.fixture(scope="module")
def story(swift: Swift, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Three backups of one system to a bucket that is not there at first, and a restore onto another after the second.

    The keys stand in the address, where they are most in danger of being shown.
    """
    base = tmp_path_factory.mktemp("story")
    bucket = new_bucket(swift)
    keys = f"{quote(servers.KEY, safe='')}:{SECRET_IN_URL}@"
    options = ("storage-option s3-tls=no", "volsize 1", "keep-full 1")
    first = initialised(base / "first")
    conf(first, f"address {bucket.address.replace('://', f'://{keys}')}", *options)
    first.write("/etc/tklbam/overrides", "/srv\n")
    big = secrets.token_bytes(2_500_000)
    first.write("/srv/big", big)
    first.write("/srv/text", "one\n")
    told = Story(bucket, first, small_system(base / "second"), big, [], [], Seen())

    def backup(*words: str) -> None:
        told.outputs.append(first.tklbam("backup", "--debug", *words))
        told.stored.append(sorted(file.name for file in bucket.target().files()))

    with watched_arguments() as told.arguments:
        backup("--s3-parallel-uploads", "2")
        first.write("/srv/text", "two\n")
        backup()
        first.tklbam("escrow", "--no-passphrase", str(base / "key"))
        conf(told.second, "storage-option s3-tls=no")
        told.second.environment = {"AWS_ACCESS_KEY_ID": servers.KEY, "AWS_SECRET_ACCESS_KEY": servers.SECRET}
        told.outputs.append(
            told.second.tklbam(
                "restore", "--debug", "--address", bucket.address, "--keyfile", str(base / "key"), "--noninteractive"
            )
        )
        first.write("/srv/text", "three\n")
        backup("--full-backup", "now")
    return told


def of(names: list[str], what: str) -> list[str]:
    return [name for name in names if name.startswith(what)]


def test_the_first_backup_makes_the_bucket_and_a_full_session(story: Story) -> None:
    names = story.stored[0]
    assert len(of(names, "duplicity-full.")) >= 4, "three volumes and a manifest"
    assert not of(names, "duplicity-inc")


def test_the_second_is_an_increment_on_it(story: Story) -> None:
    assert set(story.stored[0]) < set(story.stored[1])
    assert len(of(story.stored[1], "duplicity-inc.")) == 2, "a volume and a manifest"


def test_a_restore_elsewhere_brings_the_latest_state(story: Story) -> None:
    assert story.second.path("/srv/text").read_text() == "two\n"
    assert story.second.path("/srv/big").read_bytes() == story.big


def test_a_new_full_session_takes_the_place_of_the_old_chain(story: Story) -> None:
    assert not set(story.stored[1]) & set(story.stored[2])
    assert len([name for name in story.stored[2] if name.startswith("duplicity-full.") and "manifest" in name]) == 1
    assert not [key for key in story.bucket.stored() if "tklbam" in key], "something of a check stayed behind"


def test_no_secret_is_seen_in_arguments_outputs_or_logs(story: Story) -> None:
    assert story.arguments.holding("duplicity"), "the run was not watched"
    assert story.arguments.holding(story.bucket.name)
    assert not story.arguments.holding(servers.SECRET)
    for done in story.outputs:
        assert servers.SECRET not in done.out + done.err, done
    for machine in (story.first, story.second):
        for path in [path for path in machine.root.rglob("*") if path.is_file()]:
            if path != machine.path("/etc/tklbam/conf"):  # where the administrator wrote it
                assert servers.SECRET.encode() not in path.read_bytes(), path


def test_status_and_config_show_the_address_without_its_keys(story: Story) -> None:
    for command in ("status", "config"):
        said = story.first.tklbam(command)
        assert story.bucket.name in said.out
        assert servers.SECRET not in said.out + said.err
