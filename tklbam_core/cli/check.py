"""`tklbam check`"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..api.errors import TklbamError
from ..host import Host
from .common import Output, common_options, count, human_duration, human_size, moment

if TYPE_CHECKING:
    from ..check import CheckReport
    from ..target_records import RestoreTest
    from .setup import Run

PATH = click.Path(path_type=Path)


@click.command("check")
@click.option("--address", multiple=True, metavar="URL", help="The target; may be repeated. Else those configured.")
@click.option("--restore-test", is_flag=True, help="Restore the newest session into a scratch root, and compare.")
@click.option("--accept-place", is_flag=True, help="The target lies where it is meant to, on another disk than before.")
@click.option("--keyfile", type=PATH, metavar="FILE", help="Use this copy of the key, as `escrow` wrote it.")
@click.option("--passphrase-file", type=PATH, metavar="FILE", help="The key's passphrase is FILE's first line.")
@click.option("--secretfile", type=PATH, metavar="FILE", help="Take the secret itself from FILE.")
@click.option("--restore-cache-size", metavar="N%|N MB|N GB", help="Disk that a restore test may take.")
@click.option("--restore-cache-dir", type=PATH, metavar="DIR", help="Where it restores to.")
@common_options(json_output=True)
def command(host: Host, output: Output, accept_place: bool, restore_test: bool, **options: Any) -> int:
    """Verifies targets: that they can be reached, read and written, and that every volume of every session is there.

    Nothing on a target is changed. With --restore-test the newest session is restored in full, but for database servers
    and packages, into a directory of its own; what comes out is compared with what the session says of itself, and with
    the files of this system that have not changed since. `tklbam status` shows what was found.

    Exit status: 0 all is well; 3 something is wrong, and sessions can be restored; 1 a target can't be used, or its
    newest session can't be restored.
    """
    from ..lock import locked
    from .opening import named_addresses
    from .setup import prepare

    given = {name: options[name] for name in ("address", "restore_cache_size", "restore_cache_dir")}
    statuses: list[int] = []
    with prepare(host, output, **given) as run, locked(host):
        addresses = named_addresses(run)
        secret = _secret(run, options)
        found: list[dict[str, Any]] = []
        for number, address in enumerate(addresses):
            if number and not output.as_json and not output.quiet:
                output.result("")
            report, test = _check(run, address, secret, restore_test=restore_test, accept_place=accept_place)
            statuses.append(status_of(report, test))
            if output.as_json:
                found.append(as_json(run, report, test))
            elif report.failed is not None and len(addresses) == 1:
                raise report.failed
            else:
                show(run, report, test)
        if output.as_json:
            output.json({"targets": found, "exit_code": _worst(statuses)})
    return _worst(statuses)


def _worst(statuses: list[int]) -> int:
    """One target of several that can't be used leaves the others."""
    if 1 in statuses:
        return 1 if set(statuses) == {1} else 3
    return max(statuses)


def _secret(run: Run, options: dict[str, Any]) -> str:
    from .restore import read_secret

    return read_secret(run, None, {**options, "noninteractive": False})


def _check(
    run: Run, address: str, secret: str, *, restore_test: bool, accept_place: bool
) -> tuple[CheckReport, RestoreTest | None]:
    """Looks a target over, tests it where asked for, and keeps in the registry what was found."""
    from ..check import CheckReport, check_target
    from ..conf_values import without_password
    from ..copies import own_failure
    from ..placement import accept
    from ..restore_source import ArchiveSource
    from ..scratch import free_space
    from ..trial_restore import run_trial_restore
    from .opening import open_named

    try:
        with own_failure(address):
            target = open_named(run, address)
            if accept_place:
                accept(target, run.context)
    except TklbamError as error:
        return CheckReport(address=without_password(address), failed=error), None
    report = check_target(target, secret, run.engine, run.context)
    test: RestoreTest | None = None
    if restore_test and report.failed is None:
        source = ArchiveSource(
            engine=run.engine, target=target, secret=secret, progress=run.context.progress, fresh=True
        )
        size = run.config.restore_cache_size
        test = run_trial_restore(
            source, run.context, run.config.restore_cache_dir, lambda place: size.bytes_of(free_space(place))
        )
    known = run.registry.targets.read(target.address)
    run.registry.targets.write(replace(known, check=report.note(), restore_test=test or known.restore_test))
    return report, test


