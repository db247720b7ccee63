"""The manual tells the truth: its commands parse, its links lead somewhere, the messages it explains exist."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tklbam_core.cli.main import COMMANDS, INTERNAL, LazyGroup
from tklbam_core.conf_syntax import read_settings
from tklbam_core.config import Config
from tklbam_core.host import Host

BASE = Path(__file__).parents[2]
MANUAL = (BASE / "docs/manual.md").read_text()
PAGES = [
    BASE / "README.md",
    *sorted((BASE / "docs").rglob("*.md")),
    *sorted(path for path in (BASE / "plugins").rglob("README.md") if "node_modules" not in path.parts),
]


def shown(pattern: str) -> Iterator[str]:
    """Lines of the pages' code blocks that match, without their comments."""
    for page in PAGES:
        for line in page.read_text().splitlines():
            if line.startswith("    ") and re.match(pattern, line.strip()):
                yield re.split(r" {2,}#| #|  \(", line.strip())[0].strip()


COMMAND_LINES = sorted(set(shown(r"(tklbam|tklbam-(?!hub )[a-z-]+) ")))


def parse(words: list[str]) -> None:
    """Raises click's error for a command line that can't be."""
    name, *rest = words
    if name != "tklbam":
        rest = [name.removeprefix("tklbam-"), *rest]
    table, prefix = COMMANDS, ""
    if rest[0] == "internal":
        table, prefix, rest = INTERNAL, "internal", rest[1:]
    group = LazyGroup(table, prefix=prefix, name=prefix or "tklbam")
    command = group.get_command(click.Context(group), rest[0])
    assert command is not None, rest[0]
    command.make_context(rest[0], rest[1:])


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_command_lines_that_are_shown_can_be_typed(line: str) -> None:
    words = shlex.split(line)
    if ">" in words:
        words = words[: words.index(">")]
    try:
        parse(words)
    except click.BadParameter as error:
        if "does not exist" not in error.message:  # a path of the reader's, not of this machine
            raise


def test_a_command_line_with_a_mistake_is_found() -> None:
    for line in ("tklbam restore --adress file:///x", "tklbam bakup", "tklbam escrow"):
        with pytest.raises((click.UsageError, AssertionError)):
            parse(line.split())
    assert len(COMMAND_LINES) > 20


def test_options_in_running_text_exist() -> None:
    known = {"--short", "--help", "--version", "--failed", "--now", "--export"}
    for table, prefix in ((COMMANDS, ""), (INTERNAL, "internal")):
        group = LazyGroup(table, prefix=prefix, name=prefix or "tklbam")
        for name in table:
            command = group.get_command(click.Context(group), name)
            assert command is not None
            known |= {option for each in command.params for option in each.opts}
    for page in (MANUAL, (BASE / "README.md").read_text()):
        for option in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", page):
            assert option in known, option


def test_configuration_lines_that_are_shown_are_read(tmp_path: Path) -> None:
    conf = tmp_path / "etc/tklbam"
    conf.mkdir(parents=True)
    lines = list(
        shown(r"(address|keep-full|full-backup|database-option|storage-option|disable-plugin|extras-dir|hub-[a-z-]+) ")
    )
    assert len(lines) > 4
    (conf / "conf").write_text("".join(f"{line}\n" for line in lines))
    host = Host.from_environment(tmp_path)
    assert len(list(read_settings(host.conf_dir))) == len(lines)
    Config.load(host)


def anchors(page: Path) -> set[str]:
    text = page.read_text()
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    made = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
    return made | set(re.findall(r'<a id="([^"]+)">', text))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(BASE)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"https?:", link):
            continue
        place, _, anchor = link.partition("#")
        target = Path(os.path.normpath(page.parent / place)) if place else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_messages_that_the_manual_explains_exist() -> None:
    sources = [*(BASE / "tklbam_core").rglob("*.py"), *(BASE / "plugins").rglob("tklbam_*/**/*.py")]
    code = "\n".join(path.read_text() for path in sources)
    # Adjacent string literals are one text.
    code = re.sub(r'"\s*\n\s*f?"', "", code)
    rows = MANUAL.partition("| it says | do this |")[2].splitlines()[2:]
    fragments = [text for row in rows if row.startswith("|") for text in re.findall(r"`([^`]+)`", row.split("|")[1])]
    assert len(fragments) > 15
    for fragment in fragments:
        assert fragment in code, fragment


def test_every_exit_code_is_in_the_manual() -> None:
    codes = set(re.findall(r"exit_code = (\d+)", (BASE / "tklbam_core/api/errors.py").read_text())) | {"0", "3"}
    table = MANUAL.partition("## Exit codes")[2].partition("##")[0]
    assert codes <= set(re.findall(r"^\| (\d+) \|", table, re.MULTILINE))


@pytest.mark.root
def test_file_systems_that_are_left_out_of_a_backup_are_named(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "srv/data").mkdir(parents=True)
    (root / "etc").mkdir()
    tklbam = f'{sys.executable} -c "from tklbam_core.cli.main import main; main()"'
    script = f"""
        set -e
        mount -t tmpfs tmpfs {root}/srv/data
        echo 1 > {root}/srv/data/file
        {tklbam} init --solo --force-profile empty --quiet
        {tklbam} backup --simulate --quiet
        {tklbam} backup --simulate --quiet -/srv/data
        {tklbam} backup --simulate --quiet /srv/data
        grep -c /srv/data/file {root}/TKLBAM/fsdelta
    """
    done = subprocess.run(
        ["unshare", "-m", "--propagation", "private", "sh", "-c", script],
        env={**os.environ, "TKLBAM_ROOT": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "1\n"
    assert done.stderr == (
        "warning: '/srv/data' is another file system and not in the backup; "
        "an override takes it (/path) or leaves it out for good (-/path)\n"
    )
