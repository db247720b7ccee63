"""`tklbam internal stsagent`"""

from __future__ import annotations

import click

from ..api.errors import PluginError
from ..host import Host
from .common import Output, common_options

FIELDS = ("accesskey", "secretkey", "sessiontoken", "expiration")


@click.command("stsagent")
@common_options()
def command(host: Host, output: Output) -> None:
    """Print the Hub's temporary storage credentials in one line: access key, secret key, session token, expiration."""
    from ..registry import Registry
    from .hub import hub_and_account

    plugins, account = hub_and_account(host, output)
    backup = Registry(host.registry_dir).hub_backup
    backup_id = backup.backup_id if backup is not None else ""
    credentials = plugins.first("records", "tklbam_records_credentials", account=account, backup_id=backup_id)
    if credentials is None:
        raise PluginError("the Hub handed out no credentials", "Try again later.")
    if credentials.kind != "iamrole" or any(field not in credentials.fields for field in FIELDS):
        raise PluginError(
            f"the Hub's credentials are of the type {credentials.kind}, not temporary ones", "They need no agent."
        )
    output.reveal(" ".join(credentials.fields[field] for field in FIELDS))
