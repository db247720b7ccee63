"""Every form of an S3 address leads where it always did, and duplicity is told the same place without any secret."""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from tklbam_core.api import EngineAddress, TargetError, TargetRequest
from tklbam_storage_s3.address import Place, parse
from tklbam_storage_s3.credentials import read_keys
from tklbam_storage_s3.plugin import S3Storage
from tklbam_storage_s3.settings import read_settings

from .conftest import opened

KEYS = {"access-key": "AKIAEXAMPLE", "secret-key": "the/secret+key"}


def place(address: str, environment: Mapping[str, str] | None = None, **options: str) -> Place:
    return parse(address, read_settings(_named(options)), environment or {})


def engine(address: str, given: Mapping[str, str] = KEYS, **options: str) -> EngineAddress:
    return opened(address, _named(options), given).engine()


def _named(options: Mapping[str, str]) -> dict[str, str]:
    return {f"s3-{key.replace('_', '-')}": value for key, value in options.items()}


def config(address: EngineAddress) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser()
    parser.read_string(address.files["aws-config"].decode() + address.files["aws-credentials"].decode())
    return parser


@pytest.mark.parametrize(
    ("address", "endpoint", "region", "bucket", "prefix"),
    [
        ("s3://bucket/prefix", None, None, "bucket", "prefix/"),
        ("s3://bucket", None, None, "bucket", ""),
        ("S3://bucket/", None, None, "bucket", ""),
        ("s3://bucket//a//b/", None, None, "bucket", "a/b/"),
        ("s3+http://bucket/prefix", None, None, "bucket", "prefix/"),
        ("s3+http://bucket.with.dots/prefix", None, None, "bucket.with.dots", "prefix/"),
        ("boto3+s3://bucket/prefix", None, None, "bucket", "prefix/"),
        ("s3://s3.amazonaws.com/bucket/prefix", None, None, "bucket", "prefix/"),
        ("s3://s3.eu-central-1.amazonaws.com/bucket/a/b", None, "eu-central-1", "bucket", "a/b/"),
        ("s3://s3-eu-west-1.amazonaws.com/bucket", None, "eu-west-1", "bucket", ""),
        ("s3://s3.cn-north-1.amazonaws.com.cn/bucket", None, "cn-north-1", "bucket", ""),
        ("s3://storage.example.org/bucket/prefix", "https://storage.example.org", None, "bucket", "prefix/"),
        ("s3://storage.example.org:9000/bucket", "https://storage.example.org:9000", None, "bucket", ""),
        ("s3://nas:9000/bucket/prefix", "https://nas:9000", None, "bucket", "prefix/"),
        ("s3://nas:80/bucket", "http://nas:80", None, "bucket", ""),
        ("s3://localhost/bucket", "https://localhost", None, "bucket", ""),
        ("s3://[::1]:9000/bucket", "https://[::1]:9000", None, "bucket", ""),
        ("s3://bucket/my%20prefix/%C3%BC", None, None, "bucket", "my prefix/ü/"),
    ],
)
def test_addresses(address: str, endpoint: str | None, region: str | None, bucket: str, prefix: str) -> None:
    found = place(address)
    assert (found.endpoint, found.region, found.bucket, found.prefix) == (endpoint, region, bucket, prefix)
    assert found.address == address


def test_configuration_and_environment_name_what_the_address_does_not() -> None:
    minio = {"AWS_ENDPOINT_URL": "http://minio:9000", "AWS_DEFAULT_REGION": "eu-west-3"}
    assert place("s3://bucket/x", minio).endpoint == "http://minio:9000"
    assert place("s3://bucket/x", minio).region == "eu-west-3"
    assert place("s3://bucket/x", minio, region="here").region == "here"
    assert place("s3://bucket/x", minio, endpoint="https://other/s3").endpoint == "https://other/s3"
    assert place("s3://bucket/x", {**minio, "AWS_ENDPOINT_URL_S3": "https://s3.lan"}).endpoint == "https://s3.lan"
    # The host in the address wins, and only its own scheme is looked up.
    assert place("s3://minio:9000/bucket", minio).endpoint == "http://minio:9000"
    assert place("s3://minio:9001/bucket", minio).endpoint == "https://minio:9001"
    assert place("s3://minio:9001/bucket", tls="no").endpoint == "http://minio:9001"
    assert place("s3://bucket", endpoint="minio:9000").endpoint == "https://minio:9000"


