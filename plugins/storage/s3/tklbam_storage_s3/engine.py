"""The same place as duplicity is told it: URL and options that 0.8 and 3 understand, all else in private AWS files."""

from __future__ import annotations

from collections.abc import Mapping

from tklbam_core.api import EngineAddress

from .address import DEFAULT_REGION, Place
from .client import addressing, checksums
from .credentials import Keys
from .settings import STORAGE_CLASSES, Settings

PROFILE = "of-this-run"
MASKED = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
)
"""Variables that would win over the files. What they say is in the files where it counts."""
DEFAULT_KMS_KEY = "alias/aws/s3"


def engine_address(
    place: Place,
    settings: Settings,
    *,
    endpoint: str | None,
    region: str | None,
    keys: Keys | None,
    process: str | None,
    environment: Mapping[str, str],
) -> EngineAddress:
    """`keys` last as long as the run; where they don't, `process` is the command that hands out those of the moment."""
    options = ["--s3-region-name", region or DEFAULT_REGION]
    if endpoint:
        options += ["--s3-endpoint-url", endpoint]
    options += ["--s3-multipart-chunk-size", str(settings.part_size)]
    if settings.storage_class and STORAGE_CLASSES[settings.storage_class]:
        options.append(STORAGE_CLASSES[settings.storage_class])
    if settings.encryption == "AES256":
        options.append("--s3-use-server-side-encryption")
    elif settings.encryption == "aws:kms":
        options += ["--s3-use-server-side-kms-encryption", "--s3-kms-key-id", settings.kms_key_id or DEFAULT_KMS_KEY]
    files = {"aws-config": _config(place, settings, process), "aws-credentials": _credentials(keys)}
    variables = {
        "AWS_CONFIG_FILE": "{files}/aws-config",
        "AWS_SHARED_CREDENTIALS_FILE": "{files}/aws-credentials",
        "AWS_PROFILE": PROFILE,
        **{name: "" for name in MASKED if environment.get(name)},
    }
    if settings.ca_file is not None:
        variables["AWS_CA_BUNDLE"] = str(settings.ca_file)
    if checksums(place, settings) == "required":
        # Also in the environment, for what the administrator's shell may say would win over the file.
        variables["AWS_REQUEST_CHECKSUM_CALCULATION"] = "when_required"
        variables["AWS_RESPONSE_CHECKSUM_VALIDATION"] = "when_required"
    return EngineAddress(
        url=place.engine_url,
        options=tuple(options),
        environment=variables,
        files={name: text.encode() for name, text in files.items()},
    )


def _config(place: Place, settings: Settings, process: str | None) -> str:
    style = addressing(place, settings)
    lines = [
        f"[profile {PROFILE}]",
        "retry_mode = standard",
        f"max_attempts = {settings.attempts}",
        "tcp_keepalive = true",
        *([f"credential_process = {process}"] if process else []),
        *(["s3 =", f"  addressing_style = {style}"] if style else []),
    ]
    return "".join(f"{line}\n" for line in lines)


def _credentials(keys: Keys | None) -> str:
    if keys is None:
        return ""
    lines = [
        f"[{PROFILE}]",
        f"aws_access_key_id = {keys.access_key}",
        f"aws_secret_access_key = {keys.secret_key}",
        *([f"aws_session_token = {keys.token}"] if keys.token else []),
    ]
    return "".join(f"{line}\n" for line in lines)
