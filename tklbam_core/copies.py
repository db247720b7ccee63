"""One session on every target, each by itself: what goes wrong with one is its own, and the others get theirs."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

from .api.errors import SpaceError, TargetError, TklbamError, UsageError
from .api.progress import Progress, ProgressEvent
from .api.storage import Target
from .conf_values import without_password
from .context import Context
from .engine.interface import Chain, Engine, Session, Verification, WriteRequest, WriteResult
from .listed import ListedTarget
from .ready import prove_target, ready_for_session
from .schedule import Interval

Warn = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSession:
    """What became of one target. `chain_length` counts the sessions of the chain this one belongs to; `target_size` is
    bytes of all sessions there, `target_free` what is still free, where known."""

    address: str
    result: WriteResult
    verified: bool
    problems: tuple[str, ...] = ()
    chain_started: datetime | None = None
    chain_length: int = 0
    target_size: int = 0
    target_free: int | None = None
    pruned: tuple[Session, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How sessions are stored: see BackupOrder."""

    secret: str = field(repr=False)
    full_backup: Interval
    keep_full: int


class Proof:
    """Whether a target can be written: found out beside other work where several threads may use it, else at once."""

    def __init__(self, target: Target, context: Context) -> None:
        self.target = target
        self._error: TklbamError | None = None
        self._thread: threading.Thread | None = None
        if target.parallel_writes > 1:
            self._thread = threading.Thread(target=self._prove, args=(context,), daemon=True)
            self._thread.start()
        else:
            self._prove(context)

    def _prove(self, context: Context) -> None:
        try:
            with own_failure(self.target.address):
                prove_target(self.target, context, write=True)
        except TklbamError as error:
            self._error = error

    @property
    def under_way(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def outcome(self) -> TklbamError | None:
        """Waits for the end; the error where it can't be written."""
        if self._thread is not None:
            self._thread.join()
        return self._error


@dataclass(slots=True, kw_only=True)
class Copies:
    """The targets of one backup, in the order of their addresses. `failed` are those that can't be stored to, by
    address; `targets` may still turn out to be, which `proofs` are about to tell."""

    targets: list[Target] = field(default_factory=list)
    failed: dict[str, TklbamError] = field(default_factory=dict)
    proofs: list[Proof] = field(default_factory=list)

    def prove(self, *, wait: bool = True) -> None:
        """Raises the targets' error where none can be written; without `wait` nothing while that is not known yet.

        One that can't be is tried again once there is something to store.
        """
        if not self.proofs or (not wait and any(proof.under_way for proof in self.proofs)):
            return
        doubted = {proof.target.address: error for proof in self.proofs if (error := proof.outcome()) is not None}
        hopeless = len(doubted) == len(self.proofs)
        self.proofs.clear()
        if hopeless:
            raise_all({**self.failed, **doubted})

    def watched(self, progress: Progress) -> Progress:
        """The same, for work that may be ended at any step: by an error, where no target can be written."""

        def report(event: ProgressEvent) -> None:
            self.prove(wait=False)
            progress(event)

        return report


class NothingStoredError(TklbamError):
    """None of several targets took the backup. `failed` is why, by address."""

    def __init__(self, failed: Mapping[str, TklbamError]) -> None:
        lines = [named(address, error) for address, error in failed.items()]
        super().__init__("none of the targets took the backup: " + "; ".join(lines), _first(failed).remedy)
        self.failed = dict(failed)
        self.exit_code = _first(failed).exit_code


def open_copies(
    addresses: Sequence[str], open_target: Callable[[str], Target], context: Context, *, write: bool
) -> Copies:
    """Opens the targets and, with `write`, begins to prove that they can be written. Raises their error where it is
    known at once that none can be."""
    copies = Copies()
    for address in distinct(addresses):
        try:
            with own_failure(address):
                target = open_target(address)
        except TklbamError as error:
            copies.failed[without_password(address)] = error
            continue
        copies.targets.append(target)
        if write:
            copies.proofs.append(Proof(target, context))
    if (addresses or write) and not copies.targets:
        raise_all(copies.failed)
    copies.prove(wait=False)
    return copies


def store_on_all(
    copies: Copies,
    terms: Terms,
    source: WriteRequest,
    engine: Engine,
    context: Context,
    stored: Callable[[StoredSession], None],
    warn: Warn,
) -> None:
    """Stores what `source` describes on every target that is open; raises their error where none took it.

    `stored` is called for each session as soon as it is there; whatever fails is in `copies.failed` afterwards.
    """
    done = 0
    for target in copies.targets:
        try:
            with own_failure(target.address):
                session = _store_on(target, terms, source, engine, context, warn)
        except TklbamError as error:
            copies.failed[target.address] = error
            continue
        done += 1
        stored(session)
    if not done:
        raise_all(copies.failed)


def _store_on(
    place: Target, terms: Terms, source: WriteRequest, engine: Engine, context: Context, warn: Warn
) -> StoredSession:
    target = ListedTarget(place)
    full = ready_for_session(target, terms.secret, terms.full_backup, engine, context)
    result = engine.write(target, replace(source, full=full))
    for warning in result.warnings:
        warn(warning)
    # From here on the session is there, whatever else fails. It is verified by what was listed after all was stored.
    verification = verified(target, result.session, terms.secret, engine)
    for problem in verification.problems:
        warn(f"{target.address}: {problem}")
    pruned: Sequence[Session] = ()
    chains: Sequence[Chain] = ()
    free: int | None = None
    try:
        with own_failure(target.address):
            # Only a new full session that was verified may take an older chain's place.
            if terms.keep_full and verification.ok and result.session.kind == "full":
                pruned = engine.prune(target, terms.keep_full)
            chains = engine.chains(target)
            free = target.free_bytes()
    except TklbamError as error:
        warn(named(target.address, error))
    return StoredSession(
        address=target.address,
        result=result,
        verified=verification.ok,
        problems=verification.problems,
        chain_started=chains[-1].sessions[0].time if chains else None,
        chain_length=len(chains[-1].sessions) if chains else 0,
        target_size=sum(chain.size for chain in chains),
        target_free=free,
        pruned=tuple(pruned),
    )


def verified(target: Target, session: Session, secret: str, engine: Engine) -> Verification:
    """The engine's check of a session that has just been stored; one that can't be made is a problem of it."""
    try:
        with own_failure(target.address):
            return engine.verify(target, session, secret)
    except TklbamError as error:
        return Verification(ok=False, volumes=0, problems=(f"it can't be checked: {error.what}",))


@contextmanager
def own_failure(address: str) -> Iterator[None]:
    """Makes whatever goes wrong with one target a TklbamError of that target's own."""
    try:
        yield
    except TklbamError:
        raise
    except OSError as error:
        why = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise SpaceError(f"{without_password(address)}: {why}", "Free some space there.") from error
        raise TargetError(f"{without_password(address)}: {why}", "Check that place.") from error
    except Exception as error:
        raise TargetError(
            f"{without_password(address)}: something unforeseen happened: {type(error).__name__}: {error}",
            "Run the command again with --debug and report what it prints.",
        ) from error


def named(address: str, error: TklbamError) -> str:
    """What went wrong, with the target's address in it."""
    return error.what if address in error.what else f"{address}: {error.what}"


def unverified(address: str) -> str:
    """What a backup says of a session there that was stored and is not sound."""
    return f"{address}: the session was stored, but its verification failed"


def raise_all(failed: Mapping[str, TklbamError]) -> None:
    """Raises the error of the only target, or one that names all of them."""
    if len(failed) == 1:
        raise _first(failed)
    if failed:
        raise NothingStoredError(failed) from _first(failed)
    raise UsageError(
        "there is nowhere to store the backup",
        "Give --address URL, or put an `address URL` line into the configuration.",
    )


def _first(failed: Mapping[str, TklbamError]) -> TklbamError:
    return next(iter(failed.values()))


def distinct(addresses: Sequence[str]) -> list[str]:
    """Each target once, however often its address stands there."""
    found: dict[str, str] = {}
    for address in addresses:
        found.setdefault(address.rstrip("/"), address)
    return list(found.values())
