"""The parts stay apart: the core knows no plugin, a plugin knows only the api, and no file is long."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
DISTRIBUTIONS = sorted(TOP.glob("plugins/**/pyproject.toml"))
LONGEST = 400


def sources(directory: Path) -> list[Path]:
    return [path for path in sorted(directory.rglob("*.py")) if not {".venv", "build", ".cache"} & set(path.parts)]


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports, anywhere in it; relative ones as they would be absolute."""
    package = list(path.relative_to(TOP).with_suffix("").parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            yield ".".join([*above, *([node.module] if node.module else [])])


def package_of(distribution: Path) -> Path:
    wheel = tomllib.loads(distribution.read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    return distribution.parent / str(wheel["packages"][0])


def test_the_core_imports_no_plugin() -> None:
    plugins = {package_of(distribution).name for distribution in DISTRIBUTIONS}
    assert len(plugins) >= 5
    for path in sources(TOP / "tklbam_core"):
        assert not {name.split(".")[0] for name in imports(path)} & plugins, path


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda path: path.parent.name)
def test_a_plugin_imports_only_the_api(distribution: Path) -> None:
    package = package_of(distribution)
    assert sources(package)
    for path in sources(package):
        for name in imports(path):
            inside = name == "tklbam_core.api" or name.startswith("tklbam_core.api.")
            assert inside or not name.startswith("tklbam_core"), f"{path} imports {name}"


def test_the_hub_imports_nothing_of_the_others() -> None:
    others = {package_of(distribution).name for distribution in DISTRIBUTIONS} | {"tklbam_core"}
    assert sources(TOP / "hub/tklbam_hub")
    for path in sources(TOP / "hub/tklbam_hub"):
        assert not {name.split(".")[0] for name in imports(path)} & others, path


def test_modules_are_short_and_named_for_what_they_do() -> None:
    for directory in ("tklbam_core", "plugins", "hub", "tests"):
        for path in sources(TOP / directory):
            longest = LONGEST if "tests" not in path.parts else LONGEST * 3 // 2
            assert len(path.read_text().splitlines()) <= longest, path
            assert path.stem not in ("utils", "util", "helpers", "misc"), path


def test_no_file_names_a_package_registry_or_a_developers_machine() -> None:
    forbidden = (
        "py" + "pi.org",
        "files.python" + "hosted.org",
        "deb.debian" + ".org",
        "registry.npm" + "js.org",
        str(TOP) + "/",
    )
    for pattern in ("**/*.py", "**/*.md", "**/*.toml", "*.lock", "tests/*", "share/**/*", "Makefile", ".ci/*"):
        for path in TOP.glob(pattern):
            if (
                path.is_file()
                and not {".venv", ".cache", ".git"} & set(path.relative_to(TOP).parts)
                and path != Path(__file__)
            ):
                text = path.read_text(errors="replace")
                assert not [word for word in forbidden if word in text], path
