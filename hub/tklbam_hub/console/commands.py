"""The commands that a backup's page offers to copy."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tklbam_hub.console import wording
from tklbam_hub.records.models import BackupRecord


@dataclass(frozen=True, slots=True)
class Command:
    """`name` says what it does, for the button beside it; `text` is the line."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class RestoreCommands:
    """With the Hub, by the backup's number; and without it, by address and key file."""

    simulate: Command
    restore: Command
    simulate_alone: Command
    restore_alone: Command
    key_file: str


def key_file_of(backup: BackupRecord) -> str:
    """A name for the downloaded key packet: plain ASCII, whatever the label holds."""
    word = re.sub(r"[^A-Za-z0-9._]+", "-", backup.label).strip("-.").lower()[:40]
    return f"{word}-{backup.number}.key" if word else f"backup-{backup.number}.key"


def restore(backup: BackupRecord) -> RestoreCommands:
    key_file = key_file_of(backup)
    by_number = wording.command("tklbam", "restore", str(backup.number))
    alone = wording.command("tklbam", "restore", "--address", backup.address, "--keyfile", key_file)
    return RestoreCommands(
        simulate=Command("see what a restore would change", f"{by_number} --simulate"),
        restore=Command("restore", by_number),
        simulate_alone=Command("see what a restore without the Hub would change", f"{alone} --simulate"),
        restore_alone=Command("restore without the Hub", alone),
        key_file=key_file,
    )


def link(hub_url: str, api_key: str) -> Command:
    """Links a server to the Hub at `hub_url`, which the server remembers."""
    where = wording.command(f"{hub_url}/api/backup/")
    return Command("link a server", f"TKLBAM_APIURL={where} {wording.command('tklbam', 'init', api_key)}")
