"""`tklbam backup`"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..api.errors import PluginError, TklbamError, UsageError
from ..api.models import HubSession
from ..host import Host
from .common import Output, common_options, complete_path, count, human_duration, human_size, moment

if TYPE_CHECKING:
    from ..backup import BackupOrder, BackupSummary
    from ..copies import StoredSession
    from ..hub import HubStorage
    from .setup import Run

PATH = click.Path(path_type=Path)
CONF_OPTIONS = (
    "address",
    "full_backup",
    "volsize",
    "s3_parallel_uploads",
    "keep_full",
    "force_profile",
    "checksum",
    "allow_missing_database",
    "database_option",
    "extras_dir",
)
"""Options that can stand in the configuration, too; the command line wins."""


class OverridesCommand(click.Command):
    """A command whose words may be rules that leave out (`-/srv/cache`, `-mysql:shop`), anywhere and without `--`."""

    RULE = re.compile(r"-(/|[a-z][a-z0-9]*:)")
    MARK = "\0"
    """In front of such a word while options are looked for; no word of a command line can hold it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [self.MARK + word if self.RULE.match(word) else word for word in args])

    @classmethod
    def plain(cls, ctx: click.Context, param: click.Parameter, words: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(word.removeprefix(cls.MARK) for word in words)


@click.command("backup", cls=OverridesCommand)
@click.argument(
    "overrides",
    nargs=-1,
    metavar="[OVERRIDE]...",
    callback=OverridesCommand.plain,
    shell_complete=complete_path,
)
@click.option("--address", multiple=True, metavar="URL", help="Where to store it; may be repeated.")
@click.option("-s", "--simulate", is_flag=True, help="Store nothing; leave the extras for inspection.")
@click.option("--dump", type=PATH, metavar="DIR", help="Write the backup into DIR as plain files.")
@click.option("--raw-upload", type=PATH, metavar="DIR", help="Store the content of DIR as it is.")
@click.option("--full-backup", metavar="now|N[mhDWMY]", help="Age of a chain that calls for a full session.")
@click.option("--volsize", type=int, metavar="MB", help="Size of a volume.")
@click.option("--s3-parallel-uploads", type=int, metavar="N", help="Volumes that go up at once.")
@click.option("--keep-full", type=int, metavar="N", help="Chains to keep after a verified full session.")
@click.option("--skip-files", is_flag=True, help="Leave out files and users.")
@click.option("--skip-database", is_flag=True, help="Leave out databases.")
@click.option("--skip-packages", is_flag=True, help="Leave out the list of new packages.")
@click.option("--force-profile", metavar="PROFILE", help="Use this profile: an id, empty, dpkg or a path.")
@click.option("--checksum", is_flag=True, help="Compare contents, too, not size and mtime alone.")
@click.option("--allow-missing-database", is_flag=True, help="A database that can't be read is only a warning.")
@click.option("--database-option", multiple=True, metavar="ENGINE:KEY=VALUE", help="How to reach a database server.")
@click.option("--extras-dir", type=PATH, metavar="DIR", help="Where dumps are made when / has no room for them.")
@click.option("--resume", is_flag=True, help="Kept for scripts: an interrupted backup is seen to by itself.")
@click.option("--disable-resume", is_flag=True, help="Kept for scripts.")
@click.option("--secretfile", type=PATH, metavar="FILE", help="Take the secret from FILE.")
@click.option("--logfile", type=PATH, metavar="PATH", help="Log there instead of /var/log/tklbam-backup.")
@click.option("--run-hooks", is_flag=True, help="With --root: run that root's hooks, chrooted.")
@common_options(json_output=True)
def command(host: Host, output: Output, **options: Any) -> int:
    """Backs up what changed since this system was installed.

    An OVERRIDE is a path to back up (/srv), or not to (-/srv/cache), or a database limit (mysql:shop,
    -mysql:shop/sessions).

    Exit status: 0 done; 1 failed, nothing stored; 3 stored, but without what is named.
    """
    from ..backup import BackupOrder, run_backup
    from ..backup_record import record_backup, record_failure
    from ..lock import locked
    from .secrets import read_secret_file
    from .setup import prepare

    output.open_log(host, "backup", options["logfile"])
    started = datetime.now(UTC)
    given = {name: options[name] for name in CONF_OPTIONS}
    for name in ("files", "packages", "database"):
        given[f"backup_skip_{name}"] = options[f"skip_{name}"]
    with prepare(host, output, overrides=options["overrides"], **given) as run, locked(host):
        secret = read_secret_file(options["secretfile"]) if options["secretfile"] else run.registry.require_secret()
        if options["raw_upload"]:
            return store_raw(run, options["raw_upload"], secret, output)
        config = run.config
        order = BackupOrder(
            addresses=config.addresses,
            overrides=config.overrides,
            full_backup=config.full_backup,
            volume_size=config.volsize,
            uploads=config.s3_parallel_uploads,
            keep_full=config.keep_full,
            skip_files=config.backup_skip_files,
            skip_packages=config.backup_skip_packages,
            skip_database=config.backup_skip_database,
            checksum=config.checksum,
            allow_missing_database=config.allow_missing_database,
            extras_dir=config.extras_dir,
            cache_dir=config.restore_cache_dir,
            simulate=options["simulate"],
            extract=options["dump"],
            run_hooks=options["run_hooks"],
        )
        stores = not order.simulate and order.extract is None
        profile_id = ""
        try:
            profile = run.profile(config.force_profile)
            profile_id = profile.profile_id
            by_hub = stores and not order.addresses and run.registry.account is not None
            with use_hub(run, order, profile_id) if by_hub else nullcontext((order, None)) as (order, hub):
                if stores:
                    run.registry.write_backup_resume({"started": started.isoformat(), "addresses": order.addresses})
                summary = run_backup(order, profile, secret, run.context, run.engine)
                if hub is not None:
                    hub.session = session_for_hub(summary)
        except Exception as error:
            # A mistyped address is no target that has failed.
            if stores and not (isinstance(error, UsageError | PluginError) and len(order.addresses) < 2):
                try:
                    record_failure(run.registry, order, started, error, profile_id)
                except TklbamError as unrecorded:  # the failure itself is what must be told
                    output.warn(f"the failure is not recorded: {unrecorded.what}")
            if stores:
                forget_run(run, output)
            raise
        if stores:
            record_backup(run.registry, summary, hub.record.backup_id if hub is not None else "")
            run.registry.forget_backup_resume()
        show(summary, order, output)
    return 3 if summary.missing else 0


def forget_run(run: Run, output: Output) -> None:
    """The run has ended, if badly: `status` does not call it interrupted."""
    try:
        run.registry.forget_backup_resume()
    except TklbamError as error:
        output.warn(error.what)


@contextmanager
def use_hub(run: Run, order: BackupOrder, profile_id: str) -> Iterator[tuple[BackupOrder, HubStorage | None]]:
    """The order with the Hub's address, for a server that is linked to one and has no address of its own."""
    from dataclasses import replace

    from ..hub import hub_backup

    with hub_backup(run.context, profile_id) as storage:
        record = storage.record
        run.output.note(f"Hub backup #{record.backup_id}")
        hubs = replace(order, addresses=(record.address,), credentials=storage.credentials, renew=storage.renew)
        yield hubs, storage


def session_for_hub(summary: BackupSummary) -> HubSession:
    stored = summary.stored[0]
    return HubSession(
        kind=stored.result.session.kind,
        outcome=summary.outcome,
        size=stored.target_size,
        added=stored.result.session.size,
        verified=stored.verified,
        message=f"{count(len(summary.missing), 'thing')} not stored: {summary.missing[0]}" if summary.missing else "",
    )


def store_raw(run: Run, directory: Path, secret: str, output: Output) -> int:
    from ..raw import upload

    if len(run.config.addresses) != 1:
        raise UsageError("--raw-upload needs one address", "Give --address URL.")
    config = run.config
    target = run.context.target(config.addresses[0])
    result, verification = upload(
        directory, target, secret, config.full_backup, run.context, run.engine, config.volsize
    )
    for warning in (*result.warnings, *(f"not stored: {text}" for text in result.unread)):
        output.warn(warning)
    for problem in verification.problems:
        output.warn(f"{target.address}: {problem}")
    size, volumes = human_size(result.session.size), count(result.session.volumes, "volume")
    there = "; every volume is there" if verification.ok else ", but its verification failed"
    output.note(f"Stored {directory} as it is: {size} in {volumes}{there}.")
    return 3 if result.unread or not verification.ok else 0


def show(summary: BackupSummary, order: BackupOrder, output: Output) -> None:
    if output.as_json:
        output.json(as_json(summary))
        return
    from ..copies import named

    targets = {named(address, error) for address, error in summary.failed.items()}
    for missing in summary.missing:
        output.warn(f"{'not stored' if missing in targets else 'not in the backup'}: {missing}")
    output.note(f"  changes    {changes(summary)}")
    for report in summary.databases:
        names = ", ".join(database.name for database in report.databases)
        output.note(f"  databases  {report.engine}: {names or 'none'}")
    for stored in summary.stored:
        show_stored(stored, order, output)
    if order.simulate:
        output.note("Nothing was stored (--simulate); the extras are left for inspection.")
    if order.extract is not None:
        output.note(f"Written to {order.extract}; `tklbam restore {order.extract}` restores from there.")
    if summary.missing:
        output.note(f"INCOMPLETE: {count(len(summary.missing), 'thing')} not stored; see the warnings above.")


def changes(summary: BackupSummary) -> str:
    kinds = summary.changes
    parts = [
        count(kinds.get("o", 0), "file"),
        count(kinds.get("s", 0) + kinds.get("a", 0), "owner or mode", "owners and modes"),
        count(kinds.get("d", 0), "deletion"),
        count(summary.new_packages, "new package"),
    ]
    return f"{', '.join(parts)} (profile {summary.profile_id})"


def show_stored(stored: StoredSession, order: BackupOrder, output: Output) -> None:
    from ..schedule import chain_advice

    result = stored.result
    full = result.session.kind == "full"
    output.note(f"Stored {'a full' if full else 'an incremental'} session at {stored.address}")
    verified = "; every volume is there" if stored.verified else ""
    output.note(f"  size       {human_size(result.session.size)} in {human_duration(result.seconds)}{verified}")
    if not full:
        output.note(
            f"  increment  {count(result.new_files, 'new file')}, {result.changed_files:,} changed, "
            f"{result.deleted_files:,} gone since the last session"
        )
    for session in stored.pruned:
        output.note(f"  deleted    the {session.kind} session of {moment(session.time)} (keep-full)")
    advice = chain_advice(stored.chain_length, order.full_backup)
    if advice:
        output.note(f"  advice     {advice}")


def as_json(summary: BackupSummary) -> dict[str, Any]:
    return {
        "outcome": summary.outcome,
        "profile_id": summary.profile_id,
        "started": summary.started.isoformat(),
        "seconds": round(summary.seconds, 3),
        "footprint": {"files": summary.files, "size": summary.size},
        "changes": summary.changes,
        "new_packages": summary.new_packages,
        "databases": [
            {"engine": report.engine, "server": report.server, "databases": [d.name for d in report.databases]}
            for report in summary.databases
        ],
        "sessions": [
            {
                "address": stored.address,
                "kind": stored.result.session.kind,
                "time": stored.result.session.time.isoformat(),
                "size": stored.result.session.size,
                "volumes": stored.result.session.volumes,
                "verified": stored.verified,
                "chain_length": stored.chain_length,
                "target_size": stored.target_size,
                "target_free": stored.target_free,
            }
            for stored in summary.stored
        ],
        "failed": {address: error.what for address, error in summary.failed.items()},
        "missing": summary.missing,
        "warnings": summary.warnings,
    }
