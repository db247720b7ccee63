"""The plugin's records: an account linked, backups created, found, listed and told of, credentials handed out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tklbam_core.api import Account, BackupRecord, Credentials, HubError, HubLocation, HubSession, hookimpl

if TYPE_CHECKING:
    from .client import HubClient

GONE = "BackupRecord.NotFound"


class HubRecords:
    """Every hook raises HubUnavailableError where the Hub can't be reached or answers nonsense, HubError where it
    refuses."""

    @hookimpl
    def tklbam_records_link(self, api_key: str, hub: HubLocation) -> Account:
        """Raises UsageError for what is no API key, before the Hub is asked."""
        from .api_key import parse_api_key
        from .client import HubClient

        key = parse_api_key(api_key)
        return Account(subkey=HubClient(hub).link(key), hub=hub)

    @hookimpl
    def tklbam_records_credentials(self, account: Account, backup_id: str) -> Credentials:
        return _client(account).credentials(backup_id)

    @hookimpl
    def tklbam_records_create(self, account: Account, profile_id: str, key: str, server_id: str) -> BackupRecord:
        return _client(account).create(key, profile_id, server_id)

    @hookimpl
    def tklbam_records_find(self, account: Account, backup_id: str) -> BackupRecord | None:
        """Ids are numbers; what is none may be a label, which is the caller's to look for."""
        if not backup_id.isascii() or not backup_id.isdigit():
            return next((each for each in _client(account).records() if each.backup_id == backup_id), None)
        try:
            return _client(account).record(backup_id)
        except HubError as error:
            if error.name == GONE:
                return None
            raise

    @hookimpl
    def tklbam_records_list(self, account: Account) -> Sequence[BackupRecord]:
        return _client(account).records()

    @hookimpl
    def tklbam_records_update(
        self, account: Account, backup_id: str, address: str, key: str | None, session: HubSession | None
    ) -> BackupRecord | bool | None:
        if key is None:
            return _client(account).stored(address, session) or True
        try:
            return _client(account).set_key(backup_id, key)
        except HubError as error:
            if error.name == GONE:
                return None  # the record that takes its place is made with the key of that time
            raise

    @hookimpl
    def tklbam_records_mark(self, account: Account, backup_id: str, in_progress: bool, problem: str) -> bool:
        _client(account).set_in_progress(backup_id, in_progress, problem)
        return True


def _client(account: Account) -> HubClient:
    # What speaks HTTP is imported when there is something to say.
    from .client import HubClient

    return HubClient(account.hub, account.subkey)
