"""What docs/hub.md tells an operator to type is what the command takes, and every setting is in it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from tklbam_hub.cli.main import main

TOP = Path(__file__).parents[2]
PAGES = ("docs/hub.md", "docs/hub-api.md", "hub/README.md")


def typed() -> list[str]:
    """The lines of the pages' examples that run the command, continued ones as one."""
    lines = []
    for page in PAGES:
        text = re.sub(r"\\\n\s+", "", (TOP / page).read_text())
        lines += re.findall(r"(?m)^    (?:systemd-run .* )?(tklbam-hub [a-z].*)$", text)
    return [line.split("  #")[0].rstrip() for line in lines]


@pytest.mark.parametrize("line", typed())
def test_documented_commands_parse(line: str) -> None:
    words = shlex.split(line)[1:]
    command: click.Command = main
    context = click.Context(main, info_name="tklbam-hub")
    while isinstance(command, click.Group):
        name, command_, words = command.resolve_command(context, words)
        assert command_ is not None, name
        command = command_
        context = click.Context(command, info_name=name, parent=context)
    # A metavariable such as 7 or ACCESS-KEY stands for itself; paths need not exist here.
    for parameter in command.params:
        if isinstance(parameter.type, click.Path):
            parameter.type.exists = False
    command.make_context("x", words, parent=context.parent, resilient_parsing=False)


def test_there_are_documented_commands() -> None:
    assert len(typed()) >= 12


def test_every_setting_is_documented() -> None:
    manual = (TOP / "docs/hub.md").read_text()
    sources = "".join(path.read_text() for path in (TOP / "hub/tklbam_hub").glob("*.py"))
    names = set(re.findall(r'"(TKLBAM_HUB_[A-Z_]+|DATABASE_URL)"', sources))
    assert len(names) > 8
    for name in names:
        assert f"`{name}`" in manual, name
