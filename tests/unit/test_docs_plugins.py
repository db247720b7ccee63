"""The plugin author's tutorial, done as it says: written, built, installed beside the core, called, turned off."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.unit.test_plugins_wheel import build, make_machine, run

BASE = Path(__file__).parents[2]
PAGE = (BASE / "docs/plugins.md").read_text()
TOOLS = Path(sys.executable).parent


def block(kind: str, holding: str) -> str:
    """The page's only code block of a kind that holds a text."""
    found: list[str] = [text for text in re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL) if holding in text]
    assert len(found) == 1, holding
    return found[0]


def wheel_of(folder: Path, base: Path, *parts: str) -> Path:
    for name in (*parts, "pyproject.toml", "README.md", "COPYING"):
        source, place = folder / name, base / "source" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, place, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, place)
    return build(base / "source", base / "wheels")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin/ of an environment with core, local storage and profiles, the mailer and the wrapper."""
    base = tmp_path_factory.mktemp("tutorial")
    mailer, timer = base / "mailer", base / "timer"
    mailer.mkdir()
    timer.mkdir()
    project = block("toml", "tklbam-mailer")
    (mailer / "pyproject.toml").write_text(project)
    (mailer / "tklbam_mailer.py").write_text(block("python", "tklbam_lifecycle"))
    (timer / "pyproject.toml").write_text(project.replace("mailer", "timer"))
    (timer / "tklbam_timer.py").write_text(block("python", "wrapper=True"))
    return make_machine(
        base,
        wheel_of(BASE, base / "core", "tklbam_core", "share"),
        wheel_of(BASE / "plugins/storage/local", base / "storage", "tklbam_storage_local"),
        wheel_of(BASE / "plugins/profiles/local", base / "profiles", "tklbam_profiles_local"),
        wheel_of(BASE / "plugins/sqlite", base / "sqlite", "tklbam_sqlite"),
        build(mailer, base / "mailer-wheels"),
        build(timer, base / "timer-wheels"),
    )


def test_tutorial_s_plugins_are_listed_called_and_turned_off(machine: Path, tmp_path: Path) -> None:
    root, mail = tmp_path / "root", tmp_path / "bin/mail"
    (root / "etc").mkdir(parents=True)
    mail.parent.mkdir()
    mail.write_text(f'#!/bin/sh\n{{ printf "%s|" "$@"; cat; echo; }} >> {tmp_path}/mails\n')
    mail.chmod(0o755)
    path = f"{mail.parent}:{TOOLS}:/usr/bin:/bin"

    def tklbam(*words: str) -> str:
        done = run([machine / "tklbam", *words, "--root", root], PATH=path, HOME=str(tmp_path))
        assert done.returncode in (0, 3), done.stderr
        return done.stdout + done.stderr

    listed = tklbam("plugins").partition("Listeners")[2]
    assert re.search(r"mailer +tklbam-mailer 1\.0\n", listed)
    assert re.search(r"timer +tklbam-timer 1\.0\n", listed)
    tklbam("init", "--solo", "--force-profile", "empty")
    good, bad = f"file://{tmp_path}/target", f"file://{tmp_path}/missing/target"
    assert re.search(r"^\d+\.\d s$", tklbam("backup", "--address", good), re.MULTILINE)
    assert not (tmp_path / "mails").exists()
    tklbam("backup", "--address", good, "--address", bad)
    assert (tmp_path / "mails").read_text() == f"-s|tklbam backup: incomplete|root|{good} {bad}\n"
    (root / "etc/tklbam").mkdir()
    (root / "etc/tklbam/conf").write_text("disable-plugin mailer\ndisable-plugin tklbam-timer\n")
    assert not re.search(r"^\d+\.\d s$", tklbam("backup", "--address", good, "--address", bad), re.MULTILINE)
    assert (tmp_path / "mails").read_text().count("\n") == 1


def test_page_names_every_kind_and_hook() -> None:
    from tklbam_core.plugins import KINDS

    contract = (BASE / "tklbam_core/hookspecs.py").read_text()
    kinds = PAGE.partition("## Kinds")[2].partition("## ")[0]
    for kind in KINDS:
        assert f"`tklbam.{kind}`" in kinds
    for hook in re.findall(r"^def (tklbam_\w+)", contract, re.MULTILINE):
        _, kind, rest = hook.split("_", 2) if hook.count("_") > 1 else (*hook.split("_"), "")
        assert f"`{hook}`" in kinds or f"…_{rest}`" in kinds or f"tklbam_{kind}_…" in kinds, hook


def test_contract_suites_that_the_page_names_exist() -> None:
    import importlib

    for name in set(re.findall(r"tklbam_core\.testing\.\w+", PAGE)):
        importlib.import_module(name)
    from tklbam_core.testing import databases

    for name in ("DatabaseContract", "DatabaseServer"):
        assert name in PAGE
        assert hasattr(databases, name)
