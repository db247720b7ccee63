"""Sizes that no client told are looked up: in a directory, and in a real S3 bucket."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests import swift as openstack
from tests.hub_client import HubClient
from tests.hub_server import HubServer


@pytest.fixture(scope="module")
def swift() -> Iterator[openstack.Swift]:
    with openstack.running() as server:
        yield server


def test_a_directory_is_measured(hub: HubServer, client: HubClient) -> None:
    place = Path(urlsplit(client.create()["address"]).path)
    untold = client.create()
    (place / "below").mkdir(parents=True)
    (place / "volume").write_bytes(b"x" * 1000)
    (place / "below" / "volume").write_bytes(b"x" * 234)
    (place / "link").symlink_to("/etc/passwd")
    client.put("record/update/", address=untold["address"], size=5)
    assert hub.command("measure", client.account.username) == (
        f"{client.account.username}\t1\t1234\n{client.account.username}\t2\t0\n"
    )
    assert [record["size"] for record in client.get("records/").json] == [1234, 0]
    assert hub.command("measure", client.account.username) == ""


def test_a_bucket_is_measured(hub: HubServer, make_client: Callable[..., HubClient], swift: openstack.Swift) -> None:
    import boto3

    from tklbam_hub.storage.models import Storage

    client = make_client()
    name = f"hub-{uuid.uuid4().hex[:10]}"
    Storage.objects.create(
        account=client.account,
        name="cloud",
        kind="s3",
        mode="static",
        address=f"s3://{name}/tklbam",
        is_default=True,
        s3_endpoint=swift.endpoint,
        region=openstack.REGION,
        access_key=openstack.KEY,
        secret_key=openstack.SECRET,
    )
    made, other = client.create(), client.create()
    s3 = boto3.client(
        "s3",
        endpoint_url=swift.endpoint,
        region_name=openstack.REGION,
        aws_access_key_id=openstack.KEY,
        aws_secret_access_key=openstack.SECRET,
    )
    s3.create_bucket(Bucket=name)
    prefix = made["address"].removeprefix(f"s3://{name}/")
    for key, content in {f"{prefix}/a": b"x" * 700, f"{prefix}/b": b"x" * 77, f"{prefix}0/c": b"another's"}.items():
        s3.put_object(Bucket=name, Key=key, Body=content)
    assert hub.command("measure", client.account.username) == f"{client.account.username}\t1\t777\n"
    assert client.get("record/1/").json["size"] == 777
    assert client.get(f"record/{other['backup_id']}/").json["size"] == 0


def test_what_only_clients_reach_is_left_as_they_said(hub: HubServer, make_client: Callable[..., HubClient]) -> None:
    from tklbam_hub.storage.models import Storage

    client = make_client()
    Storage.objects.create(account=client.account, name="away", address="sftp://host/backups", is_default=True)
    address = client.create()["address"]
    client.put("record/update/", address=address, size=99)
    assert hub.command("measure", client.account.username) == ""
    assert client.get("record/1/").json["size"] == 99


def test_places_are_changed_and_removed_unless_backups_are_there(
    hub: HubServer, make_client: Callable[..., HubClient]
) -> None:
    from tklbam_hub.audit.models import AuditEntry
    from tklbam_hub.storage.models import Storage

    client = make_client()
    owner = ("--account", client.account.username)
    hub.command(
        "storage", "add", "cloud", "s3://bucket", *owner, "--default", "--access-key", "A", input="old secret\n"
    )
    client.create()
    hub.command("storage", "add", "disk", "file:///srv/b", *owner)
    hub.command("storage", "set", "disk", *owner, "--default", "--price", "0.5")
    hub.command("storage", "set", "cloud", *owner, "--access-key", "B", "--no-delete", input="new secret\n")
    cloud, disk = client.account.storages.order_by("pk")
    assert (cloud.is_default, cloud.access_key, cloud.secret_key, cloud.may_delete) == (False, "B", "new secret", False)
    assert (disk.is_default, str(disk.price_per_gb_month)) == (True, "0.50000")
    assert not any("secret" in entry.detail for entry in AuditEntry.objects.filter(action__startswith="storage."))
    with pytest.raises(AssertionError, match="1 backups are in cloud: it stays"):
        hub.command("storage", "remove", "cloud", *owner)
    hub.command("storage", "remove", "disk", *owner)
    assert list(Storage.objects.filter(account=client.account)) == [cloud]
