"""Plugins are independent: one built outside this tree, installed as a wheel beside the core's, is found and called."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
import venv
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

CORE = Path(__file__).parents[2]
PLUGIN = {
    "pyproject.toml": """
        [build-system]
        requires = ["hatchling"]
        build-backend = "hatchling.build"

        [project]
        name = "acme-tklbam"
        version = "0.7"
        dependencies = ["tklbam-core"]

        [project.entry-points."tklbam.storage"]
        acme = "acme_tklbam:Storage"

        [project.entry-points."tklbam.profiles"]
        acme = "acme_tklbam:profiles"

        [project.entry-points."tklbam.escrow"]
        acme = "acme_tklbam:Escrow"

        [project.entry-points."tklbam.hooks"]
        acme = "acme_tklbam:listener"

        [project.entry-points."tklbam.commands"]
        acme = "acme_tklbam.cli:command"
        """,
    "acme_tklbam/__init__.py": """
        import os
        from datetime import UTC, datetime
        from pathlib import Path

        from tklbam_core.api import EscrowRequest, ProfileInfo, ProfileRequest, TargetRequest, hookimpl


        class Storage:
            @hookimpl
            def tklbam_storage_target(self, request: TargetRequest):
                return None


        class Profiles:
            @hookimpl
            def tklbam_profile_find(self, request: ProfileRequest):
                (request.directory / "packages").write_text("base-files\\n")
                return ProfileInfo(
                    profile_id=request.profile_id, source="Acme", timestamp=datetime(2026, 1, 1, tzinfo=UTC)
                )


        profiles = Profiles()


        class Escrow:
            @hookimpl
            def tklbam_escrow_store(self, request: EscrowRequest, packet: bytes) -> str | None:
                if not request.place.startswith("acme:"):
                    return None
                Path(os.environ["ACME_VAULT"], request.place[5:]).write_bytes(packet)
                return f"Acme's vault as {request.place[5:]}"


        class Listener:
            @hookimpl(wrapper=True)
            def tklbam_escrow_store(self, request: EscrowRequest, packet: bytes):
                answer = yield
                return f"{answer}, as Acme saw" if answer else answer


        listener = Listener()
        """,
    "acme_tklbam/cli.py": """
        import click


        @click.command("acme")
        def command():
            "What Acme adds."
            click.echo("Acme at work")
        """,
}


def run(command: Sequence[str | Path], **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1", **environment}
    return subprocess.run(list(map(str, command)), env=clean, capture_output=True, text=True, cwd="/", check=False)


def build(source: Path, wheels: Path) -> Path:
    wheels.mkdir(exist_ok=True)
    before = set(wheels.iterdir())
    done = run(
        [
            sys.executable,
            "-m",
            "build",
            "--wheel",
            "--no-isolation",
            "--skip-dependency-check",
            "--outdir",
            wheels,
            source,
        ]
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = set(wheels.iterdir()) - before
    return wheel


def third_parties(distribution: str) -> set[str]:
    """What a distribution needs, all the way down, as this interpreter has it installed; itself left out."""
    found: set[str] = set()
    waiting = [distribution]
    while waiting:
        for line in metadata.requires(waiting.pop()) or []:
            requirement = Requirement(line)
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
                continue
            if requirement.name not in found:
                found.add(requirement.name)
                waiting.append(requirement.name)
    return found


def lend(distributions: set[str], folder: Path) -> None:
    """Links the installed files of third parties into a folder: nothing is downloaded, nothing of ours comes along."""
    folder.mkdir()
    for name in distributions:
        distribution = metadata.distribution(name)
        for part in {file.parts[0] for file in distribution.files or [] if file.parts[0] not in ("..", "__pycache__")}:
            link = folder / part
            if not link.exists():
                link.symlink_to(Path(str(distribution.locate_file(part))))


def make_machine(base: Path, *wheels: Path) -> Path:
    """A clean environment with the core's third-party needs and these wheels alone; returns its bin/."""
    venv.create(base / "venv", with_pip=False, symlinks=True)
    lend(third_parties("tklbam-core"), base / "lent")
    (site,) = (base / "venv/lib").glob("python*/site-packages")
    (site / "lent.pth").write_text(f"{base / 'lent'}\n")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", base / "venv/bin/python"]
    done = run([*pip, "install", "--no-index", "--no-deps", *wheels])
    assert done.returncode == 0, done.stdout + done.stderr
    return base / "venv/bin"


@pytest.fixture(scope="module")
def core_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("core")
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("tklbam_core", "share"):
        shutil.copytree(CORE / name, base / "core" / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "COPYING"):
        shutil.copy(CORE / name, base / "core" / name)
    return build(base / "core", base / "wheels")


