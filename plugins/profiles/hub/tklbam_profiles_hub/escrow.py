"""The Hub as a place that keeps the key: `hub:` is this system's own backup there, `hub:ID` any of the account's."""

from __future__ import annotations

from tklbam_core.api import Account, EscrowRequest, HubError, NotInitializedError, UsageError, hookimpl

SCHEME = "hub:"
GONE = "BackupRecord.NotFound"


class HubEscrow:
    @hookimpl
    def tklbam_escrow_store(self, request: EscrowRequest, packet: bytes) -> str | None:
        """Gives the Hub the packet in place of the one it has. Raises HubError, UsageError, NotInitializedError."""
        if not request.place.startswith(SCHEME):
            return None
        account, backup_id = _asked_for(request)
        if backup_id != request.backup_id:
            raise UsageError(
                f"backup #{backup_id} is not this system's: this key does not open it", "Say hub: for its own."
            )
        if not request.overwrite:
            raise UsageError(
                "the Hub has this system's key already",
                "Say --force to have this one, with its passphrase, take that one's place.",
            )
        from .client import HubClient

        HubClient(account.hub, account.subkey).set_key(backup_id, packet.decode("ascii").strip())
        return f"the Hub, with backup #{backup_id}"

    @hookimpl
    def tklbam_escrow_fetch(self, request: EscrowRequest) -> bytes | None:
        """Raises HubError, UsageError, NotInitializedError."""
        if not request.place.startswith(SCHEME):
            return None
        account, backup_id = _asked_for(request)
        from .client import HubClient

        try:
            return HubClient(account.hub, account.subkey).record(backup_id).key.encode("ascii")
        except HubError as error:
            if error.name == GONE:
                return None
            raise


def _asked_for(request: EscrowRequest) -> tuple[Account, str]:
    if request.account is None:
        raise NotInitializedError("this system is not linked to a Hub account", "Run `tklbam init API-KEY`.")
    backup_id = request.place.removeprefix(SCHEME) or request.backup_id
    if not backup_id:
        raise UsageError("this system has no backup on the Hub yet", "Make one with `tklbam backup` first.")
    return request.account, backup_id
