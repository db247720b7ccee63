"""Packages planned, installed and rolled back by the real apt and dpkg of a real Debian tree."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import debs, trees
from tklbam_core.api.errors import FormatError, SpaceError, TklbamError
from tklbam_core.api.progress import ProgressEvent
from tklbam_core.host import Host
from tklbam_core.system import apt_rollback, dpkg
from tklbam_core.system.apt import update
from tklbam_core.system.apt_install import install
from tklbam_core.system.apt_plan import InstallPlan, plan_install
from tklbam_core.system.chroot import command, environment, prepared

pytestmark = pytest.mark.root

FAILING = "#!/bin/sh\necho no luck here >&2\nexit 1\n"


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A bookworm whose only source is an archive of our own; `base-lib` 1 of it is installed."""
    with trees.mounted("bookworm", tmp_path / "tree") as mounted:
        debs.install(mounted, debs.build(mounted, "base-lib"))
        yield mounted


@pytest.fixture
def host(root: Path) -> Host:
    return Host.from_environment(root)


def publish(host: Host) -> None:
    debs.publish(host.root)
    assert update(host) == ()


def status(root: Path) -> list[str]:
    """dpkg's whole knowledge, as stanzas in any order."""
    return sorted((root / "var/lib/dpkg/status").read_text().split("\n\n"))


def marks(root: Path) -> bytes | None:
    path = root / dpkg.EXTENDED_STATES
    return path.read_bytes() if path.exists() else None


def leftovers(root: Path) -> list[Path]:
    places = ["usr/sbin/policy-rc.d", "var/lib/apt/tklbam-pins", "run/tklbam-resolv.conf"]
    return [root / name for name in places if (root / name).exists()]


def test_plan_sorts_every_package_into_one_group(host: Host) -> None:
    root = host.root
    debs.build(root, "base-lib", "2")
    debs.build(root, "simple", depends="helper")
    debs.build(root, "helper", installed_size="2048")
    debs.build(root, "needs-newer", depends="base-lib (>= 2)")
    debs.build(root, "foe", conflicts="base-lib")
    debs.build(root, "torn", depends="nowhere-to-be-found")
    debs.build(root, "rival-a", conflicts="rival-b")
    debs.build(root, "rival-b")
    debs.build(root, "php8.2-cli")
    debs.build(root, "postgresql-15")
    debs.build(root, "postgresql")
    debs.build(root, "renamed", replaces="former (<< 2)", breaks="former (<< 2)")
    debs.build(root, "linux-image-amd64")
    publish(host)
    wanted = ["bash", "simple", "needs-newer", "foe", "torn", "rival-a", "rival-b", "php7.4-cli", "postgresql-13"]
    wanted += ["former", "linux-image-amd64", "nothing", "-x", "lib:riscv64"]
    before = status(root)
    plan = plan_install(host, wanted, automatic=["simple", "php7.4-cli", "other"])
    (winner,) = set(plan.to_install) - {"simple"}
    (loser,) = {"rival-a", "rival-b"} - {winner}
    assert plan.pulled_in == ("helper",)
    assert plan.installed == ("bash",)
    assert plan.machine == ("linux-image-amd64",)
    assert plan.automatic == {"simple", "php7.4-cli"}
    assert {each.name: each.reason for each in plan.would_upgrade} == {
        "needs-newer": "it would upgrade base-lib (1 to 2)",
        "foe": "it would remove base-lib",
    }
    assert {each.name for each in plan.broken} == {"torn", loser}
    assert "nowhere-to-be-found" in next(each.reason for each in plan.broken if each.name == "torn")
    assert {name: [hint.name for hint in hints] for name, hints in plan.unavailable.items()} == {
        "-x": [],
        "former": ["renamed"],
        "lib:riscv64": ["dpkg --add-architecture riscv64"],
        "nothing": [],
        "php7.4-cli": ["php8.2-cli"],
        "postgresql-13": ["postgresql-15", "postgresql"],
    }
    assert plan.installed_size >= 2048 * 1024
    assert plan.download_size > 0
    groups = [*plan.to_install, *plan.installed, *plan.skipped]
    assert sorted(groups) == sorted(wanted)
    assert status(root) == before
    assert leftovers(root) == []


def test_an_older_sibling_is_taken_where_the_newer_would_need_an_upgrade(host: Host) -> None:
    root = host.root
    debs.build(root, "base-lib", "2")
    debs.build(root, "base-tool", "1", source="base-lib", depends="base-lib (= 1)")
    debs.build(root, "base-tool", "2", source="base-lib", depends="base-lib (= 2)")
    publish(host)
    report = install(host, plan_install(host, ["base-tool"]))
    assert report.installed == ("base-tool",)
    assert {name: dpkg.installed(root)[name] for name in ("base-lib", "base-tool")} == {
        "base-lib": "1",
        "base-tool": "1",
    }


