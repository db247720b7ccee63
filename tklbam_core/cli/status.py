"""`tklbam status`"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from ..host import Host
from .common import Output, common_options, count, human_duration, human_size, moment, printable

if TYPE_CHECKING:
    from ..sessions import SessionRecord
    from ..status import Status, TargetStatus
    from ..target_records import RestoreTest

LABEL = 14
SHOWN = 5
"""Problems that a check or a test found, as many as are shown."""


@click.command("status")
@click.option("--short", is_flag=True, help="One line, for programs.")
@common_options(json_output=True)
def command(host: Host, output: Output, short: bool) -> int:
    """Tell how fresh and how sound the backups are.

    Exit status: 0 there is a complete backup; 10 there is none yet; 11 not initialised.
    """
    from ..status import survey

    status = survey(host)
    if output.as_json:
        output.json(as_json(status))
    else:
        output.result(printable(headline(status)))
        if not short:
            for line in details(status):
                output.result(printable(line))
    return status.exit_code


def headline(status: Status) -> str:
    """The line that programs read; its form never changes."""
    if status.updated is None or status.word == "not initialized":
        return f"TKLBAM (Backup and Migration):  {status.word.upper()}"
    if status.hub_backup is not None and status.hub_backup.address.rstrip("/") == status.address.rstrip("/"):
        what = f"Backup ID #{status.hub_backup.backup_id}"
    else:
        what = f"Backup to {status.address}"
    return f"TKLBAM:  {what}, Updated {moment(status.updated)}"


def details(status: Status) -> Iterator[str]:
    if status.word == "not initialized":
        yield from (
            "",
            "  Make the key and get a profile first:",
            "    tklbam init --solo       with storage of your own",
            "    tklbam init API-KEY      with a Hub account",
        )
    elif status.word == "no backups":
        known = status.linked or any(target.last is None for target in status.targets)
        address = "" if known else " --address URL"
        yield from ("", "  Back up for the first time:", f"    tklbam backup{address}")
    for target in status.targets:
        yield ""
        yield from _target(target)
    if status.word != "not initialized":
        yield ""
        if status.profile_id:
            yield _row("Profile", status.profile_id)
        if status.key_protected is not None:
            yield _row("Key", "protected by a passphrase" if status.key_protected else "has no passphrase")
    if status.interrupted:
        yield _row("Interrupted", "the last backup did not end; the next one sees to that")
    for warning in status.warnings:
        yield _row(click.style("Warning", fg="yellow"), warning, width=len("Warning"))


def _target(target: TargetStatus) -> Iterator[str]:
    yield _row("Target", target.address)
    last, stored, complete = target.last, target.stored, target.complete
    if last is None:
        yield _row("Last session", "none yet")
        return
    yield _row("Last session", _session(last))
    if last.error:
        yield _row("", last.error)
    if last.outcome != "complete":
        yield _row("Last complete", f"{_when(complete)}" if complete else click.style("none yet", fg="red"))
    for missing in stored.missing if stored else ():
        yield _row("Missing", missing)
    if stored is not None:
        yield _row("Chain", _chain(stored))
        due = f"at the first backup after {moment(target.next_full)}" if target.next_full else "at the next backup"
        yield _row("Next full", due)
        yield _row("Verified", _verified(stored))
        for problem in stored.verification_problems:
            yield _row("", problem)
    yield from _known(target)
    for warning in last.warnings:
        yield _row("Warning", warning)
    if target.advice:
        yield _row("Advice", target.advice)


def _known(target: TargetStatus) -> Iterator[str]:
    """What the target holds, and what `tklbam check` found there."""
    from ..status import age

    if target.size is not None and target.measured is not None:
        parts = [human_size(target.size)]
        parts += [str(target.cost)] if target.cost is not None else []
        parts += [f"{human_size(target.free)} free"] if target.free is not None else []
        yield _row("Size in all", f"{'; '.join(parts)} ({age(target.measured)})")
    check, test = target.check, target.restore_test
    if check is not None:
        well = "all was well" if check.ok else click.style("NOT WELL:", fg="red", bold=True)
        yield _row("Checked", f"{age(check.time)}: {well}")
        for problem in check.problems[:SHOWN]:
            yield _row("", problem)
    if test is None:
        if target.stored is not None:
            yield _row("Restore", "never tested; `tklbam check --restore-test` does it")
        return
    yield _row("Restore", _test(test))
    for problem in test.problems[:SHOWN]:
        yield _row("", problem)


def _test(test: RestoreTest) -> str:
    from ..status import age

    when = age(test.time)
    if test.outcome == "failed" or test.session is None:
        return click.style("FAILED", fg="red", bold=True) + f" {when}:"
    files = f"{count(test.files, 'file')} of the session of {moment(test.session)}, {test.compared:,} compared"
    if test.outcome == "complete":
        return f"tested {when}: {files}"
    return click.style("INCOMPLETE", fg="yellow", bold=True) + f" {when}: {files}"


def _row(label: str, text: str, width: int | None = None) -> str:
    """A label and its text, wrapped for 80 columns; a long word (an address) is left whole."""
    import textwrap

    pad = " " * (LABEL - (len(label) if width is None else width))
    lines = textwrap.wrap(text, 78 - LABEL - 2, break_long_words=False, break_on_hyphens=False) or [""]
    return f"  {label}{pad}" + f"\n{' ' * (LABEL + 2)}".join(lines)


def _when(record: SessionRecord) -> str:
    from ..status import age

    return f"{age(record.ended)} ({moment(record.ended)})"


def _session(record: SessionRecord) -> str:
    outcome = {
        "complete": click.style("complete", fg="green"),
        "incomplete": click.style("INCOMPLETE", fg="yellow", bold=True),
        "failed": click.style("FAILED", fg="red", bold=True),
    }[record.outcome]
    parts = [outcome, record.kind, _when(record)]
    if record.stored:
        parts.append(f"{human_size(record.size)} in {human_duration(record.seconds)}")
    return ", ".join(part for part in parts if part)


def _chain(record: SessionRecord) -> str:
    sessions = count(record.chain_length, "session")
    return sessions + (f", the full one of {moment(record.chain_started)}" if record.chain_started else "")


def _verified(record: SessionRecord) -> str:
    if record.verified is None:
        return "not checked"
    if record.verified:
        return "yes, every volume is on the target"
    return click.style("NO, the session is damaged:", fg="red", bold=True)


def as_json(status: Status) -> dict[str, Any]:
    """Times as ISO 8601, sizes in bytes, sessions as their records; null where there is none."""

    from ..plain_json import to_plain

    def record(found: SessionRecord | None) -> dict[str, Any] | None:
        return found.to_json() if found else None

    def time(found: datetime | None) -> str | None:
        return found.isoformat() if found else None

    return {
        "status": status.word,
        "exit_code": status.exit_code,
        "updated": time(status.updated),
        "address": status.address,
        "backup_id": status.hub_backup.backup_id if status.hub_backup else None,
        "profile_id": status.profile_id,
        "key_protected": status.key_protected,
        "interrupted": status.interrupted,
        "targets": [
            {
                "address": target.address,
                "last": record(target.last),
                "last_stored": record(target.stored),
                "last_complete": record(target.complete),
                "next_full": time(target.next_full),
                "advice": target.advice,
                "size": target.size,
                "free": target.free,
                "measured": time(target.measured),
                "cost": target.cost.to_json() if target.cost else None,
                "check": to_plain(target.check),
                "restore_test": to_plain(target.restore_test),
            }
            for target in status.targets
        ],
        "warnings": status.warnings,
    }
