"""`tklbam restore`"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..api.errors import IncompatibleBackupError, KeyPacketError, UsageError
from ..api.models import EscrowRequest
from ..host import Host
from .common import Output, common_options, complete_path, count, human_duration, human_size, moment

if TYPE_CHECKING:
    from ..restore import RestoreSummary
    from ..restore_plan import RestorePlan
    from ..restore_source import Source
    from .setup import Run

PATH = click.Path(path_type=Path)


@click.command("restore")
@click.argument("backup", required=False, metavar="[BACKUP-ID|LABEL|EXTRACT-DIR]", shell_complete=complete_path)
@click.option("--address", metavar="URL", help="Where the backup is stored.")
@click.option("--keyfile", type=PATH, metavar="FILE", help="The key, as `escrow` wrote it.")
@click.option("--passphrase-file", type=PATH, metavar="FILE", help="The key's passphrase is FILE's first line.")
@click.option("--secretfile", type=PATH, metavar="FILE", help="Take the secret itself from FILE.")
@click.option("-t", "--time", "when", metavar="T", help="The state at T: 2026-11-25, 2026-11-25T03:00, or 3D (ago).")
@click.option("--raw-download", type=PATH, metavar="DIR", help="Fetch the session into DIR as it is, restore nothing.")
@click.option("-s", "--simulate", is_flag=True, help="Show the plan and change nothing.")
@click.option("--limits", multiple=True, metavar="LIMITS", help='What to restore: "/etc -/etc/ssh mysql:shop".')
@click.option("--skip-files", is_flag=True, help="Leave out files and users.")
@click.option("--skip-database", is_flag=True, help="Leave out databases.")
@click.option("--skip-packages", is_flag=True, help="Install no packages.")
@click.option("--no-rollback", is_flag=True, help="Keep nothing to undo the restore with.")
@click.option("--noninteractive", is_flag=True, help="Ask nothing.")
@click.option("--silent", is_flag=True, help="Like --quiet.")
@click.option("--force", is_flag=True, help="Restore an incompatible backup; drop an unfinished restore's rollback.")
@click.option("--logfile", type=PATH, metavar="PATH", help="Log there instead of /var/log/tklbam-restore.")
@click.option("--restore-cache-size", metavar="N%|N MB|N GB", help="Disk that fetched files may take.")
@click.option("--restore-cache-dir", type=PATH, metavar="DIR", help="Where files are fetched to.")
@click.option("--database-option", multiple=True, metavar="ENGINE:KEY=VALUE", help="How to reach a database server.")
@click.option("--run-hooks", is_flag=True, help="With --root: run that root's hooks, chrooted.")
@common_options(json_output=True)
def command(host: Host, output: Output, **options: Any) -> int:
    """Restores a backup onto this system: files, users, packages and databases, laid over what is here.

    With --address and no --keyfile, this system's own key opens the backup.

    Exit status: 0 done; 1 failed, everything is as it was; 3 restored but for what is named; 10 incompatible backup;
    11 bad passphrase.
    """
    from ..lock import locked
    from ..restore import RestoreOrder, run_restore
    from ..scratch import free_space
    from ..system.identity import detect_profile_id
    from .setup import prepare

    output.quiet = output.quiet or options["silent"]
    output.open_log(host, "restore", options["logfile"])
    given = {name: options[name] for name in ("restore_cache_size", "restore_cache_dir", "database_option")}
    with prepare(host, output, **given) as run, locked(host):
        source = find_source(run, options)
        if options["raw_download"]:
            return fetch_raw(source, options["raw_download"], output)
        here = detect_profile_id(host.root)
        cache_size = run.config.restore_cache_size

        def approve(plan: RestorePlan) -> None:
            if not output.as_json:
                show_plan(plan, source, output)
            if not options["simulate"]:
                ask_if_incompatible(plan.conf.profile_id, here, options, output)

        order = RestoreOrder(
            limits=tuple(word for limits in options["limits"] for word in limits.split()),
            skip_files=options["skip_files"],
            skip_packages=options["skip_packages"],
            skip_database=options["skip_database"],
            rollback=not options["no_rollback"],
            simulate=options["simulate"],
            force=options["force"],
            run_hooks=options["run_hooks"],
            cache_dir=run.config.restore_cache_dir,
            cache_limit=lambda place: cache_size.bytes_of(free_space(place)),
            approve=approve,
        )
        summary = run_restore(order, source, here, run.context)
    show(summary, source, output, undoable=not options["no_rollback"])
    return 3 if summary.missing else 0


def find_source(run: Run, options: dict[str, Any]) -> Source:
    """Raises UsageError when nothing names a backup."""
    from ..hub import find_backup
    from ..placement import refuse_unmounted
    from ..restore_source import ArchiveSource, ExtractSource
    from .opening import open_named

    named, address = options["backup"], options["address"]
    key: bytes | None = None
    credentials: Mapping[str, str] = {}
    renew: Callable[[], Mapping[str, str]] | None = None
    if named and address:
        raise UsageError("both a backup and an --address are named", "Name one of them.")
    if named and Path(named).is_dir():
        return ExtractSource(directory=Path(named).absolute())
    if named:
        storage = find_backup(run.context, named)
        address, key = storage.record.address, storage.record.key.encode("utf-8", "surrogateescape")
        credentials, renew = storage.credentials, storage.renew
    elif not address and len(run.config.addresses) == 1:
        address = run.config.addresses[0]
    if not address and len(run.config.addresses) > 1:
        known = ", ".join(run.config.addresses)
        raise UsageError(f"several targets are configured: {known}", "Name the one to restore from with --address.")
    if not address:
        raise UsageError("no backup is named", "Give --address URL, the directory of an extract, or a Hub's backup id.")
    target = run.context.target(address, credentials, renew) if named else open_named(run, address)
    refuse_unmounted(target, run.context)
    return ArchiveSource(
        engine=run.engine,
        target=target,
        secret=read_secret(run, key, options),
        time=parse_moment(options["when"]) if options["when"] else None,
        progress=run.context.progress,
    )


def read_secret(run: Run, key: bytes | None, options: dict[str, Any]) -> str:
    """The archive's secret: from --secretfile, a --keyfile, the Hub's key packet, else this system's own."""
    from .passphrases import unlock
    from .secrets import read_secret_file

    if options["secretfile"]:
        return read_secret_file(options["secretfile"])
    if options["keyfile"]:
        key = fetch_key(run, str(options["keyfile"]))
    if key is None:
        return run.registry.require_secret()
    own = run.registry.key_packet
    if own is not None and own.strip() == key.strip() and run.registry.secret is not None:
        return run.registry.secret
    try:
        return unlock(key, passphrase_file=options["passphrase_file"], noninteractive=options["noninteractive"])
    except KeyPacketError as error:
        place = options["keyfile"] or "the Hub's key of this backup"
        raise KeyPacketError(f"{place}: {error.what}", error.remedy) from error


