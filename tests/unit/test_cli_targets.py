"""targets: every kind of address with what a person must know to use it, whatever one plugin does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.command_line import Tklbam, tklbam  # noqa: F401 - fixture
from tests.unit.plugin_folder import Install, install  # noqa: F401 - fixture

# ruff: noqa: F811

HOOK = "from tklbam_core.api import hookimpl\n@hookimpl\ndef tklbam_storage_schemes():"

CLOUD = """
from tklbam_core.api import SchemeInfo, SchemeOption, hookimpl

class Cloud:
    @hookimpl
    def tklbam_storage_schemes(self):
        return [SchemeInfo(
            scheme="cloud", what="a cloud " + "very far away " * 9,
            forms=("cloud://bucket/web1", "fog+http://bucket/web1"),
            options=(
                SchemeOption(key="cloud-endpoint", meaning="where it is, " + "with a host and a port " * 4),
                SchemeOption(key="cloud-region", meaning="its region"),
            ),
            credentials="the environment, or the credentials file",
            needs=("rainlib", "windlib"), missing=("rainlib",),
        )]
"""


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "root"
    (root / "etc/tklbam").mkdir(parents=True)
    monkeypatch.setenv("TKLBAM_ROOT", str(root))
    return root


@pytest.fixture
def cloud(install: Install) -> None:
    points = {"cloud": "cloud_one:Cloud", "fog+http": "cloud_one:Cloud", "mist": "cloud_one:Cloud"}
    install("tklbam-cloud", {"storage": points}, version="3.1", cloud_one=CLOUD)


def test_everything_about_a_scheme_is_shown_in_80_columns(tklbam: Tklbam, cloud: None, root: Path) -> None:
    done = tklbam("targets", "cloud")
    assert done.status == 0
    assert max(map(len, done.out.splitlines())) <= 80
    words = " ".join(done.out.split())
    for fact in (
        "cloud:// a cloud very far away",
        "from tklbam-cloud 3.1",
        "examples cloud://bucket/web1 fog+http://bucket/web1",
        "credentials the environment, or the credentials file",
        "options cloud-endpoint where it is, with a host",
        "cloud-region its region",
        "MISSING rainlib: install it",
    ):
        assert fact in words, (fact, done.out)
    assert f"storage-option KEY=VALUE` in {root}/etc/tklbam/conf" in done.err


def test_one_object_under_several_names_is_asked_once_and_names_it_leaves_out_are_told(
    tklbam: Tklbam, cloud: None
) -> None:
    done = tklbam("targets", "--json")
    found = [each for each in json.loads(done.out)["schemes"] if each["distribution"] == "tklbam-cloud"]
    assert [(each["scheme"], bool(each["what"])) for each in found] == [("cloud", True), ("mist", False)]
    assert found[0]["options"]["cloud-region"] == "its region"
    assert (found[0]["needs"], found[0]["missing"]) == (["rainlib", "windlib"], ["rainlib"])
    assert "its plugin does not describe it" in tklbam("targets", "mist").out


def test_another_way_to_write_a_scheme_finds_it(tklbam: Tklbam, cloud: None) -> None:
    assert tklbam("targets", "fog+http://bucket").out.startswith("cloud://")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (
            "import no_such_module",
            "storage:bad (bad-one) is not used: it can't be loaded: ModuleNotFoundError",
        ),
        (
            f"{HOOK} raise RuntimeError('no day')",
            "storage:bad (bad-one) failed: RuntimeError: no day",
        ),
        (
            f"{HOOK} return 'bad'",
            "storage:bad (bad-one) describes its addresses with what is no SchemeInfo",
        ),
    ],
)
def test_a_plugin_that_fails_is_a_warning_and_the_rest_is_shown(
    tklbam: Tklbam, install: Install, source: str, says: str
) -> None:
    install("bad-one", {"storage": {"bad": "bad_one"}}, bad_one=source)
    done = tklbam("targets")
    assert done.status == 0
    assert says in done.err
    assert "file:///mnt/backup/web1" in done.out


def test_disabled_plugins_are_left_out(tklbam: Tklbam, root: Path) -> None:
    (root / "etc/tklbam/conf").write_text("disable-plugin tklbam-storage-local\n")
    done = tklbam("targets")
    assert done.status == 0
    assert "file:///" not in done.out


def test_what_is_not_installed_says_what_to_install(tklbam: Tklbam, monkeypatch: pytest.MonkeyPatch) -> None:
    from tklbam_core import targets

    monkeypatch.setattr(targets, "STORAGE_PLUGINS", {"file": "tklbam-storage-local", "tape": "tklbam-storage-tape"})
    assert "tklbam-storage-tape: tape://" in tklbam("targets").out
    assert json.loads(tklbam("targets", "--json").out)["not_installed"] == {"tape": "tklbam-storage-tape"}
    done = tklbam("targets", "tape")
    assert (done.status, done.out) == (1, "")
    assert "Install tklbam-storage-tape." in done.err
    done = tklbam("targets", "gopher")
    assert done.status == 2
    assert "Installed are: file" in done.err
