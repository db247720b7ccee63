"""A system to initialise, with a profile source of the tests' own and, where wanted, a Hub."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.plugin_folder import Install, install  # noqa: F401 - fixture
from tklbam_core.registry import Registry

# ruff: noqa: F811

HUB = """
from datetime import UTC, datetime
from tklbam_core.api import Account, BackupRecord, Credentials, PluginError, hookimpl

@hookimpl
def tklbam_records_link(api_key):
    if api_key != "GOODKEY":
        raise PluginError("HubAccount.InvalidApiKey: no such key", "Look again.")
    return Account(subkey="SUB" + api_key)

@hookimpl
def tklbam_records_update(account, address, key):
    with open("/".join([__file__.rsplit("/", 1)[0], "updates"]), "a") as file:
        print(account.subkey, address, key, file=file)
    return BackupRecord(backup_id="7", address=address, key=key, profile_id="x")
"""
PROFILES = """
from datetime import UTC, datetime
from tklbam_core.api import ProfileInfo, hookimpl

@hookimpl
def tklbam_profile_find(request):
    if request.wanted not in (None, "special"):
        return None
    (request.directory / "dirindex.conf").write_text("/etc\\n")
    (request.directory / "dirindex").write_text("")
    return ProfileInfo(
        profile_id=request.wanted or request.profile_id,
        source="the test folder",
        timestamp=datetime(2026, 1, 2, tzinfo=UTC),
        warnings=("looks old",),
    )
"""


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/os-release").write_text('ID=debian\nVERSION_ID="12"\n')
    monkeypatch.setenv("TKLBAM_ROOT", str(root))
    return root


@pytest.fixture(autouse=True)
def profiles(install: Install, root: Path) -> None:
    """A profile source of our own, the installed ones out of its way."""
    install("test-profiles", {"profiles": {"test": "test_profiles"}}, test_profiles=PROFILES)
    (root / "etc/tklbam").mkdir()
    (root / "etc/tklbam/conf").write_text("disable-plugin tklbam-profiles-local\ndisable-plugin tklbam-profiles-hub\n")


@pytest.fixture
def registry(root: Path) -> Registry:
    return Registry(root / "var/lib/tklbam")
