"""The cron script and the systemd units, as they ship."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
from pathlib import Path

import pytest

SHARE = Path(__file__).parents[2] / "share"
SCRIPT = SHARE / "cron.daily/tklbam-backup"


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder for programs that stand in for what is installed; `tklbam-backup` in it notes how it was called."""
    folder = tmp_path / "bin"
    folder.mkdir()
    note = f">> {tmp_path}/calls"
    program(
        folder / "tklbam-backup",
        f'echo "args:$*" {note}\nread -r line; echo "input:$?:$line" {note}\nexit ${{FAIL:-0}}',
    )
    return folder


def program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def cron(programs: Path, place: str = "cron.daily", **environment: str) -> tuple[int, str]:
    """Runs the script as cron does: no terminal, standard input closed, an environment of a path alone."""
    installed = programs.parent / place / "tklbam-backup"
    installed.parent.mkdir(exist_ok=True)
    shutil.copy(SCRIPT, installed)
    installed.chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$0" <&-', installed],
        env={"PATH": f"{programs}:/usr/bin:/bin", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        start_new_session=True,
    )
    return done.returncode, done.stdout


def test_cron_script_ships_without_its_execute_bit() -> None:
    assert SCRIPT.stat().st_mode & 0o777 == 0o644
    subprocess.run(["/bin/sh", "-n", SCRIPT], check=True)


@pytest.mark.parametrize("systemctl", ["echo inactive; exit 3", "exit 0"], ids=["no timer", "in a chroot"])
@pytest.mark.parametrize("place", ["cron.daily", "cron.hourly"])
def test_cron_runs_a_quiet_backup_with_input_at_its_end(programs: Path, place: str, systemctl: str) -> None:
    program(programs / "systemctl", systemctl)
    assert cron(programs, place) == (0, "")
    assert (programs.parent / "calls").read_text() == "args:--quiet\ninput:1:\n"


def test_cron_keeps_the_exit_status_of_a_backup_that_failed(programs: Path) -> None:
    program(programs / "systemctl", "exit 3")
    assert cron(programs, FAIL="3") == (3, "")


def test_cron_leaves_the_work_to_an_active_timer(programs: Path) -> None:
    program(programs / "systemctl", '[ "$*" = "is-active tklbam-backup.timer" ] && echo active')
    assert cron(programs) == (0, "")
    assert not (programs.parent / "calls").exists()


def test_cron_script_left_by_a_removed_package_is_quiet(programs: Path) -> None:
    (programs / "tklbam-backup").unlink()
    if shutil.which("tklbam-backup", path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin") is None:
        assert cron(programs) == (0, "")


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string((SHARE / "systemd" / name).read_text())
    return parser


def test_timer_runs_daily_catches_up_and_spreads_the_load() -> None:
    timer = unit("tklbam-backup.timer")["Timer"]
    assert timer["OnCalendar"] == "daily"
    assert timer["Persistent"] == "true"
    assert timer["RandomizedDelaySec"] == "4h"
    assert "Unit" not in timer, "it starts the service of its own name"
    service = unit("tklbam-backup.service")
    assert service["Service"]["ExecStart"] == "tklbam-backup --quiet"
    assert service["Service"]["Type"] == "oneshot"
    assert "Install" not in service, "only the timer is enabled"


def test_units_are_valid_where_systemd_can_say_so(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        return  # the facts above are all that can be known here
    for name in ("tklbam-backup.service", "tklbam-backup.timer"):
        text = (SHARE / "systemd" / name).read_text()
        (tmp_path / name).write_text(text.replace("ExecStart=tklbam-backup", "ExecStart=/bin/true"))
    done = subprocess.run(
        [analyze, "verify", "--man=no", tmp_path / "tklbam-backup.timer"],
        capture_output=True,
        text=True,
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
    )
    assert not [line for line in done.stderr.splitlines() if "tklbam-backup" in line], done.stderr