def test_installing_works_is_marked_and_rolls_back_to_the_same_status(host: Host) -> None:
    root = host.root
    debs.build(root, "simple", depends="helper", conffiles={"etc/simple.conf": "shipped\n"})
    debs.build(root, "helper")
    debs.build(root, "lib-auto")
    publish(host)
    (root / "etc/simple.conf").write_text("mine\n")
    before, before_status, before_marks = apt_rollback.snapshot(host), status(root), marks(root)
    events: list[ProgressEvent] = []
    report = install(host, plan_install(host, ["simple", "lib-auto"], automatic=["lib-auto"]), events.append)
    assert report.installed == ("lib-auto", "simple")
    assert not report.failed
    assert not report.warnings
    assert (root / "etc/simple.conf").read_text() == "mine\n", "configuration that is there stays"
    assert dpkg.automatic(root) >= {"helper", "lib-auto"}
    assert "simple" not in dpkg.automatic(root)
    assert events
    assert {event.phase for event in events} == {"packages"}
    assert leftovers(root) == []

    saved = apt_rollback.Snapshot.from_json(before.to_json(), "here")
    undone = apt_rollback.rollback(host, saved)
    assert undone.removed == ("helper", "lib-auto", "simple")
    assert undone.problems == ()
    assert (status(root), marks(root)) == (before_status, before_marks)
    assert apt_rollback.rollback(host, saved) == apt_rollback.RollbackReport()


def test_one_that_fails_is_taken_back_and_reported_and_the_rest_is_installed(host: Host) -> None:
    root = host.root
    debs.build(root, "good-one")
    debs.build(root, "good-two", depends="good-three")
    debs.build(root, "good-three")
    debs.build(root, "bad-postinst", scripts={"postinst": FAILING})
    debs.build(root, "bad-preinst", scripts={"preinst": FAILING})
    debs.build(root, "leans-on-bad", depends="bad-postinst")
    lost = debs.build(root, "bad-download")
    publish(host)
    lost.unlink()
    wanted = ["bad-download", "bad-postinst", "bad-preinst", "good-one", "good-two", "leans-on-bad"]
    report = install(host, plan_install(host, wanted))
    assert report.installed == ("good-one", "good-two")
    assert [each.name for each in report.failed] == ["bad-download", "bad-postinst", "bad-preinst", "leans-on-bad"]
    assert all(each.reason for each in report.failed)
    assert "bad-download" in report.failed[0].reason
    assert dpkg.unfinished(root) == []
    assert set(dpkg.installed(root)) >= {"good-one", "good-two", "good-three", "base-lib"}
    assert leftovers(root) == []


def test_services_are_not_started_in_a_root_that_does_not_run(host: Host) -> None:
    root = host.root
    script = "#!/bin/sh\nif invoke-rc.d --quiet thing start; then :; fi\nsleep 600 &\nexit 0\n"
    init = (
        "#!/bin/sh\n### BEGIN INIT INFO\n# Provides: thing\n# Required-Start:\n# Default-Start: 2\n### END INIT INFO\n"
    )
    debs.build(root, "thing", scripts={"postinst": script})
    (root / "etc/init.d").mkdir(exist_ok=True)
    (root / "etc/init.d/thing").write_text(init + "touch /started\n")
    (root / "etc/init.d/thing").chmod(0o755)
    publish(host)
    before = time.monotonic()
    assert install(host, plan_install(host, ["thing"])).installed == ("thing",)
    assert time.monotonic() - before < 300, "a process that a script leaves behind holds nobody up"
    assert not (root / "started").exists()


def test_a_program_in_the_root_sees_its_own_system_and_leaves_nothing_behind(host: Host) -> None:
    script = "echo x > /run/left; test -c /dev/null && test -d /proc/self && cat /etc/resolv.conf; sleep 300 & echo $!"
    (host.root / "etc/resolv.conf").unlink(missing_ok=True)
    (host.root / "dev/null").unlink()
    with prepared(host):
        shown = subprocess.run(
            [os.fspath(word) for word in command(host, ["sh", "-c", script])],
            env={**os.environ, **environment(host)},
            check=True,
            capture_output=True,
        ).stdout
    assert Path("/etc/resolv.conf").read_bytes() in shown
    assert not (host.root / "run/left").exists()
    assert not (host.root / "etc/resolv.conf").exists()
    assert not (host.root / "dev/null").exists()
    assert str(host.root / "proc") not in Path("/proc/mounts").read_text()
    assert leftovers(host.root) == []