@pytest.mark.parametrize(
    "address",
    [
        "s3:bucket",
        "s3://",
        "s3:///prefix/",
        "s3://storage.example.org",
        "s3://bucket/../other",
        "s3://bucket/a%0Ab",
        "s3://b",
        "s3://-bad-/x",
        "s3://host:port/bucket",
        "s3://KEY@host.example/bucket",
    ],
)
def test_an_address_that_makes_no_sense_is_an_error_with_a_remedy(address: str) -> None:
    with pytest.raises(TargetError) as caught:
        opened(address)
    assert caught.value.remedy


def test_other_addresses_are_not_ours() -> None:
    for address in ("file:///srv", "s3x://bucket", "sftp://host/x", "", "bucket"):
        assert S3Storage().tklbam_storage_target(TargetRequest(address=address)) is None


def test_the_plugin_is_found_by_each_of_its_schemes() -> None:
    points = [point for point in entry_points(group="tklbam.storage") if point.load() is S3Storage]
    assert {point.name for point in points} == {"s3", "s3+http", "boto3+s3"}
    (info,) = S3Storage().tklbam_storage_schemes()
    assert all(opened(form.replace("[:port]", ".lan")).address for form in info.forms)
    for option in info.options:
        with pytest.raises(TargetError, match=option.key):
            read_settings({option.key: ""})


@pytest.mark.parametrize("address", ["s3://KEY:se%2FZq9x@host.lan/bucket/x", "s3://KEY:se%2FZq9x@bucket/x"])
def test_a_password_in_the_address_is_used_and_never_shown(address: str) -> None:
    target = opened(address)
    assert target.address == address.replace(":se%2FZq9x", "")
    told = target.engine()
    assert config(told)["of-this-run"]["aws_secret_access_key"] == "se/Zq9x"
    assert all("Zq9x" not in word for word in (told.url, *told.options))


def test_an_access_key_in_the_address_goes_with_a_secret_from_elsewhere() -> None:
    for given in ({"password": "S"}, {"secret-key": "S"}, {"access-key": "KEY", "secret-key": "S"}):
        own = config(opened("s3://KEY@host.lan/bucket", {}, given).engine())["of-this-run"]
        assert (own["aws_access_key_id"], own["aws_secret_access_key"]) == ("KEY", "S")
    for given in ({}, {"access-key": "OTHER", "secret-key": "S"}):
        with pytest.raises(TargetError, match="no secret-key") as caught:
            opened("s3://KEY@host.lan/bucket", {}, given)
        assert caught.value.remedy


def test_duplicity_is_told_the_same_place() -> None:
    told = engine("s3://storage.example.org:9000/bucket/my prefix", region="eu-west-1")
    assert told.url == "boto3+s3://bucket/my%20prefix"
    words = " ".join(told.options)
    assert "--s3-endpoint-url https://storage.example.org:9000" in words
    assert "--s3-region-name eu-west-1" in words
    profile = config(told)["profile of-this-run"]
    assert profile["s3"].split() == ["addressing_style", "=", "path"]
    assert told.environment["AWS_REQUEST_CHECKSUM_CALCULATION"] == "when_required"
    amazon = engine("s3://bucket")
    assert amazon.url == "boto3+s3://bucket"
    assert "--s3-endpoint-url" not in amazon.options
    assert "s3" not in config(amazon)["profile of-this-run"]
    assert "AWS_REQUEST_CHECKSUM_CALCULATION" not in amazon.environment


