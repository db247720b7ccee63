"""The plugin: answers for `s3:`, `s3+http:` and `boto3+s3:` addresses."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec

from tklbam_core.api import SchemeInfo, Target, TargetError, TargetRequest, hookimpl

from .address import FORMS, parse, scheme_of
from .settings import OPTIONS, read_settings

CREDENTIALS = (
    "from a Hub, the credentials file (access-key, secret-key, session-token), the environment (AWS_ACCESS_KEY_ID…), "
    "~/.aws or the instance's role"
)


class S3Storage:
    """Storage in S3. boto3 is imported when a target is used, not before."""

    @hookimpl
    def tklbam_storage_target(self, request: TargetRequest) -> Target | None:
        """See address.py for the forms. Raises TargetError."""
        if scheme_of(request.address) is None:
            return None
        if find_spec("botocore") is None or find_spec("s3transfer") is None:
            raise TargetError("S3 needs boto3, which is not installed", "Install boto3 (Debian: python3-boto3).")
        from .target import S3Target

        settings = read_settings(request.options)
        place = parse(request.address, settings, os.environ)
        return S3Target(place, settings, request.credentials, request.renew, os.environ)

    @hookimpl
    def tklbam_storage_schemes(self) -> Sequence[SchemeInfo]:
        return [
            SchemeInfo(
                scheme="s3",
                what="S3: Amazon's, or a service with its protocol (Ceph, MinIO, Swift, …)",
                forms=FORMS,
                options=OPTIONS,
                credentials=CREDENTIALS,
                needs=("boto3, also for the Python that runs duplicity",),
                missing=() if find_spec("boto3") else ("boto3",),
            )
        ]
