"""What is made from the commands is current, complete, works in the shells, and is in the wheel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import click
import pytest

from tklbam_core.cli.main import COMMANDS, INTERNAL, LazyGroup

BASE = Path(__file__).parents[2]
SHARE = BASE / "share"
PROGRAMS = ["tklbam", *(f"tklbam-{name}" for name in COMMANDS)]
PATH = f"{Path(sys.executable).parent}:/usr/bin:/bin"


def parameters(name: str, table: dict[str, tuple[str, str]], prefix: str = "") -> list[click.Parameter]:
    group = LazyGroup(table, prefix=prefix, name=prefix or "tklbam")
    command = group.get_command(click.Context(group), name)
    assert command is not None
    return [each for each in command.params if isinstance(each, click.Option)]


def make_pages(base: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, base / "share/make-pages", *arguments], capture_output=True, text=True)


def test_pages_are_current() -> None:
    done = make_pages(BASE, "--check")
    assert done.returncode == 0, f"run share/make-pages; it would change:\n{done.stdout}{done.stderr}"


def test_stale_missing_and_surplus_pages_are_found_and_made_anew(tmp_path: Path) -> None:
    shutil.copytree(SHARE, tmp_path / "share")
    shutil.copytree(BASE / "docs/manual", tmp_path / "docs/manual")
    page, completion = tmp_path / "share/man/man8/tklbam-backup.8", tmp_path / "share/completions/bash/tklbam"
    surplus, manual = tmp_path / "share/man/man8/tklbam-gone.8", tmp_path / "docs/manual/commands.md"
    page.write_text(page.read_text().replace("checksum", "chksum"))
    completion.unlink()
    surplus.write_text("")
    manual.write_text(manual.read_text().replace("`--full-backup", "`--fuller-backup"))
    stale = {str(path.relative_to(tmp_path)) for path in (page, completion, surplus, manual)}
    done = make_pages(tmp_path, "--check")
    assert (done.returncode, set(done.stdout.split())) == (1, stale)
    assert make_pages(tmp_path).returncode == 0
    assert not surplus.exists()
    assert page.read_bytes() == (SHARE / "man/man8/tklbam-backup.8").read_bytes()
    assert manual.read_bytes() == (BASE / "docs/manual/commands.md").read_bytes()
    assert make_pages(tmp_path, "--check").returncode == 0


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "internal"])
def test_every_option_has_its_line_in_manual_page_and_manual(name: str) -> None:
    page = (SHARE / f"man/man8/tklbam-{name}.8").read_text().replace("\\-", "-")
    manual = (BASE / "docs/manual/commands.md").read_text()
    (section,) = re.findall(rf"^### tklbam-{name}\n(.*?)(?=^#|\Z)", manual, re.MULTILINE | re.DOTALL)
    for option in parameters(name, COMMANDS):
        for written in option.opts:
            assert re.search(rf"^\.B (.*, )?{written}\b", page, re.MULTILINE), written
            assert re.search(rf"^\| `([^`]*[ ,])?{written}\b", section, re.MULTILINE), written


@pytest.mark.parametrize("name", INTERNAL)
def test_every_option_of_the_parts_is_in_manual_page_and_manual(name: str) -> None:
    page = (SHARE / "man/man8/tklbam-internal.8").read_text().replace("\\-", "-")
    manual = (BASE / "docs/manual/commands.md").read_text()
    assert f"### tklbam internal {name}\n" in manual
    for option in parameters(name, INTERNAL, "internal"):
        assert all(written in page and written in manual for written in option.opts)


def test_manual_pages_are_well_formed() -> None:
    for program in PROGRAMS:
        lines = (SHARE / f"man/man8/{program}.8").read_text().splitlines()
        assert lines[1].startswith(f".TH {program.upper()} 8 ")
        sections = [line[4:] for line in lines if line.startswith(".SH ")]
        assert sections[:3] == ["NAME", "SYNOPSIS", "DESCRIPTION"]
        assert sections[-1] == "SEE ALSO"
        for line in lines:
            # A line that begins with a dot is a request: one of those below, or text that lost its way.
            assert not line.startswith(("'", " ")), line
            assert not line.startswith(".") or re.match(r'\.(\\"|(TH|SH|TP|PP|BR|B|br|nf|fi|RS|RE|nh|ad)\b)', line), (
                line
            )


def complete(words: str, program: str = "tklbam") -> list[str]:
    """What the program offers for the last word, as bash's function asks it."""
    variable = f"_{program.upper().replace('-', '_')}_COMPLETE"
    environment = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" ")), variable: "bash_complete", "PATH": PATH}
    done = subprocess.run([program], env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_programs_complete_commands_options_and_paths() -> None:
    assert complete("tklbam re") == ["plain,restore", "plain,restore-rollback"]
    assert complete("tklbam internal fix") == ["plain,fixstat"]
    assert complete("tklbam backup --skip-") == [f"plain,--skip-{part}" for part in ("files", "database", "packages")]
    assert complete("tklbam-backup --vol", "tklbam-backup") == ["plain,--volsize"]
    assert complete("tklbam escrow /media/") == ["file,/media/"]
    assert complete("tklbam escrow --format ") == ["plain,1", "plain,2"]


def test_completion_of_a_command_s_name_imports_no_command() -> None:
    code = (
        "import sys\nfrom tklbam_core.cli.main import main\ntry:\n    main()\nexcept SystemExit:\n    pass\n"
        "print([name for name in sys.modules if name.startswith('tklbam_core.cli.') and not name.endswith('.main')])"
    )
    environment = {"COMP_WORDS": "tklbam re", "COMP_CWORD": "1", "_TKLBAM_COMPLETE": "bash_complete"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, cwd=BASE
    )
    assert done.stdout.splitlines() == ["plain,restore", "plain,restore-rollback", "[]"]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("tklbam re", ["restore", "restore-rollback"]),
        ("tklbam-restore --restore-cache-", ["--restore-cache-size", "--restore-cache-dir"]),
    ],
)
def test_bash_completes_with_the_files_that_ship(words: str, offered: list[str]) -> None:
    program, last = words.split()
    script = f"""
        source {SHARE}/completions/bash/{program}
        set -- $(complete -p {program})
        while [ "$1" != -F ]; do shift; done
        COMP_WORDS=({words}); COMP_CWORD=1
        "$2" {program} {last} {program}
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", script], env={"PATH": PATH}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == offered


@pytest.mark.parametrize("place", ["bash/{}", "zsh/_{}", "fish/{}.fish"])
def test_every_program_has_its_completion_in_every_shell(place: str) -> None:
    for program in PROGRAMS:
        text = (SHARE / "completions" / place.format(program)).read_text()
        assert program in text
        assert f"_{program.upper().replace('-', '_')}_COMPLETE=" in text
        assert "/" + "work" not in text


@pytest.mark.parametrize(
    "words",
    [
        ["/srv", "-/srv/cache", "-mysql:shop/log"],
        ["-/srv/cache", "--simulate", "/srv"],
        ["-pgsql:shop"],
        ["--", "-/srv/cache"],
    ],
)
def test_rules_that_leave_out_need_no_double_dash(words: list[str]) -> None:
    from tklbam_core.cli.backup import command

    rules = tuple(word for word in words if not word.startswith("--"))
    assert command.make_context("backup", list(words)).params["overrides"] == rules


def test_wheel_has_what_a_packager_installs(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in ("tklbam_core", "share"):
        shutil.copytree(BASE / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "COPYING"):
        shutil.copy(BASE / name, source / name)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--skip-dependency-check", "--outdir"]
    done = subprocess.run([*command, tmp_path, source], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        data = {name.partition(".data/data/")[2] for name in archive.namelist()}
    places = {"man/man8": "man/man8"}
    places |= {"completions/bash": "bash-completion/completions", "completions/zsh": "zsh/site-functions"}
    places |= {"completions/fish": "fish/vendor_completions.d"}
    places |= {name: f"tklbam/{name}" for name in ("conf", "cron.daily", "logrotate", "systemd")}
    for folder, place in places.items():
        files = os.listdir(SHARE / folder)
        assert files
        assert {f"share/{place}/{name}" for name in files} <= data


def test_logs_that_are_rotated_are_those_that_are_written() -> None:
    from tklbam_core.host import Host

    words = (SHARE / "logrotate/tklbam").read_text().split()
    written = [str(Host.from_environment("/").log_file(operation)) for operation in ("backup", "restore")]
    assert [word for word in words if word.startswith("/var/log/")] == written
    assert "create 0600 root root" in " ".join(words)