def fetch_key(run: Run, place: str) -> bytes:
    """A key packet from where an escrow plugin finds it. Raises UsageError."""
    from ..hub_account import hub_account

    request = EscrowRequest(place=place, account=hub_account(run.context.host, run.registry))
    found: bytes | None = run.context.plugins.first("escrow", "tklbam_escrow_fetch", request=request)
    if found is None:
        raise UsageError(f"there is no key at {place}", "Name the file that `tklbam escrow` wrote.")
    return found


def parse_moment(text: str) -> datetime:
    """`2026-11-25`, `2026-11-25T03:00[:00][Z|+HH:MM]` (local time unless it says), or an age such as `3D`."""
    from ..schedule import Interval

    with contextlib.suppress(ValueError):
        return datetime.now(UTC) - timedelta(seconds=Interval.parse(text).seconds)
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        raise UsageError(
            f"{text!r} is no time", "Write 2026-11-25, 2026-11-25T03:00, or an age: 3D, 12h (m h D W M Y)."
        ) from None


def fetch_raw(source: Source, destination: Path, output: Output) -> int:
    """`--raw-download`"""
    from ..raw import download

    download(source, destination)
    output.note(f"Fetched {source.name} into {destination}.")
    return 0


def ask_if_incompatible(backup_id: str, here: str, options: dict[str, Any], output: Output) -> None:
    """Between TurnKey appliances of different kinds: asks on a terminal; raises IncompatibleBackupError."""
    from ..system.identity import TurnkeyId

    theirs, ours = TurnkeyId.parse(backup_id), TurnkeyId.parse(here)
    if options["force"] or theirs is None or ours is None or theirs.codename == ours.codename:
        return
    what = f"the backup is of a {theirs.codename} appliance and this is a {ours.codename}"
    if options["noninteractive"] or not sys.stdin.isatty():
        raise IncompatibleBackupError(what, "Restore it with --force if you mean it.")
    output.warn(what)
    if not click.confirm("Restore it all the same?", err=True):
        raise IncompatibleBackupError(what, "Nothing was changed.")


