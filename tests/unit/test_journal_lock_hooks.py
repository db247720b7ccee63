"""The journal survives a torn write, the lock holds one run a root, hooks stop a run and never change during it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tklbam_core.api.errors import FormatError, HookError, LockedError
from tklbam_core.hooks import find_hooks
from tklbam_core.host import Host
from tklbam_core.journal import Journal
from tklbam_core.lock import locked


def test_a_torn_last_line_counts_for_nothing_and_is_written_over(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.write("saved")
    with journal.path.open("ab") as file:
        file.write(b'{"step": "pack')
    assert list(Journal(tmp_path).steps()) == ["saved"]
    journal.write("users", count=3)
    assert Journal(tmp_path).steps()["users"] == {"step": "users", "count": 3}


def test_a_damaged_journal_is_an_error_that_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "journal").write_bytes(b'{"step": "saved"}\nnonsense\n')
    with pytest.raises(FormatError, match=r"journal:2"):
        list(Journal(tmp_path).entries())


def host(tmp_path: Path) -> Host:
    return Host.from_environment(tmp_path)


def test_a_second_run_on_the_same_root_is_refused_and_names_the_first(tmp_path: Path) -> None:
    program = (
        "import sys; from tklbam_core.host import Host; from tklbam_core.lock import locked\n"
        f"with locked(Host.from_environment({str(tmp_path)!r})): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(LockedError, match=str(holder.pid)), locked(host(tmp_path)):
            pass
        with locked(host(tmp_path / "another-root")):
            pass
        holder.kill()
        holder.wait()
    with locked(host(tmp_path)):
        pass


def hook(tmp_path: Path, name: str, text: str, mode: int = 0o755) -> Path:
    directory = tmp_path / "etc/tklbam/hooks.d"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_text("#!/bin/sh\n" + text)
    (directory / name).chmod(mode)
    return directory / name


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """The live system, with a configuration directory of the test's own."""
    monkeypatch.setenv("TKLBAM_CONF", str(tmp_path / "etc/tklbam"))
    return Host.from_environment("/")


def test_hooks_run_in_name_order_with_their_arguments_and_environment(live: Host, tmp_path: Path) -> None:
    out = tmp_path / "out"
    hook(tmp_path, "20-second", f'echo "2 $1 $2 $TKLBAM_PROFILE_ID $(pwd)" >> {out}')
    hook(tmp_path, "10-first", f'echo "1 $1 $2" >> {out}; echo said')
    hook(tmp_path, "10-first.sig", "exit 1")
    hook(tmp_path, "30-not-executable", "exit 1", 0o644)
    said: list[str] = []
    hooks = find_hooks(live, profile=None, environment={"TKLBAM_PROFILE_ID": "debian-12"}, warn=pytest.fail)
    hook(tmp_path, "00-too-late", "exit 1")
    hooks.run("restore", "inspect", cwd=tmp_path, say=said.append)
    assert out.read_text() == f"1 restore inspect\n2 restore inspect debian-12 {tmp_path}\n"
    assert said == ["10-first: said"]


def test_a_failing_hook_stops_the_run(live: Host, tmp_path: Path) -> None:
    hook(tmp_path, "10-fails", "echo no room >&2; exit 3")
    hooks = find_hooks(live, profile=None, environment={}, warn=pytest.fail)
    with pytest.raises(HookError, match=r"10-fails failed at `backup pre`.*no room"):
        hooks.run("backup", "pre", say=pytest.fail)


def test_another_roots_hooks_do_not_run_unless_asked_for(tmp_path: Path) -> None:
    hook(tmp_path, "10-evil", "exit 1")
    warned: list[str] = []
    assert find_hooks(host(tmp_path), profile=None, environment={}, warn=warned.append).executables == ()
    assert "--run-hooks" in warned[0]


def test_an_unsigned_hook_of_a_profile_does_not_run(live: Host, tmp_path: Path) -> None:
    (tmp_path / "etc/tklbam").mkdir(parents=True)
    profile = tmp_path / "profile"
    (profile / "hooks.d").mkdir(parents=True)
    (profile / "hooks.d/evil").write_text("#!/bin/sh\nexit 1\n")
    (profile / "hooks.d/evil").chmod(0o755)
    warned: list[str] = []
    assert find_hooks(live, profile=profile, environment={}, warn=warned.append).executables == ()
    assert "evil" in warned[0]


@pytest.mark.parametrize("place", ["hooks-keyring.gpg", "trusted.gpg.d/ours.gpg"])
def test_a_signed_hook_of_a_profile_runs_and_a_forged_one_does_not(live: Host, tmp_path: Path, place: str) -> None:
    (tmp_path / "etc/tklbam/trusted.gpg.d").mkdir(parents=True)
    hooks_dir = tmp_path / "profile/hooks.d"
    hooks_dir.mkdir(parents=True)
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet"]
    subprocess.run([*gpg, "--passphrase", "", "--quick-generate-key", "hooks@example", "ed25519"], check=True)
    keyring = tmp_path / "etc/tklbam" / place
    (tmp_path / "etc/tklbam/trusted.gpg.d/another.gpg").write_bytes(b"")
    subprocess.run([*gpg, "--output", str(keyring), "--export"], check=True)
    for name in ("good", "forged", "good-of-another"):
        (hooks_dir / name).write_text("#!/bin/sh\n")
        (hooks_dir / name).chmod(0o755)
        subprocess.run(
            [*gpg, "--output", str(hooks_dir / f"{name}.sig"), "--detach-sign", str(hooks_dir / name)], check=True
        )
    (hooks_dir / "forged").write_text("#!/bin/sh\nexit 1\n")
    (hooks_dir / "good-of-another").write_text("#!/bin/sh\nexit 2\n")
    shutil.copy(hooks_dir / "good.sig", hooks_dir / "good-of-another.sig")
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "gpg-agent"], check=True)
    warned: list[str] = []
    found = find_hooks(live, profile=tmp_path / "profile", environment=dict(os.environ), warn=warned.append)
    assert [path.name for path in found.executables] == ["good"]
    assert ["its signature is not valid" in text for text in warned] == [True, True]
    keyring.unlink()
    assert find_hooks(live, profile=tmp_path / "profile", environment={}, warn=warned.append).executables == ()
