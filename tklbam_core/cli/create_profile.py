"""`tklbam internal create-profile`: makes a profile from a pristine system."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..api.errors import ProfileError, TklbamError
from ..host import Host
from .common import Output, common_options

if TYPE_CHECKING:
    from ..delta.scan import ScanReport

NOT_ALL_READ = 3


@click.command(
    context_settings={"help_option_names": ["-h", "--help"]}, short_help="Make a profile from a pristine system"
)
@click.option("-f", "--force", is_flag=True, help="Write into OUTDIR though there is something in it.")
@click.option("--no-packages", is_flag=True, help="Don't list the packages.")
@click.option("--no-dirindex", is_flag=True, help="Don't index the files.")
@click.option("--profile-id", metavar="ID", help="The profile's id; by default that of the system.")
@click.argument("outdir", type=click.Path(path_type=Path))
@click.argument("conf", type=click.Path(allow_dash=True, path_type=Path))
@common_options()
def command(
    host: Host,
    output: Output,
    force: bool,
    no_packages: bool,
    no_dirindex: bool,
    profile_id: str | None,
    outdir: Path,
    conf: Path,
) -> int:
    """Make a profile in OUTDIR: all that CONF names on this system (or that of --root) is taken to be as installed.

    CONF holds paths to scan, one or more a line, with a leading `-` those to leave out; - reads it from standard
    input.
    """
    from ..delta.profile import check_profile_id, create_profile

    if profile_id is not None:
        check_profile_id(profile_id)
    words = _read(conf)
    _prepare(outdir, force)
    created = create_profile(
        host.root,
        words,
        outdir,
        profile_id=profile_id,
        packages=not no_packages,
        dirindex=not no_dirindex,
        skip=_own_places(host, outdir),
    )
    output.note(f"{outdir}: {created.entries} paths, {created.packages} packages")
    return _tell(created.report, output)


def _read(conf: Path) -> bytes:
    if str(conf) == "-":
        return sys.stdin.buffer.read()
    try:
        return conf.read_bytes()
    except OSError as error:
        raise TklbamError(f"can't read {conf}: {error.strerror}", "Name a file with the paths to scan.") from error


def _prepare(outdir: Path, force: bool) -> None:
    try:
        if outdir.is_dir() and any(outdir.iterdir()) and not force:
            raise ProfileError(
                f"{outdir} is not empty", "Name another directory, or use --force to replace its profile."
            )
        outdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TklbamError(f"can't use {outdir}: {error.strerror}", "Name another directory.") from error


def _own_places(host: Host, outdir: Path) -> list[bytes]:
    """What is no part of the system though it lies on it, as paths of the system."""
    base = os.path.realpath(host.root).rstrip("/") + "/"
    places = (os.path.realpath(place) for place in (outdir, host.registry_dir, host.extras_dir))
    return [os.fsencode(place[len(base) - 1 :]) for place in places if place.startswith(base)]


def _tell(report: ScanReport, output: Output) -> int:
    for problem in report.problems:
        output.warn(f"{os.fsdecode(problem.path)} could not be read: {problem.reason}")
    if report.problem_count > len(report.problems):
        output.warn(f"and {report.problem_count - len(report.problems)} more")
    return NOT_ALL_READ if report.problem_count else 0
