"""Targets as commands name them: by --address, by the configuration, or as the Hub's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..api.errors import TklbamError, UsageError
from ..conf_values import without_password
from ..copies import distinct

if TYPE_CHECKING:
    from ..api.storage import Target
    from .setup import Run


def named_addresses(run: Run) -> list[str]:
    """Those of the command line, else of the configuration, else the one that the Hub gave. Raises UsageError."""
    if run.config.addresses:
        return distinct(run.config.addresses)
    known = run.registry.hub_backup
    if known is None:
        raise UsageError(
            "no target is named", "Give --address URL, or put an `address URL` line into the configuration."
        )
    return [known.address]


def open_named(run: Run, address: str) -> Target:
    """Opens a target, with the Hub's credentials where it is this system's backup there."""
    from ..hub import find_backup

    known = run.registry.hub_backup
    ours = known is not None and without_password(address).rstrip("/") == known.address.rstrip("/")
    if known is None or not ours or run.registry.account is None:
        return run.context.target(address)
    try:
        storage = find_backup(run.context, known.backup_id)
    except TklbamError as error:  # there may be other credentials for it
        run.output.warn(f"the Hub gives no credentials for {known.address}: {error.what}")
        return run.context.target(address)
    return run.context.target(storage.record.address, storage.credentials, storage.renew)
