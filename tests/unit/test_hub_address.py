"""Addresses that a Hub gives: plain URLs pass; nothing leads onto this machine's disks, into a program's options, or
onto a terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from tklbam_core.api import HubError
from tklbam_core.hub_address import check_address

MOUNTED = (Path("/mnt/backup"),)


@pytest.mark.parametrize(
    "address",
    [
        "s3://bucket/prefix",
        "s3://s3-eu-west-1.amazonaws.com/bucket/a-b/7-x",
        "s3+http://bucket/prefix",
        "sftp://backup@storage.example.org:2222//srv/backups/7-ab",
        "rsync://[2001:db8::1]/srv",
        "webdavs://example.org/räume/7",
        "file:///mnt/backup",
        "file:///mnt/backup/7-ab",
        "file:///mnt/backup/with%20blank",
        "FILE:///mnt/backup/7",
    ],
)
def test_plain_addresses_pass(address: str) -> None:
    check_address(address, MOUNTED)


@pytest.mark.parametrize(
    "address",
    [
        "file:///etc",
        "FILE:///etc/cron.d",
        "file://localhost/etc",
        "file:///",
        "file:///mnt/backups",
        "file:///mnt/backup/../../etc",
        "file:///mnt/backup/%2e%2e/%2e%2e/etc",
        "file:///mnt/backup%2f..%2f..%2fetc",
        "file:///mnt",
        "file:////etc",
        "file:///mnt/backup/%0a",
        "file:etc",
    ],
)
def test_a_hub_chooses_no_directory_of_this_machine(address: str) -> None:
    with pytest.raises(HubError) as caught:
        check_address(address, MOUNTED)
    assert "Hub" in caught.value.what
    assert caught.value.remedy


@pytest.mark.parametrize("address", ["file:///mnt/backup/7", "file:///srv"])
def test_without_a_directory_in_the_configuration_there_is_none(address: str) -> None:
    with pytest.raises(HubError, match="does not allow") as caught:
        check_address(address, ())
    assert "hub-directory DIR" in caught.value.remedy


@pytest.mark.parametrize(
    "address",
    [
        "",
        "/etc/passwd",
        "--file-prefix=x",
        "-s3://bucket",
        "bucket",
        "://x",
        "s3:bucket",
        "s3://bucket/a b",
        "s3://bucket/\x1b[2J",
        "s3://bucket/\u202e7",
        "s3://bucket\n--encrypt-key=x",
        "s3://bucket/`id`",
        's3://bucket/"x"',
        "sftp://-oProxyCommand=id/x",
        "sftp://-oProxyCommand%3Did@host/x",
        "sftp://%2doProxyCommand=id/x",
        "sftp://host/-rf",
        "sftp://host/%2Drf",
        "s3://[bad/x",
        "rsync:///etc",
        "rclone://:local:/etc",
        "rclone://remote,type=local:/etc",
        "sftp://host;id/x",
        "sftp://$(id)/x",
        "s3://bucket/" + "x" * 5000,
    ],
)
def test_what_is_no_plain_url_is_refused_and_shown_harmlessly(address: str) -> None:
    with pytest.raises(HubError, match="is refused") as caught:
        check_address(address, MOUNTED)
    assert str(caught.value).replace("\n", "").isprintable()
    assert len(caught.value.what) < 500
