"""The whole plugin contract: every hook a plugin may implement, with what it gets and what it answers.

A plugin is an object (module, class instance or class, which is then instantiated with no arguments) named by an
entry point. Groups: `tklbam.databases`, `tklbam.storage`, `tklbam.profiles`, `tklbam.escrow`, `tklbam.records`,
`tklbam.hooks` (listens only). The entry point's name is what people see and type: the engine (`mysql`), the URL
scheme (`s3`), the source (`hub`). `tklbam.commands` is a group of click commands, not of hooks: the entry point
`internal.mysql2fs` is the command `tklbam internal mysql2fs`.

Mark an implementation with `tklbam_core.api.hookimpl`. It may take fewer arguments than the hook has. Hooks called
"first answer wins" stop at the first plugin that does not return None. Any plugin may wrap any hook
(`@hookimpl(wrapper=True)`) to time, filter or encrypt a step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pluggy

from .api.models import (
    Account,
    BackupRecord,
    Credentials,
    DatabaseReport,
    DumpRequest,
    EscrowRequest,
    HubLocation,
    HubSession,
    LifecycleEvent,
    ProfileInfo,
    ProfileRequest,
    RestoreRequest,
    RollbackRequest,
    SchemeInfo,
    TargetRequest,
)
from .api.progress import ProgressEvent
from .api.storage import Target

hookspec = pluggy.HookspecMarker("tklbam")

# --- databases: everyone is asked ------------------------------------------------------------------------------------


@hookspec
def tklbam_database_dump(request: DumpRequest) -> DatabaseReport | None:
    """Dumps the engine's databases into `request.extras`.

    None: this engine is not present on this host, there is nothing to do. Present but unreadable (stopped, wrong
    password, too new) raises DatabaseError, or is listed in the report's `failures` where other databases could be
    dumped: either makes the session incomplete. Rows are streamed; memory stays flat.
    """


@hookspec
def tklbam_database_restore(request: RestoreRequest) -> DatabaseReport | None:
    """Restores what `request.extras` holds of this engine. None: the extras hold nothing of it.

    Raises DatabaseError where nothing could be restored; single databases that failed (and are as they were before)
    are listed in `failures`. With `request.simulate`, changes nothing and reports what would be done.
    """


@hookspec
def tklbam_database_rollback(request: RollbackRequest) -> DatabaseReport | None:
    """Puts the server back as the restore found it. None: nothing of this engine was saved in `request.rollback`."""


# --- storage, profiles, escrow: first answer wins --------------------------------------------------------------------


@hookspec(firstresult=True)
def tklbam_storage_target(request: TargetRequest) -> Target | None:
    """Opens the target at an address. None: not a scheme of mine. Raises TargetError for an address it can't use.

    Must not touch the network or the disk: `Target.check` does.
    """


@hookspec
def tklbam_storage_schemes() -> Sequence[SchemeInfo] | None:
    """The kinds of addresses this plugin serves, for `tklbam targets`. Everyone is asked. Touches no network."""


@hookspec(firstresult=True)
def tklbam_profile_find(request: ProfileRequest) -> ProfileInfo | None:
    """Writes the profile asked for into `request.directory`. None: I have none for this. Raises ProfileError."""


@hookspec(firstresult=True)
def tklbam_escrow_store(request: EscrowRequest, packet: bytes) -> str | None:
    """Keeps a key packet; answers where it lies, in words. None: not a place of mine."""


@hookspec(firstresult=True)
def tklbam_escrow_fetch(request: EscrowRequest) -> bytes | None:
    """Finds a key packet. None: not a place of mine, or nothing there."""


# --- records: a Hub. First answer wins -------------------------------------------------------------------------------


@hookspec(firstresult=True)
def tklbam_records_link(api_key: str, hub: HubLocation) -> Account | None:
    """Links this server to an account of `hub` by the API key people copy from their profile. The account that the core
    keeps is the one answered, at `hub`.

    This and all hooks below raise HubUnavailableError where the Hub can't be reached or answers nonsense: a backup then
    goes on with what is remembered of the Hub. They raise HubError where it refuses. No error holds a key.
    """


@hookspec(firstresult=True)
def tklbam_records_credentials(account: Account, backup_id: str) -> Credentials | None:
    """Hands out storage credentials, for that backup alone where the Hub can make such."""


@hookspec(firstresult=True)
def tklbam_records_create(account: Account, profile_id: str, key: str, server_id: str) -> BackupRecord | None:
    """Creates a backup record and with it the address where its sessions go."""


@hookspec(firstresult=True)
def tklbam_records_find(account: Account, backup_id: str) -> BackupRecord | None:
    """Finds one record by id."""


@hookspec(firstresult=True)
def tklbam_records_list(account: Account) -> Iterable[BackupRecord] | None:
    """All records of the account."""


@hookspec(firstresult=True)
def tklbam_records_update(
    account: Account, backup_id: str, address: str, key: str | None, session: HubSession | None
) -> BackupRecord | bool | None:
    """Says that `session` was stored at `address`, or with `key` that the key packet has changed. Answers the record as
    it is now, or True once noted."""


@hookspec(firstresult=True)
def tklbam_records_mark(account: Account, backup_id: str, in_progress: bool, problem: str) -> bool | None:
    """Marks a backup as running or ended; `problem` says in a line why it failed, where it did. Answers True once
    noted."""


# --- listeners: everyone is told -------------------------------------------------------------------------------------


@hookspec
def tklbam_lifecycle(event: LifecycleEvent) -> None:
    """Called at every stage of a run. Raising TklbamError at `pre` or `inspect` stops the run."""


@hookspec
def tklbam_progress(event: ProgressEvent) -> None:
    """Called for every progress event of long work, at most a few times a second."""
