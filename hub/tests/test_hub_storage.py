"""Credentials open one backup and no other, and say so to STS in a policy."""

from __future__ import annotations

import fnmatch
import json
import secrets
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qsl

import pytest

pytestmark = pytest.mark.usefixtures("rollback")
Issue = Callable[..., tuple[Any, dict[str, Any]]]


@pytest.fixture
def bucket() -> Any:
    from tklbam_hub.storage.models import Storage

    return Storage.objects.create(
        name="cloud",
        kind="s3",
        address="s3://attic/tklbam",
        region="eu-west-1",
        role_arn="arn:aws:iam::123456789012:role/backups",
        external_id="ours",
        access_key="AKIAHUB",
        secret_key="hub-secret",
    )


@pytest.fixture
def account(bucket: Any) -> Any:
    from tklbam_hub.accounts.models import Account
    from tklbam_hub.storage.models import Storage

    Storage.objects.filter(is_default=True).update(is_default=False)
    bucket.is_default = True
    bucket.save()
    return Account.objects.create(username="storage-test")


@pytest.fixture
def make_backup(account: Any) -> Callable[..., Any]:
    from tklbam_hub.accounts import keys
    from tklbam_hub.audit.log import OPERATOR
    from tklbam_hub.records import service

    def make(key: Any = None, **options: bool) -> tuple[Any, Any]:
        if key is None:
            key, _ = keys.create(account, "server", OPERATOR, **options)
        return key, service.create(key, OPERATOR, packet=secrets.token_hex(), profile_id="debian-12", server_id="")

    return make


class _Sts(BaseHTTPRequestHandler):
    """Speaks STS as it is on the wire; what it was asked for is kept, and everything is granted."""

    asked: ClassVar[list[dict[str, str]]] = []

    def do_POST(self) -> None:
        fields = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        assert "Credential=AKIAHUB/" in self.headers["Authorization"]
        self.asked.append(fields)
        action = fields["Action"]
        body = (
            f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result><Credentials>'
            "<AccessKeyId>ASIATEMPORARY0000</AccessKeyId><SecretAccessKey>temporary</SecretAccessKey>"
            "<SessionToken>token</SessionToken><Expiration>2026-01-01T12:00:00Z</Expiration>"
            f"</Credentials></{action}Result></{action}Response>"
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *words: object) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def asked(bucket: Any) -> Iterator[list[dict[str, str]]]:
    """What the storage's STS was asked for, over HTTP, by boto3 itself."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Sts) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        bucket.sts_endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        bucket.save()
        _Sts.asked.clear()
        yield _Sts.asked
        server.shutdown()
        thread.join()


def allows(policy: str, action: str, key: str, prefix: str | None = None) -> bool:
    """Whether a policy lets one do that to bucket/key (or list a prefix), by Amazon's rules for the parts we use."""
    for statement in json.loads(policy)["Statement"]:
        assert statement["Effect"] == "Allow"
        actions, resources = _list(statement["Action"]), _list(statement["Resource"])
        if not any(fnmatch.fnmatchcase(action, each) for each in actions):
            continue
        if not any(fnmatch.fnmatchcase(f"arn:aws:s3:::{key}", each) for each in resources):
            continue
        patterns = statement.get("Condition", {}).get("StringLikeIfExists", {}).get("s3:prefix")
        if patterns is None or prefix is None or any(fnmatch.fnmatchcase(prefix, each) for each in patterns):
            return True
    return False


def _list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def issue(key: Any, backup: Any = None) -> Any:
    from tklbam_hub.api import account

    return account.for_backup(key, backup) if backup else account.for_key(key)


def test_one_backups_credentials_open_no_other(make_backup: Callable[..., Any], asked: list[dict[str, str]]) -> None:
    key, mine = make_backup()
    _, other = make_backup(key)
    issued = issue(key, mine)
    assert (issued.kind, issued.fields["accesskey"]) == ("iamrole", "ASIATEMPORARY0000")
    assert issued.fields["expiration"] == "2026-01-01T12:00:00Z"
    (request,) = asked
    assert (request["RoleArn"], request["ExternalId"]) == ("arn:aws:iam::123456789012:role/backups", "ours")
    assert request["DurationSeconds"] == "3600"
    policy = request["Policy"]
    assert len(policy) < 2048
    own, foreign = (backup.address.removeprefix("s3://") for backup in (mine, other))
    for action in ("s3:GetObject", "s3:PutObject", "s3:DeleteObject"):
        assert allows(policy, action, f"{own}/duplicity-full.vol1.gpg")
        assert not allows(policy, action, f"{foreign}/duplicity-full.vol1.gpg")
        assert not allows(policy, action, f"{own}0/x"), "a longer name is another backup's"
        assert not allows(policy, action, "attic/tklbam/x")
    prefix = own.removeprefix("attic/")
    assert allows(policy, "s3:ListBucket", "attic", f"{prefix}/")
    assert allows(policy, "s3:ListBucket", "attic", prefix)
    for outside in (foreign.removeprefix("attic/"), "", "tklbam/", f"{prefix}0"):
        assert not allows(policy, "s3:ListBucket", "attic", outside), outside
    assert allows(policy, "s3:ListBucket", "attic"), "HeadBucket, which duplicity begins with, names no prefix"


def test_classic_clients_get_their_account_alone(make_backup: Callable[..., Any], asked: list[dict[str, str]]) -> None:
    key, mine = make_backup()
    issue(key)
    policy = asked[0]["Policy"]
    assert allows(policy, "s3:PutObject", f"{mine.address.removeprefix('s3://')}/x")
    assert allows(policy, "s3:PutObject", f"attic/tklbam/{key.account_id}-99-new/x")
    assert not allows(policy, "s3:PutObject", f"attic/tklbam/{key.account_id}0-1-other/x")
    assert not allows(policy, "s3:ListBucket", "attic", "tklbam/")


