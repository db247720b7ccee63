"""What `list` shows of targets: every session on them, what they hold in all, and what that costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from ..api.errors import TklbamError
from .common import count, human_size, moment

if TYPE_CHECKING:
    from ..engine.interface import DamagedSession, Inventory, Session
    from ..price import Cost
    from .setup import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One target. With `error` nothing else is known; `free` is bytes, None where not known."""

    address: str
    error: TklbamError | None = None
    inventory: Inventory | None = None
    free: int | None = None
    cost: Cost | None = None


def list_targets(run: Run, addresses: Sequence[str]) -> int:
    """Shows the targets; answers the exit status: 1 where none can be read, 3 where one of several can't."""
    output = run.output
    listings = [_listing(run, address) for address in addresses]
    failed = [listing for listing in listings if listing.error is not None]
    if output.as_json:
        output.json([as_json(listing) for listing in listings])
    elif len(listings) == 1 and listings[0].error is not None:
        raise listings[0].error
    else:
        for number, listing in enumerate(listings):
            if number:
                output.result("")
            for line in lines(listing):
                output.result(line)
    return 0 if not failed else 1 if len(failed) == len(listings) else 3


def _listing(run: Run, address: str) -> Listing:
    from ..conf_values import without_password
    from ..copies import own_failure
    from ..price import cost_at
    from ..ready import prove_target
    from .opening import open_named

    try:
        with own_failure(address):
            target = open_named(run, address)
            prove_target(target, run.context, write=False)
            inventory = run.engine.inventory(target)
            return Listing(
                address=target.address,
                inventory=inventory,
                free=target.free_bytes(),
                cost=cost_at(target.address, inventory.size, run.config.price),
            )
    except TklbamError as error:
        return Listing(address=without_password(address), error=error)


def lines(listing: Listing) -> Iterator[str]:
    yield click.style(listing.address, bold=True)
    if listing.error is not None or listing.inventory is None:
        error = listing.error
        yield f"  {click.style('FAILED', fg='red', bold=True)}  {error.what if error else ''}"
        if error is not None and error.remedy:
            yield f"          {error.remedy}"
        return
    inventory = listing.inventory
    rows: list[tuple[Session, DamagedSession | None]] = [(session, None) for session in inventory.sessions]
    rows += [(damaged.session, damaged) for damaged in inventory.damaged]
    rows.sort(key=lambda row: row[0].time)
    for number, (session, damaged) in enumerate(rows):
        if number and session.kind == "full":
            yield ""
        yield (
            f"  {moment(session.time)}  {session.kind:<11}  {human_size(session.size):>11}  "
            f"{count(session.volumes, 'volume'):<11}".rstrip()
        )
        if damaged is not None:
            for reason in damaged.reasons:
                yield f"    {click.style('DAMAGED', fg='red', bold=True)}: {reason}"
    if rows:
        yield ""
    yield from summary(listing, inventory)


def summary(listing: Listing, inventory: Inventory) -> Iterator[str]:
    sessions = inventory.sessions
    parts = ["no session"]
    if sessions:
        chains = count(len(inventory.chains), "chain")
        size = human_size(inventory.chains_size)
        parts = [f"{count(len(sessions), 'session')} in {chains}: {size}"]
    parts += [str(listing.cost)] if listing.cost is not None else []
    parts += [f"{human_size(listing.free)} free"] if listing.free is not None else []
    yield "  " + "; ".join(parts)
    if inventory.orphans:
        amount = human_size(inventory.orphans_size)
        yield f"  {count(len(inventory.orphans), 'file')} ({amount}) of no session; `tklbam check` names some"


def as_json(listing: Listing) -> dict[str, Any]:
    inventory = listing.inventory
    return {
        "address": listing.address,
        "error": listing.error.what if listing.error else None,
        "sessions": _sessions(inventory) if inventory else [],
        "chains": len(inventory.chains) if inventory else 0,
        "size": inventory.size if inventory else 0,
        "orphans": {
            "files": len(inventory.orphans) if inventory else 0,
            "size": inventory.orphans_size if inventory else 0,
        },
        "free": listing.free,
        "cost": listing.cost.to_json() if listing.cost else None,
    }


def _sessions(inventory: Inventory) -> list[dict[str, Any]]:
    """By time; `chain` counts from 1, and is null for a session that can't be restored."""
    rows: list[tuple[Session, int | None, tuple[str, ...]]] = [
        (session, number, ()) for number, chain in enumerate(inventory.chains, 1) for session in chain.sessions
    ]
    rows += [(damaged.session, None, damaged.reasons) for damaged in inventory.damaged]
    return [
        {
            "time": session.time.isoformat(),
            "kind": session.kind,
            "size": session.size,
            "volumes": session.volumes,
            "chain": chain,
            "damaged": list(reasons),
        }
        for session, chain, reasons in sorted(rows, key=lambda row: row[0].time)
    ]