def status_of(report: CheckReport, test: RestoreTest | None) -> int:
    if report.failed is not None or (test is not None and test.outcome == "failed"):
        return 1
    if report.problems and report.inventory is not None and not report.inventory.chains:
        return 1  # there were sessions, and none can be restored
    return 3 if report.problems or (test is not None and test.outcome != "complete") else 0


def show(run: Run, report: CheckReport, test: RestoreTest | None) -> None:
    from ..copies import named

    output = run.output
    if report.failed is not None:
        output.warn(f"{named(report.address, report.failed)}\n  {report.failed.remedy}".rstrip())
        return
    if not output.quiet:
        show_all(run, report, test)
    for problem in [*report.problems, *(test.problems if test is not None else ())]:
        output.warn(problem if len(run.config.addresses) < 2 else f"{report.address}: {problem}")
    for warning in report.warnings:
        output.warn(warning)


def show_all(run: Run, report: CheckReport, test: RestoreTest | None) -> None:
    from ..price import cost_at

    output, inventory = run.output, report.inventory
    assert inventory is not None
    output.result(click.style(report.address, bold=True))
    output.result(f"  target     {_reached(report)}")
    output.result(f"  sessions   {_sessions(report)}")
    cost = cost_at(report.address, inventory.size, run.config.price)
    parts = [human_size(inventory.chains_size), str(cost or ""), _free(report.free)]
    output.result(f"  size       {'; '.join(part for part in parts if part)}")
    if inventory.orphans:
        names = ", ".join(file.name for file in inventory.orphans[:2]) + (", …" if len(inventory.orphans) > 2 else "")
        amount = human_size(inventory.orphans_size)
        output.result(f"  orphans    {count(len(inventory.orphans), 'file')} ({amount}) of no session: {names}")
    if test is not None:
        for label, text in zip(("restore", ""), tested(test), strict=False):
            output.result(f"  {label:<9}  {text}")


def _reached(report: CheckReport) -> str:
    from ..check import skew

    text = "reachable, readable and " + ("writable" if report.writable else click.style("NOT WRITABLE", fg="red"))
    if report.clock_skew is None:
        return text
    return text + (
        "; its clock is right" if abs(report.clock_skew) < 2 else f"; its clock is {skew(report.clock_skew)} ours"
    )


def _sessions(report: CheckReport) -> str:
    inventory = report.inventory
    assert inventory is not None
    sessions = inventory.sessions
    damaged = click.style(f"{len(inventory.damaged)} DAMAGED", fg="red", bold=True) if inventory.damaged else ""
    if not sessions:
        return damaged or "none yet"
    text = f"{count(len(sessions), 'session')} in {count(len(inventory.chains), 'chain')}, the newest of "
    text += moment(sessions[-1].time)
    return text + (f"; {damaged}" if damaged else "" if report.problems else "; every volume is there")


def _free(free: int | None) -> str:
    return "" if free is None else f"{human_size(free)} free"


def tested(test: RestoreTest) -> list[str]:
    """What a restore test found, in a line or two."""
    if test.outcome == "failed":
        return [click.style("FAILED", fg="red", bold=True) + f" after {human_duration(test.seconds)}"]
    assert test.session is not None
    outcome = (
        click.style("complete", fg="green")
        if test.outcome == "complete"
        else click.style("INCOMPLETE", fg="yellow", bold=True)
    )
    files = f"{count(test.files, 'file')} ({human_size(test.size)}) in {human_duration(test.seconds)}"
    changed = f"; {test.changed:,} changed here since" if test.changed else ""
    return [
        f"{outcome}: the session of {moment(test.session)}, {files}",
        f"{test.compared:,} compared byte for byte{changed}",
    ]


def as_json(run: Run, report: CheckReport, test: RestoreTest | None) -> dict[str, Any]:
    from ..plain_json import to_plain
    from ..price import cost_at

    inventory = report.inventory
    cost = cost_at(report.address, inventory.size, run.config.price) if inventory else None
    return {
        "address": report.address,
        "exit_code": status_of(report, test),
        "error": report.failed.what if report.failed is not None else None,
        "writable": report.writable and report.failed is None,
        "cost": cost.to_json() if cost else None,
        "warnings": report.warnings,
        "check": to_plain(report.note()),
        "restore_test": to_plain(test) if test is not None else None,
    }
