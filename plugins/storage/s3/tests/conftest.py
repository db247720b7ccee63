"""What the S3 tests share: buckets on a real server, and targets opened as the core opens them."""

from __future__ import annotations

import functools
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests import swift as servers
from tests.swift import Swift
from tklbam_core.api import Target, TargetRequest
from tklbam_storage_s3.plugin import S3Storage

FIRST = {"access-key": servers.KEY, "secret-key": servers.SECRET}


def opened(
    address: str,
    options: Mapping[str, str] | None = None,
    credentials: Mapping[str, str] | None = None,
    renew: Callable[[], Mapping[str, str]] | None = None,
) -> Target:
    """The target at an address, by the plugin."""
    target = S3Storage().tklbam_storage_target(
        TargetRequest(address=address, credentials=credentials or {}, options=options or {}, renew=renew)
    )
    assert target is not None
    return target


@functools.cache
def client_of(endpoint: str) -> Any:
    """Made once: it takes a good part of a second."""
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=servers.KEY,
        aws_secret_access_key=servers.SECRET,
        region_name=servers.REGION,
    )


@dataclass
class Bucket:
    """A bucket of one's own on a server, not made yet. `credentials` are the first user's."""

    server: Swift
    name: str
    prefix: str = "web1"
    options: dict[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"s3://127.0.0.1:{self.server.port}/{self.name}/{self.prefix}"

    def target(
        self,
        credentials: Mapping[str, str] = FIRST,
        renew: Callable[[], Mapping[str, str]] | None = None,
        **options: str,
    ) -> Target:
        named = {f"s3-{key.replace('_', '-')}": value for key, value in options.items()}
        return opened(self.address, {"s3-tls": "no", **self.options, **named}, credentials, renew)

    @property
    def client(self) -> Any:
        """boto3's client of the same server, to look behind the plugin's back."""
        return client_of(self.server.endpoint)

    def stored(self) -> list[str]:
        return [each["Key"] for each in self.client.list_objects_v2(Bucket=self.name).get("Contents", [])]


def new_bucket(server: Swift) -> Bucket:
    return Bucket(server, f"bucket-{secrets.token_hex(6)}")


@pytest.fixture
def bucket(swift: Swift) -> Bucket:
    return new_bucket(swift)


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's AWS configuration may reach a test, and nobody asks for an instance's role."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent/config")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials")
