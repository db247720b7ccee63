"""The S3 policy that opens some backups' prefixes and nothing else."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tklbam_hub.storage.models import Storage
from tklbam_hub.storage.places import account_prefix, bucket_of

READ = ("s3:GetObject", "s3:GetObjectVersion")
WRITE = ("s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")
DELETE = ("s3:DeleteObject",)


def for_addresses(storage: Storage, addresses: Sequence[str], *, writes: bool = True) -> str:
    """Opens the backups at these addresses. JSON."""
    return _policy(storage, [f"{bucket_of(address).prefix}/" for address in addresses], writes)


def for_account(storage: Storage, account_id: int, *, writes: bool = True) -> str:
    """Opens all backups of an account in this storage, those to come as well. JSON."""
    base = bucket_of(storage.address).prefix
    return _policy(storage, [f"{base}/{account_prefix(account_id)}".lstrip("/")], writes)


def _policy(storage: Storage, prefixes: Sequence[str], writes: bool) -> str:
    bucket = f"arn:{partition(storage.region)}:s3:::{bucket_of(storage.address).name}"
    actions = [*READ, *(WRITE if writes else ()), *(DELETE if writes and storage.may_delete else ())]
    # A listing may name the prefix with or without the slash at its end.
    listed = [pattern for prefix in prefixes for pattern in (prefix.rstrip("/"), f"{prefix}*") if pattern]
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "s3:GetBucketLocation", "Resource": bucket},
            {
                "Effect": "Allow",
                "Action": "s3:ListBucket",
                "Resource": bucket,
                # IfExists: to ask whether the bucket is there, as duplicity does, is this action without a prefix. So
                # names in the whole bucket can be listed; content is out of reach.
                "Condition": {"StringLikeIfExists": {"s3:prefix": listed}},
            },
            {"Effect": "Allow", "Action": actions, "Resource": [f"{bucket}/{prefix}*" for prefix in prefixes]},
        ],
    }
    return json.dumps(policy, separators=(",", ":"))


def partition(region: str) -> str:
    """The part of Amazon's cloud that names in a region begin with."""
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"
