"""The dump that lies in a backup's extras, of whichever version."""

from __future__ import annotations

from pathlib import Path

from tklbam_core.api import DatabaseReport, FormatError

from .layout import DIRECTORY, Layout


def open_source(extras: Path) -> Layout | None:
    """The dump below `extras`, None where there is none. Raises FormatError for an unfinished or unknown one."""
    directory = extras / DIRECTORY
    return open_directory(directory) if directory.is_dir() else None


def open_directory(directory: Path) -> Layout | None:
    """The dump in a `myfs` directory itself."""
    from .v1 import LegacyLayout

    found = Layout(directory)
    if found.is_finished:
        found.manifest()
        return found
    if found.is_unfinished:
        raise FormatError(directory, None, "this dump was never finished", "Restore an earlier session.")
    legacy = LegacyLayout(directory)
    return legacy if legacy.databases() or (directory / "mysql").is_dir() else None


def not_looked_for(source: Layout) -> DatabaseReport:
    """The answer where databases can't be restored because another root's servers are not looked for."""
    names = ", ".join(source.databases())
    return DatabaseReport(
        engine="mysql",
        directory=DIRECTORY,
        server="none",
        warnings=(
            f"databases not restored, because servers are not looked for with --root: {names}; name one with "
            "database-option mysql:host=… or mysql:socket=…",
        ),
    )