def test_storage_class_and_encryption_reach_duplicity() -> None:
    told = engine(
        "s3://bucket", storage_class="standard_ia", server_side_encryption="aws:kms", kms_key_id="alias/backups"
    )
    words = " ".join(told.options)
    assert "--s3-use-ia" in words
    assert "--s3-use-server-side-kms-encryption --s3-kms-key-id alias/backups" in words
    assert "--s3-use-server-side-encryption" in engine("s3://bucket", server_side_encryption="aes256").options
    for mistake in ({"storage_class": "INTELLIGENT_TIERING"}, {"kms_key_id": "x"}, {"adressing": "path"}):
        with pytest.raises(TargetError) as caught:
            engine("s3://bucket", **mistake)
        assert caught.value.remedy


def test_secrets_are_in_private_files_alone() -> None:
    told = engine("s3://bucket", {**KEYS, "session-token": "the-token"})
    profile = config(told)["of-this-run"]
    assert profile["aws_secret_access_key"] == KEYS["secret-key"]
    assert profile["aws_session_token"] == "the-token"
    assert told.environment["AWS_CONFIG_FILE"] == "{files}/aws-config"
    for text in (told.url, *told.options, *told.environment.values(), repr(told)):
        assert KEYS["secret-key"] not in text
        assert "the-token" not in text


def test_the_environment_of_this_process_does_not_override_other_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ANOTHER")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    told = engine("s3://bucket")
    assert (told.environment["AWS_ACCESS_KEY_ID"], told.environment["AWS_SECRET_ACCESS_KEY"]) == ("", "")
    own = config(opened("s3://bucket").engine())["of-this-run"]
    assert (own["aws_access_key_id"], own["aws_secret_access_key"]) == ("ANOTHER", "another")


def test_credentials_of_aws_files_are_found_by_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "credentials"
    file.write_text("[backups]\naws_access_key_id = AKIAFILE\naws_secret_access_key = of-the-file\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    own = config(opened("s3://bucket", {"s3-profile": "backups"}).engine())["of-this-run"]
    assert own["aws_secret_access_key"] == "of-the-file"
    with pytest.raises(TargetError, match="profile nobody"):
        opened("s3://bucket", {"s3-profile": "nobody"}).engine()
    with pytest.raises(TargetError, match="no credentials") as caught:
        opened("s3://bucket").engine()
    assert "AWS_ACCESS_KEY_ID" in caught.value.remedy


def test_the_credentials_of_every_kind_of_hub_account_are_understood() -> None:
    role = {"type": "iamrole", "accesskey": "A", "secretkey": "S", "sessiontoken": "T"}
    keys = read_keys({**role, "expiration": "2026-11-25T17:00:00Z"}, "s3://b")
    assert keys is not None
    assert (keys.access_key, keys.secret_key, keys.token) == ("A", "S", "T")
    assert keys.expires == datetime(2026, 11, 25, 17, tzinfo=UTC)
    user = read_keys({**role, "type": "iamuser"}, "s3://b")
    assert user is not None
    assert user.expires is None
    pay = read_keys(
        {"type": "devpay", "accesskey": "A", "secretkey": "S", "usertoken": "U", "producttoken": "P"}, "s3://b"
    )
    assert pay is not None
    assert pay.token == "U,P"
    assert read_keys({}, "s3://b") is None
    for wrong in ({"accesskey": "A"}, {**role, "expiration": "soon"}, {"accesskey": "A\nb", "secretkey": "S"}):
        with pytest.raises(TargetError) as caught:
            read_keys(wrong, "s3://b")
        assert caught.value.remedy


def test_credentials_that_expire_are_asked_for_and_not_handed_over() -> None:
    expires = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    role = {"type": "iamrole", "accesskey": "A", "secretkey": "SECRET", "sessiontoken": "TOKEN", "expiration": expires}
    told = opened("s3://bucket", {}, role, lambda: role).engine()
    assert b"SECRET" not in b"".join(told.files.values())
    assert "ask.py" in config(told)["profile of-this-run"]["credential_process"]
    # With nobody to ask for others, these are all there are.
    assert b"SECRET" in b"".join(opened("s3://bucket", {}, role).engine().files.values())