@pytest.fixture(scope="module")
def machine(core_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_machine(tmp_path_factory.mktemp("plain"), core_wheel)


@pytest.fixture(scope="module")
def extended(core_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the third party's plugin, too: written, built and installed outside the tree."""
    base = tmp_path_factory.mktemp("acme")
    for name, content in PLUGIN.items():
        place = base / "acme" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(textwrap.dedent(content))
    return make_machine(base, core_wheel, build(base / "acme", base / "wheels"))


def listing(bin_dir: Path, root: Path) -> dict[tuple[str, str], dict[str, object]]:
    done = run([bin_dir / "tklbam", "plugins", "--json", "--root", root])
    assert done.returncode == 0, done.stdout + done.stderr
    return {(row["kind"], row["name"]): row for row in json.loads(done.stdout)}


def test_core_runs_with_no_plugin_at_all_and_says_what_is_missing(machine: Path, tmp_path: Path) -> None:
    where = run([machine / "python", "-c", "import tklbam_core; print(tklbam_core.__file__)"]).stdout
    assert str(machine.parent) in where, "the wheel's core must be under test, not this checkout"
    assert set(listing(machine, tmp_path)) == {("escrow", "file")}
    done = run([machine / "tklbam-init", "--solo", "--root", tmp_path])
    assert done.returncode == 1
    assert "Install tklbam-profiles-local" in done.stderr
    done = run([machine / "tklbam", "internal", "mysql2fs", "x"])
    assert done.returncode == 1
    assert "Install tklbam-mysql" in done.stderr
    done = run([machine / "tklbam", "--help"])
    assert done.returncode == 0
    assert "acme" not in done.stdout


def test_third_party_plugin_from_a_wheel_is_found_called_and_reported(extended: Path, tmp_path: Path) -> None:
    found = listing(extended, tmp_path)
    assert {kind for kind, name in found if name == "acme"} == {"storage", "profiles", "escrow", "hooks", "commands"}
    for (_, name), row in found.items():
        assert row["state"] == "used"
        if name == "acme":
            assert (row["distribution"], row["version"], row["problem"]) == ("acme-tklbam", "0.7", "")
    assert found["storage", "acme"]["hooks"] == ["tklbam_storage_target"]

    done = run([extended / "tklbam", "init", "--solo", "--root", tmp_path])
    assert done.returncode == 0, done.stderr
    assert "(Acme)" in done.stderr
    assert (tmp_path / "var/lib/tklbam/profile/packages").read_text() == "base-files\n"

    done = run([extended / "tklbam", "escrow", "acme:mine", "-P", "--root", tmp_path], ACME_VAULT=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "the key was written to Acme's vault as mine, as Acme saw" in done.stderr
    assert (tmp_path / "mine").stat().st_size > 100

    assert run([extended / "tklbam", "acme"]).stdout == "Acme at work\n"
    assert "acme" in run([extended / "tklbam", "--help"]).stdout


def test_third_party_plugin_can_be_disabled(extended: Path, tmp_path: Path) -> None:
    (tmp_path / "etc/tklbam").mkdir(parents=True)
    (tmp_path / "etc/tklbam/conf").write_text("disable-plugin acme-tklbam\n")
    rows = listing(extended, tmp_path)
    assert {row["state"] for (_, name), row in rows.items() if name == "acme"} == {"disabled"}
    done = run([extended / "tklbam", "init", "--solo", "--root", tmp_path])
    assert done.returncode == 1
    assert "Install tklbam-profiles-local" in done.stderr


# --- storage, and what it draws in -----------------------------------------------------------------------------------

OF_S3 = {"boto3", "botocore", "jmespath", "python-dateutil", "s3transfer", "six", "urllib3"}
OF_CLOUDS = ("boto3", "botocore", "paramiko", "requests", "urllib3")


def build_plugin(folder: str, base: Path) -> Path:
    shutil.copytree(CORE / folder, base / Path(folder).name, ignore=shutil.ignore_patterns("__pycache__", "tests"))
    return build(base / Path(folder).name, base / "wheels")


def test_s3_draws_in_boto3_and_nothing_else() -> None:
    core = third_parties("tklbam-core")
    assert not core & {*OF_CLOUDS}
    assert third_parties("tklbam-storage-local") - core == {"tklbam-core"}
    assert {name.lower() for name in third_parties("tklbam-storage-s3") - core} == {"tklbam-core", *OF_S3}


def test_no_client_of_a_cloud_is_there_before_its_plugin_brings_it(core_wheel: Path, tmp_path: Path) -> None:
    address = ["--address", "s3://bucket/web1", "--root", str(tmp_path / "root")]
    local = build_plugin("plugins/storage/local", tmp_path)
    plain = make_machine(tmp_path / "plain", core_wheel, local)
    looked_for = f"import importlib.util as u; print([n for n in {OF_CLOUDS} if u.find_spec(n)])"
    assert run([plain / "python", "-c", looked_for]).stdout == "[]\n"
    done = run([plain / "tklbam", "list", *address])
    assert done.returncode == 1
    assert "Install tklbam-storage-s3" in done.stderr
    # With the plugin alone it is said what is missing; with what it requires, nothing is.
    bare = make_machine(tmp_path / "bare", core_wheel, build_plugin("plugins/storage/s3", tmp_path))
    done = run([bare / "tklbam", "list", *address])
    assert done.returncode == 1
    assert "boto3" in done.stderr
    assert [row["missing"] for row in _schemes(bare) if row["scheme"] == "s3"] == [["boto3"]]
    lend(OF_S3, tmp_path / "bare/lent-for-s3")
    (site,) = (tmp_path / "bare/venv/lib").glob("python*/site-packages")
    (site / "lent-for-s3.pth").write_text(f"{tmp_path}/bare/lent-for-s3\n")
    assert [row["missing"] for row in _schemes(bare) if row["scheme"] == "s3"] == [[]]


def _schemes(machine: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(run([machine / "tklbam", "targets", "--json"]).stdout)["schemes"]
    return found