def show_plan(plan: RestorePlan, source: Source, output: Output) -> None:
    """The plan as a few aligned lines."""
    from ..status import age

    conf = plan.conf
    of = f" of {conf.host['hostname']}" if conf.host.get("hostname") else ""
    output.note(f"Backup{of} ({conf.profile_id}) at {source.name}")
    if source.session_time is not None:
        output.note(f"  session    of {moment(source.session_time)}, {age(source.session_time)}")
    if plan.changes is not None:
        output.note(f"  files      {plan.overlay:,} to put in place, {plan.replaced:,} of them over what is here")
        stats = count(plan.stats, "owner or mode", "owners and modes")
        output.note(f"             {stats} to set, {count(plan.deletes, 'path')} to delete")
        for path in plan.swapped:
            output.note(f"             {os.fsdecode(path)}: a directory here, a file in the backup; it is set aside")
    if plan.users is not None:
        labelled("users", plan.users.report, output)
    if plan.packages is not None:
        packages = plan.packages
        first = (
            f"{len(packages.to_install):,} to install, {len(packages.installed):,} here already, "
            f"{len(packages.skipped):,} left out"
        )
        labelled("packages", [first, *packages.explanations()], output)
    databases = [
        f"{report.engine}: {', '.join(database.name for database in report.databases) or 'none'}"
        for report in plan.databases.reports
    ]
    # What a simulated restore warns of is what a real one will do.
    labelled("databases", [*databases, *plan.databases.warnings], output)
    for warning in [*plan.warnings, *plan.databases.missing]:
        output.warn(warning)
    if plan.changes is not None and plan.needed:
        output.note(f"  space      {human_size(plan.needed)} for the fetched files")


def labelled(label: str, lines: Iterable[str], output: Output) -> None:
    for line in lines:
        output.note(f"  {label:<9}  {line}")
        label = ""


def show(summary: RestoreSummary, source: Source, output: Output, *, undoable: bool) -> None:
    if output.as_json:
        output.json(as_json(summary, source))
        return
    for missing in summary.missing:
        output.warn(f"not restored: {missing}")
    for warning in summary.warnings:
        output.warn(warning)
    if summary.simulated:
        output.note("Nothing was changed (--simulate).")
        return
    parts = [
        count(summary.placed, "file"),
        count(max(0, summary.fixed - summary.placed), "owner or mode", "owners and modes"),
        count(summary.deleted, "deletion"),
        count(len(summary.installed), "package"),
    ]
    output.note(f"Restored in {human_duration(summary.seconds)}: {', '.join(parts)}")
    for report in summary.databases.reports:
        for database in report.databases:
            rows = "" if database.rows is None else f", {count(database.rows, 'row')}"
            tables = count(database.tables, "table")
            output.note(f"  {report.engine}:{database.name}: {tables}{rows}, in {human_duration(database.seconds)}")
    if summary.missing:
        output.note(f"INCOMPLETE: {count(len(summary.missing), 'thing')} not restored; see the warnings above.")
    if undoable:
        output.note("`tklbam restore-rollback` undoes it.")


def as_json(summary: RestoreSummary, source: Source) -> dict[str, Any]:
    plan = summary.plan
    return {
        "session": source.session_time.isoformat() if source.session_time else None,
        "outcome": "simulated" if summary.simulated else summary.outcome,
        "profile_id": plan.conf.profile_id,
        "plan": {
            "overlay": plan.overlay,
            "replaced": plan.replaced,
            "stats": plan.stats,
            "deletes": plan.deletes,
            "swapped": [os.fsdecode(path) for path in plan.swapped],
            "users": list(plan.users.report) if plan.users else [],
            "packages": {
                "to_install": list(plan.packages.to_install) if plan.packages else [],
                "left_out": list(plan.packages.skipped) if plan.packages else [],
                "why": plan.packages.explanations() if plan.packages else [],
            },
            "databases": {
                report.engine: [database.name for database in report.databases] for report in plan.databases.reports
            },
            "space": plan.needed,
        },
        "placed": summary.placed,
        "fixed": summary.fixed,
        "deleted": summary.deleted,
        "installed": list(summary.installed),
        "databases": [
            {
                "engine": report.engine,
                "name": each.name,
                "tables": each.tables,
                "rows": each.rows,
                "seconds": each.seconds,
            }
            for report in summary.databases.reports
            for each in report.databases
        ],
        "missing": summary.missing,
        # What the plan says of databases, doing it says again.
        "warnings": [
            *plan.warnings,
            *([*plan.databases.warnings, *plan.databases.missing] if summary.simulated else []),
            *summary.warnings,
        ],
        "seconds": round(summary.seconds, 3),
    }
