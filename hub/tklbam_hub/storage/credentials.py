"""Credentials for storage: made for one backup where the client says which."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tklbam_hub.storage import policy
from tklbam_hub.storage.models import Storage

log = logging.getLogger(__name__)
# What an inline policy may hold of prefixes before Amazon calls it too large (2,048 characters).
MOST_PREFIXES = 12


class NoCredentials(Exception):
    """None can be had; says why, in words for the client's administrator."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What credentials are for: the backups at `addresses`, or all of the account's with `whole_account`.

    Without `writes` they can only be read.
    """

    account_id: int
    name: str
    addresses: Sequence[str] = ()
    whole_account: bool = False
    writes: bool = True


@dataclass(frozen=True, slots=True)
class Issued:
    """Credentials by the API's names: `kind` is its `type`, `fields` what goes with it."""

    kind: str
    fields: dict[str, str] = field(repr=False)


def nothing_needed() -> Issued:
    """A path needs no credentials, and classic clients know no type that says so: a user with empty keys."""
    return Issued("iamuser", {"accesskey": "", "secretkey": "", "sessiontoken": ""})


def static(access_key: str, secret_key: str) -> Issued:
    return Issued("iamuser", {"accesskey": access_key, "secretkey": secret_key, "sessiontoken": ""})


def temporary(storage: Storage, scope: Scope) -> Issued:
    """Asks the storage's STS for credentials that open the scope alone. Raises NoCredentials."""
    if not scope.whole_account and len(scope.addresses) > MOST_PREFIXES:
        raise NoCredentials("too many backups for one policy: say for which backup (backup_id)")
    text = (
        policy.for_account(storage, scope.account_id, writes=scope.writes)
        if scope.whole_account
        else policy.for_addresses(storage, scope.addresses, writes=scope.writes)
    )
    client, failures = _sts(storage)
    try:
        if storage.mode == Storage.Mode.FEDERATION:
            answer = client.get_federation_token(
                Name=scope.name[:32], Policy=text, DurationSeconds=storage.session_seconds
            )
        else:
            request: dict[str, Any] = {
                # S3 servers with an STS of their own (MinIO) want the fields and ignore what they say.
                "RoleArn": storage.role_arn or "arn:aws:iam::000000000000:role/tklbam",
                "RoleSessionName": scope.name[:64],
                "Policy": text,
                "DurationSeconds": storage.session_seconds,
            }
            if storage.external_id:
                request["ExternalId"] = storage.external_id
            answer = client.assume_role(**request)
    except failures as error:
        log.error("storage %s: no credentials: %s", storage.name, error)
        raise NoCredentials(f"the Hub's storage {storage.name} gives no credentials at the moment") from None
    made = answer["Credentials"]
    expiration: datetime = made["Expiration"]
    return Issued(
        "iamrole",
        {
            "accesskey": str(made["AccessKeyId"]),
            "secretkey": str(made["SecretAccessKey"]),
            "sessiontoken": str(made["SessionToken"]),
            "expiration": expiration.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        },
    )


def _sts(storage: Storage) -> tuple[Any, tuple[type[Exception], ...]]:
    """A client, and what its calls may raise. Without keys in the storage, boto3 finds the machine's own."""
    try:
        boto3 = importlib.import_module("boto3")
        botocore = importlib.import_module("botocore.exceptions")
        config = importlib.import_module("botocore.config")
    except ImportError:
        log.error("storage %s needs boto3: pip install tklbam-hub[s3]", storage.name)
        raise NoCredentials("the Hub lacks what it needs to make credentials; its log says more") from None
    client = boto3.client(
        "sts",
        region_name=storage.region or "us-east-1",
        endpoint_url=storage.sts_endpoint or None,
        aws_access_key_id=storage.access_key or None,
        aws_secret_access_key=storage.secret_key or None,
        config=config.Config(connect_timeout=5, read_timeout=15, retries={"max_attempts": 2}),
    )
    return client, (botocore.ClientError, botocore.BotoCoreError)
