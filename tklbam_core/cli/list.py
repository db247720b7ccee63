"""`tklbam list`"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from ..api.errors import ConfigError, KeyPacketError, UsageError
from ..host import Host
from .common import Output, common_options, printable

if TYPE_CHECKING:
    from ..api.models import BackupRecord

HEADER = "# ID  SKPP  Created     Updated     Size (MB)  Label"
DATE = "%Y-%m-%d"


@click.command("list")
@click.argument("format", metavar="[FORMAT]", required=False)
@click.option("--address", multiple=True, metavar="URL", help="List the sessions on this target; may be repeated.")
@common_options(json_output=True)
def command(host: Host, output: Output, format: str | None, address: tuple[str, ...]) -> int:
    """List the backups that the Hub knows, or the sessions on a target.

    With --address, and where this system is linked to no Hub, the sessions on the target (else on those configured) are
    listed: time, kind, size, chain, what they take in all and, where known, cost and free space.

    FORMAT is printed for each of the Hub's backups, with %id (or %backup_id), %label, %profile_id (or
    %turnkey_version), %server_id, %created, %updated, %size, %address, %key and %skpp replaced; also written %{size}.
    %% is a percent sign, \\n and \\t a new line and a tab.
    """
    from .hub import hub_and_account

    if format is not None:
        expand(format, {})
        if address:
            raise UsageError("a format is for the Hub's backups", "Leave it out; --json is for programs.")
    elif address or not_linked(host):
        from .opening import named_addresses
        from .setup import prepare
        from .stored import list_targets

        with prepare(host, output, address=address) as run:
            return list_targets(run, named_addresses(run))
    plugins, account = hub_and_account(host, output)
    answer = plugins.first("records", "tklbam_records_list", account=account)
    records = sorted(answer or [], key=lambda record: (len(record.backup_id), record.backup_id))
    if output.as_json:
        output.json([fields(record) for record in records])
    elif format is not None:
        for record in records:
            output.result(printable(expand(format, fields(record))))
    elif records:
        output.result(HEADER)
        for record in records:
            row = fields(record)
            output.result(
                printable(
                    f"{row['id']:>4}  {row['skpp']:<4}  {row['created']:<10}  {row['updated']:<10}  {row['size']:<9}  "
                    f"{row['label']}"
                )
            )
    return 0


def not_linked(host: Host) -> bool:
    """Whether this system goes by addresses of its own: some are configured, and no Hub account is linked."""
    from ..conf_syntax import read_settings, values
    from ..hub_account import hub_account
    from ..registry import Registry

    if hub_account(host, Registry(host.registry_dir)) is not None:
        return False
    try:
        return bool(values(read_settings(host.conf_dir), "address"))
    except ConfigError:
        return False


def fields(record: BackupRecord) -> dict[str, str]:
    """What %NAME stands for. `size` is in megabytes, dates are days, `skpp` says whether the key is
    protected by a passphrase."""
    return {
        "id": record.backup_id,
        "backup_id": record.backup_id,
        "label": record.label,
        "profile_id": record.profile_id,
        "turnkey_version": record.profile_id,
        "server_id": record.server_id or "-",
        "created": record.created.strftime(DATE) if record.created else "-",
        "updated": record.updated.strftime(DATE) if record.updated else "-",
        "size": f"{record.size / (1 << 20):.2f}",
        "address": record.address,
        "key": record.key,
        "skpp": "Yes" if is_protected(record) else "No",
    }


def is_protected(record: BackupRecord) -> bool:
    """Whether the key that the Hub keeps needs a passphrase; one that can't be read counts as if it did."""
    from ..keys import packet

    try:
        return not record.no_passphrase and packet.is_protected(record.key.encode("utf-8", "surrogateescape"))
    except KeyPacketError:
        return True


NAMES = (
    "id", "backup_id", "label", "profile_id", "turnkey_version", "server_id", "created", "updated", "size", "address",
    "key", "skpp",
)  # fmt: skip
_PLACE = re.compile(rf"%%|%({'|'.join(sorted(NAMES, key=len, reverse=True))})|%\{{([^}}]*)\}}|%|\\n|\\t")


def expand(format: str, row: dict[str, str]) -> str:
    """Raises UsageError for a name that there is not; an empty row checks the format alone."""

    def replaced(match: re.Match[str]) -> str:
        text = match[0]
        fixed = {"%%": "%", "\\n": "\n", "\\t": "\t"}
        if text in fixed:
            return fixed[text]
        name = match[1] or match[2]
        if name not in NAMES:
            raise UsageError(f"{text!r} in the format stands for nothing", f"There are %{', %'.join(NAMES)} and %%.")
        return row.get(name, "")

    return _PLACE.sub(replaced, format)