def test_classic_clients_of_a_restricted_key_get_its_backups_alone(
    make_backup: Callable[..., Any], asked: list[dict[str, str]]
) -> None:
    key, mine = make_backup(own_records_only=True)
    _, other = make_backup()
    issue(key)
    policy = asked[0]["Policy"]
    assert allows(policy, "s3:GetObject", f"{mine.address.removeprefix('s3://')}/x")
    assert not allows(policy, "s3:GetObject", f"{other.address.removeprefix('s3://')}/x")


def test_where_the_operator_wants_it_a_backup_must_be_named(
    make_backup: Callable[..., Any], bucket: Any, asked: list[dict[str, str]]
) -> None:
    from tklbam_hub.api.errors import ApiError

    bucket.account_wide = False
    bucket.save()
    key, mine = make_backup()
    issue(key)
    assert allows(asked[0]["Policy"], "s3:GetObject", f"{mine.address.removeprefix('s3://')}/x")
    assert not allows(asked[0]["Policy"], "s3:GetObject", f"attic/tklbam/{key.account_id}-99-new/x")
    make_backup(key)
    with pytest.raises(ApiError, match=r"Request\.MissingArgument: backup_id"):
        issue(key)


def test_without_subscription_credentials_only_read(
    make_backup: Callable[..., Any], account: Any, asked: list[dict[str, str]]
) -> None:
    key, mine = make_backup()
    account.subscribed = False
    account.save()
    key.refresh_from_db()
    issue(key, mine)
    own = mine.address.removeprefix("s3://")
    assert allows(asked[0]["Policy"], "s3:GetObject", f"{own}/x")
    for action in ("s3:PutObject", "s3:DeleteObject"):
        assert not allows(asked[0]["Policy"], action, f"{own}/x")


def test_storage_where_nothing_is_destroyed(
    make_backup: Callable[..., Any], bucket: Any, asked: list[dict[str, str]]
) -> None:
    bucket.may_delete = False
    bucket.save()
    key, mine = make_backup()
    issue(key, mine)
    own = mine.address.removeprefix("s3://")
    assert allows(asked[0]["Policy"], "s3:PutObject", f"{own}/x")
    assert not allows(asked[0]["Policy"], "s3:DeleteObject", f"{own}/x")


def test_federation_asks_another_way(make_backup: Callable[..., Any], bucket: Any, asked: list[dict[str, str]]) -> None:
    bucket.mode = "federation"
    bucket.save()
    key, mine = make_backup()
    issue(key, mine)
    assert asked[0]["Action"] == "GetFederationToken"
    assert 2 <= len(asked[0]["Name"]) <= 32


def test_keys_made_by_hand_go_to_their_backup_alone(make_backup: Callable[..., Any], bucket: Any) -> None:
    from tklbam_hub.storage.credentials import NoCredentials

    bucket.mode = "static"
    bucket.save()
    key, mine = make_backup()
    _, other = make_backup(key)
    mine.storage_access_key, mine.storage_secret_key = "AKIAMINE", "mine"
    mine.save()
    mine.refresh_from_db()
    assert issue(key, mine).fields == {"accesskey": "AKIAMINE", "secretkey": "mine", "sessiontoken": ""}
    with pytest.raises(NoCredentials, match="no keys yet"):
        issue(key, other)


def test_sts_out_of_reach_is_an_error_with_a_name(make_backup: Callable[..., Any], bucket: Any) -> None:
    from tklbam_hub.storage.credentials import NoCredentials

    bucket.sts_endpoint = "http://127.0.0.1:1"
    bucket.save()
    key, mine = make_backup()
    with pytest.raises(NoCredentials, match="storage cloud gives no credentials"):
        issue(key, mine)


@pytest.mark.parametrize(
    ("address", "endpoint", "name", "prefix"),
    [
        ("s3://attic", "", "attic", ""),
        ("s3://attic/a/b/", "", "attic", "a/b"),
        ("s3://s3.example.org/attic/a", "s3.example.org", "attic", "a"),
        ("s3://localhost:9000/attic", "localhost:9000", "attic", ""),
        ("s3+http://attic/a", "", "attic", "a"),
    ],
)
def test_buckets_are_found_in_addresses(address: str, endpoint: str, name: str, prefix: str) -> None:
    from tklbam_hub.storage.places import Bucket, bucket_of

    assert bucket_of(address) == Bucket(endpoint, name, prefix)


@pytest.mark.parametrize(
    "address",
    [
        "/srv",
        "srv",
        "http://host/",
        "file://host/srv",
        "file:///",
        "sftp://u:secret@host/x",
        "s3://",
        "s3://a.b/",
        "ftp://h/?x",
    ],
)
def test_addresses_that_no_client_could_use_are_refused(address: str) -> None:
    from tklbam_hub.storage.places import BadAddress, check_address

    with pytest.raises(BadAddress):
        check_address(address)


def test_an_accounts_own_storage_comes_first(account: Any, bucket: Any) -> None:
    from tklbam_hub.audit.log import OPERATOR
    from tklbam_hub.storage import places, service
    from tklbam_hub.storage.models import Storage

    assert places.default_for(account) == bucket
    own = Storage(name="own", address="sftp://host/backups", account=account, is_default=True)
    service.add(own, OPERATOR)
    assert places.default_for(account) == own
    service.add(Storage(name="new", address="file:///srv/new", is_default=True), OPERATOR)
    assert places.default_for(account) == own
    bucket.refresh_from_db()
    assert not bucket.is_default
    first, second = (places.new_address(own, account.pk, 1) for _ in range(2))
    assert first != second
    assert first.startswith(f"sftp://host/backups/{account.pk}-1-")