def test_rollback_after_a_killed_installation(host: Host) -> None:
    root = host.root
    debs.build(root, "first")
    debs.build(root, "slow", depends="first", scripts={"postinst": "#!/bin/sh\ntouch /in-postinst\nsleep 60\n"})
    publish(host)
    before, before_status = apt_rollback.snapshot(host), status(root)
    plan = plan_install(host, ["slow"])
    assert plan.to_install == ("slow",)
    code = (
        "import sys\nfrom tklbam_core.host import Host\n"
        "from tklbam_core.system.apt_install import install\nfrom tklbam_core.system.apt_plan import InstallPlan\n"
        "install(Host.from_environment(sys.argv[1]), InstallPlan(to_install=('slow',)))\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, root], start_new_session=True)
    deadline = time.monotonic() + 300
    while not (root / "in-postinst").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(child.pid, signal.SIGKILL)  # tklbam, unshare, and with it all inside
    child.wait()
    assert leftovers(root)
    assert "slow" in [package.name for package in dpkg.unfinished(root)]
    (root / "var/lib/dpkg/info/slow.postinst").write_text(FAILING)
    undone = apt_rollback.rollback(host, before)
    assert undone.problems == ()
    assert undone.removed == ("first", "slow")
    assert status(root) == before_status
    assert leftovers(root) == []


def test_versions_that_changed_and_packages_that_went_come_back(host: Host) -> None:
    root = host.root
    debs.build(root, "other")
    debs.build(root, "lost")
    debs.install(root, root / debs.ARCHIVE / "other_1_all.deb", root / debs.ARCHIVE / "lost_1_all.deb")
    subprocess.run(["chroot", root, "apt-mark", "-q", "hold", "other"], check=True, stdout=subprocess.DEVNULL)
    before = apt_rollback.snapshot(host)
    assert before.held == {"other"}
    newer = debs.build(root, "base-lib", "2")
    publish(host)
    debs.install(root, newer)
    subprocess.run(["chroot", root, "dpkg", "--purge", "other", "lost"], check=True, stdout=subprocess.DEVNULL)
    (root / debs.ARCHIVE / "lost_1_all.deb").unlink()
    undone = apt_rollback.rollback(host, before)
    assert undone.restored == ("base-lib=1", "other=1")
    assert "lost was 1 and is not installed" in undone.problems
    after = apt_rollback.snapshot(host)
    assert after.held == {"other"}
    assert after.installed == {name: version for name, version in before.installed.items() if name != "lost"}


def test_a_removed_packages_configuration_is_not_purged_by_the_rollback(host: Host) -> None:
    root = host.root
    deb = debs.build(root, "keeper", conffiles={"etc/keeper.conf": "x\n"})
    debs.install(root, deb)
    subprocess.run(["chroot", root, "dpkg", "--remove", "keeper"], check=True, stdout=subprocess.DEVNULL)
    (root / "etc/keeper.conf").write_text("mine\n")
    publish(host)
    before = apt_rollback.snapshot(host)
    assert before.residual == {"keeper": "1"}
    install(host, plan_install(host, ["keeper"]))
    assert apt_rollback.rollback(host, before).problems == ()
    assert apt_rollback.snapshot(host) == before
    assert (root / "etc/keeper.conf").read_text() == "mine\n"


def test_a_source_that_fails_is_a_warning_with_its_name_and_the_old_lists_serve(host: Host) -> None:
    debs.build(host.root, "simple")
    publish(host)
    with open(host.root / "etc/apt/sources.list", "a") as file:
        file.write("deb [trusted=yes] http://127.0.0.1:9/gone ./\n")
    warnings = update(host)
    assert any("127.0.0.1:9" in warning for warning in warnings)
    assert plan_install(host, ["simple"]).to_install == ("simple",)


def test_a_broken_system_is_said_so_once_and_left_alone(host: Host) -> None:
    root = host.root
    debs.build(root, "simple")
    orphan = debs.build(root, "orphan", depends="nowhere")
    subprocess.run(["chroot", root, "dpkg", "-i", f"/{orphan.relative_to(root)}"], check=False, capture_output=True)
    publish(host)
    plan = plan_install(host, ["simple"])
    assert plan.to_install == ()
    assert [each.name for each in plan.broken] == ["simple"]
    assert any("installed packages are broken" in notice for notice in plan.notices)


def test_a_root_without_apt_gets_its_packages_listed(tmp_path: Path) -> None:
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text("")
    plan = plan_install(Host.from_environment(tmp_path), ["b", "a", "linux-image-amd64"])
    assert plan.left == ("a", "b")
    assert any("has no apt: packages are listed and left" in notice for notice in plan.notices)
    assert plan.command_lines() == ["# SKIPPING: a b linux-image-amd64"]
    assert install(Host.from_environment(tmp_path), plan).installed == ()


def test_command_prints_what_it_would_do_then_does_it(host: Host) -> None:
    root = host.root
    for name in ("zebra", "ape"):
        debs.build(root, name)
    publish(host)
    (root / "list").write_text("zebra\nbash\n")
    tklbam = [Path(sys.executable).with_name("tklbam"), "internal", "newpkgs-install", "--root", root]
    words = ["-i", root / "list", "ape", "nothing", "grub-pc"]
    expected = "apt-get install --assume-yes ape zebra\n# SKIPPING: grub-pc nothing\n"
    done = subprocess.run([*tklbam, "-s", *words], check=True, capture_output=True, text=True)
    assert done.stdout == expected
    assert "zebra" not in dpkg.installed(root)
    done = subprocess.run([*tklbam, "-v", *words], check=True, capture_output=True, text=True)
    assert done.stdout == expected
    assert "installed already: bash" in done.stderr
    assert dpkg.installed(root).keys() >= {"zebra", "ape"}


def test_a_plan_for_the_live_system_leaves_no_trace_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TKLBAM_ROOT", raising=False)
    live = Host.from_environment()
    before = (status(live.root), leftovers(live.root))
    plan = plan_install(live, ["coreutils", "no-such-package-anywhere"])
    assert plan.installed == ("coreutils",)
    assert "no-such-package-anywhere" in plan.unavailable
    assert (status(live.root), leftovers(live.root)) == before


def test_another_program_that_holds_dpkgs_lock_is_waited_for_then_named(host: Host) -> None:
    debs.build(host.root, "simple")
    publish(host)
    plan = plan_install(host, ["simple"])
    hold = (
        "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.lockf(file, fcntl.LOCK_EX)\n"
        "print('held', flush=True); sys.stdin.read()"
    )
    argv = [sys.executable, "-c", hold, host.root / "var/lib/dpkg/lock-frontend"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(TklbamError, match="dpkg is in use"):
            install(host, plan, lock_timeout=1)
        with pytest.raises(TklbamError, match="dpkg is in use"):
            apt_rollback.rollback(host, apt_rollback.Snapshot(), lock_timeout=1)
        holder.communicate(b"")
    assert install(host, plan).installed == ("simple",)


def test_a_full_disk_is_said_so_and_nothing_is_left_half_way(tmp_path: Path) -> None:
    with trees.mounted("bookworm", tmp_path / "tree") as root:
        host = Host.from_environment(root)
        debs.build(root, "big", files={"opt/small/big": "x" * 8_000_000})
        debs.build(root, "simple")
        publish(host)
        before = dpkg.installed(root)
        (root / "opt/small").mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(root / "opt/small")], check=True)
        try:
            with pytest.raises(SpaceError, match="No space left on device"):
                install(host, plan_install(host, ["big"]))
        finally:
            subprocess.run(["umount", str(root / "opt/small")], check=True)
        assert dpkg.installed(root) == before
        assert dpkg.unfinished(root) == []
        assert leftovers(root) == []


def test_a_snapshot_that_is_none_is_an_error() -> None:
    with pytest.raises(FormatError, match=r"area/packages\.json"):
        apt_rollback.Snapshot.from_json(b"[]", "area/packages.json")


def test_a_package_from_debian_itself_is_installed_and_rolled_back(tmp_path: Path) -> None:
    with trees.mounted("bookworm", tmp_path / "tree") as root:
        host = Host.from_environment(root)
        before, before_status, before_marks = apt_rollback.snapshot(host), status(root), marks(root)
        plan = plan_install(host, ["hello", "php7.4-cli"])
        assert plan.to_install == ("hello",)
        assert "php8.2-cli" in [hint.name for hint in plan.unavailable["php7.4-cli"]]
        report = install(host, plan)
        assert report.installed == ("hello",)
        assert subprocess.run(["chroot", root, "hello"], check=True, capture_output=True).stdout == b"Hello, world!\n"
        assert apt_rollback.rollback(host, before).problems == ()
        assert (status(root), marks(root)) == (before_status, before_marks)
        assert install(host, InstallPlan()).installed == ()
