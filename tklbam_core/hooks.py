"""The administrator's executables in hooks.d, and those of a profile when they are signed."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from .api import process
from .api.errors import CommandError, HookError, TklbamError
from .host import Host

KEYRING = "hooks-keyring.gpg"
KEYRINGS = "trusted.gpg.d"
SHIPPED_KEYRINGS = "/usr/share/keyrings/tklbam"


class Skips(Protocol):
    """What an order leaves out."""

    @property
    def skip_files(self) -> bool: ...

    @property
    def skip_packages(self) -> bool: ...

    @property
    def skip_database(self) -> bool: ...


def skip_variables(operation: str, order: Skips) -> dict[str, str]:
    """`TKLBAM_BACKUP_SKIP_FILES` and its like: `yes` for what is left out, unset for the rest."""
    left_out = {"FILES": order.skip_files, "PACKAGES": order.skip_packages, "DATABASE": order.skip_database}
    return {f"TKLBAM_{operation.upper()}_SKIP_{name}": "yes" for name, skipped in left_out.items() if skipped}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """The executables of one run, in the order they run. The list is fixed when it is made, so what a restore puts
    into hooks.d never runs during that restore."""

    executables: tuple[Path, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    chroot: Path | None = None

    def run(self, operation: str, stage: str, *, cwd: Path | None = None, say: Callable[[str], None]) -> None:
        """Runs every hook with `operation` and `stage` as its arguments; `inspect` gives the extras directory as `cwd`.

        Raises HookError for the first that exits non-zero.
        """
        for executable in self.executables:
            argv = [str(executable), operation, stage]
            inside = self.chroot
            if inside is not None:
                argv[0] = "/" + str(executable.relative_to(inside))
                if cwd is not None:
                    # chroot(8) starts in the new root; the hook's own directory is set by env -C inside it.
                    argv = ["env", "-C", "/" + str(cwd.relative_to(inside)), *argv]
            try:
                done = process.run(argv, env=self.environment, cwd=cwd if inside is None else None, chroot=inside)
            except CommandError as error:
                raise HookError(
                    f"the hook {executable} failed at `{operation} {stage}`: {error.what}",
                    "Repair it, or take its execute bit away, and run the command again.",
                ) from error
            for line in done.stdout.decode("utf-8", "replace").splitlines():
                say(f"{executable.name}: {line}")


def find_hooks(
    host: Host,
    *,
    profile: Path | None,
    environment: Mapping[str, str],
    run_foreign: bool = False,
    warn: Callable[[str], None],
) -> Hooks:
    """The hooks of this host, then the profile's.

    With a root other than `/` its hooks run only with `run_foreign`, and then chrooted into it. A profile's hook runs
    only when its detached signature (`NAME.sig`) verifies against a keyring of the administrator's or of a package's
    (`keyrings`).
    """
    names = _executables(host.hooks_dir)
    if not host.is_live and not run_foreign:
        if names:
            warn(f"the hooks in {host.hooks_dir} are not run for another root (--run-hooks runs them, chrooted)")
        return Hooks(executables=(), environment=environment)
    chroot = None if host.is_live else host.root
    if chroot is not None:
        names = [name for name in names if name.is_relative_to(chroot)]
    else:
        names += [hook for hook in _executables(profile / "hooks.d" if profile else None) if _signed(hook, host, warn)]
    return Hooks(executables=tuple(names), environment=environment, chroot=chroot)


def _executables(directory: Path | None) -> list[Path]:
    if directory is None or not directory.is_dir():
        return []
    found = [path for path in directory.iterdir() if path.suffix != ".sig" and _is_executable(path)]
    return sorted(found, key=lambda path: os.fsencode(path.name))


def _is_executable(path: Path) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and bool(status.st_mode & 0o111)


def _signed(hook: Path, host: Host, warn: Callable[[str], None]) -> bool:
    why = _mistrusted(hook, keyrings(host))
    if why:
        warn(f"the profile's hook {hook.name!a} is not run: {why}")
    return not why


def keyrings(host: Host) -> list[Path]:
    """Keyrings (binary, as `gpg --export` writes them) of those whose hooks may come with profiles.

    In the configuration directory `hooks-keyring.gpg` and `trusted.gpg.d/*.gpg`, and what packages ship.
    """
    folders = (host.conf_dir / KEYRINGS, host.path(SHIPPED_KEYRINGS))
    found = [host.conf_dir / KEYRING, *(path for folder in folders for path in sorted(folder.glob("*.gpg")))]
    return [path for path in found if path.is_file()]


def _mistrusted(hook: Path, trusted: Sequence[Path]) -> str:
    """Why a hook may not run; empty where it may."""
    signature = hook.with_name(hook.name + ".sig")
    if not signature.is_file():
        return "it has no signature"
    if not trusted:
        return f"there is no keyring to check its signature with (/etc/tklbam/{KEYRINGS}/*.gpg)"
    words = [word for keyring in trusted for word in ("--keyring", str(keyring))]
    try:
        checked = process.run(["gpgv", *words, "--", str(signature), str(hook)], check=False)
    except TklbamError as error:
        return f"its signature can't be checked: {error.what}"
    return "" if checked.status == 0 else "its signature is not valid"
