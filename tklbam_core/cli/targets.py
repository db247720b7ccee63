"""`tklbam targets`"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from ..api.errors import PluginError, UsageError
from ..host import Host
from .common import Output, common_options

if TYPE_CHECKING:
    from ..targets import Scheme, Schemes

LABEL = 15
WIDTH = 78


@click.command("targets")
@click.argument("scheme", required=False, metavar="[SCHEME]")
@common_options(json_output=True)
def command(host: Host, output: Output, scheme: str | None) -> None:
    """Show where backups can go: the kinds of addresses, with examples, options, and how to give credentials.

    SCHEME (such as s3) shows one kind. No network is used.
    """
    from ..targets import survey_schemes
    from .light import light_plugins

    schemes = survey_schemes(light_plugins(host, output))
    for problem in schemes.problems:
        output.warn(problem)
    found: Sequence[Scheme] = schemes.found
    if scheme is not None:
        name = scheme.partition(":")[0].lower()
        found = [each for each in found if name in (each.name, *_forms(each))]
        if not found and name in schemes.absent:
            raise PluginError(f"no plugin stores to {name}:// addresses", f"Install {schemes.absent[name]}.")
        if not found:
            known = ", ".join(each.name for each in schemes.found) or "none"
            raise UsageError(f"there is no kind of address called {scheme!r}", f"Installed are: {known}.")
    if output.as_json:
        output.json(as_json(found, schemes))
        return
    for number, each in enumerate(found):
        if number:
            output.result("")
        for line in lines(each):
            output.result(line)
    if scheme is None:
        for line in closing(schemes):
            output.result(line)
    if any(each.info and each.info.options for each in found):
        output.note(f"\nAn option is a line `storage-option KEY=VALUE` in {host.conf_dir}/conf.")


def _forms(scheme: Scheme) -> set[str]:
    return {form.partition(":")[0] for form in scheme.info.forms} if scheme.info else set()


def lines(scheme: Scheme) -> Iterator[str]:
    info = scheme.info
    name = click.style(f"{scheme.name}://", bold=True)
    if info is None:
        yield f"{name}  (its plugin does not describe it)"
        yield from labelled("from", [f"{scheme.distribution} {scheme.version}"])
        return
    yield from textwrap.wrap(f"{name}  {info.what}", WIDTH + len(name) - len(scheme.name) - 3, subsequent_indent="  ")
    yield from labelled("from", [f"{scheme.distribution} {scheme.version}"])
    yield from labelled("example" if len(info.forms) == 1 else "examples", info.forms)
    yield from labelled("credentials", [info.credentials] if info.credentials else [])
    width = min(max((len(option.key) for option in info.options), default=0), 26)
    yield from labelled("options", [f"{each.key:<{width}}  {each.meaning}" for each in info.options], hang=width + 2)
    if info.missing:
        yield from labelled("MISSING", [f"{', '.join(info.missing)}: install it to use this"], mark=True)
    elif info.needs:
        yield from labelled("uses", [", ".join(info.needs)])


def labelled(label: str, texts: Sequence[str], *, hang: int = 0, mark: bool = False) -> Iterator[str]:
    """A label and texts beside it, each wrapped for 80 columns, its later lines `hang` columns in."""
    for text in texts:
        pad = " " * (LABEL - 2 - len(label))
        shown = click.style(label, fg="red", bold=True) if mark else label
        first, *rest = textwrap.wrap(
            text,
            WIDTH - LABEL,
            subsequent_indent=" " * hang,
            break_long_words=False,
            break_on_hyphens=False,
            drop_whitespace=True,
        ) or [""]
        yield f"  {shown}{pad}{first}"
        for line in rest:
            yield " " * LABEL + line
        label = ""


def closing(schemes: Schemes) -> Iterator[str]:
    by_distribution: dict[str, list[str]] = {}
    for scheme, distribution in schemes.absent.items():
        by_distribution.setdefault(distribution, []).append(f"{scheme}://")
    if not schemes.found:
        yield "No storage plugin is installed."
    if by_distribution:
        yield ""
        yield click.style("Not installed", bold=True)
        for distribution, names in by_distribution.items():
            text = f"{distribution}: {' '.join(names)}"
            yield from textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="    ")


def as_json(found: Sequence[Scheme], schemes: Schemes) -> dict[str, Any]:
    return {
        "schemes": [
            {
                "scheme": each.name,
                "distribution": each.distribution,
                "version": each.version,
                "what": each.info.what if each.info else "",
                "examples": list(each.info.forms) if each.info else [],
                "options": {option.key: option.meaning for option in each.info.options} if each.info else {},
                "credentials": each.info.credentials if each.info else "",
                "needs": list(each.info.needs) if each.info else [],
                "missing": list(each.info.missing) if each.info else [],
            }
            for each in found
        ],
        "not_installed": dict(schemes.absent),
    }
