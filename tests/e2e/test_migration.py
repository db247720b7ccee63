"""The main job: machine A, backed up twice, comes back on a fresh machine B; and B can be had back as it was."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.machine import Machine, machine
from tests.unit.snapshots import snapshot

pytestmark = pytest.mark.root

# What a rollback does not promise to bring back: logs, apt's lists and caches, dpkg's own backups, rebuilt caches.
NOT_PROMISED = (
    b"/var/log",
    b"/var/cache",
    b"/var/lib/apt",
    b"/var/lib/dpkg",
    b"/var/lib/tklbam",
    b"/var/backups",
    b"/etc/ld.so.cache",
    b"/etc/.pwd.lock",
    b"/run",
    b"/tmp",
    b"/var/tmp",
)


@pytest.fixture(scope="module")
def a(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A: initialised when fresh, then worked on, backed up, worked on again, backed up again."""
    with machine("bookworm", tmp_path_factory.mktemp("a")) as made:
        made.inside("useradd", "--system", "--uid", "301", "oldsys")  # makes A's ids differ from B's
        made.tklbam("init", "--solo", "--force-profile=dpkg")
        work_on(made)
        yield made


@pytest.fixture(scope="module")
def target(a: Machine, tmp_path_factory: pytest.TempPathFactory) -> str:
    address = f"file://{tmp_path_factory.mktemp('target')}/a"
    first = a.json("backup", "--address", address)
    assert first["sessions"][0]["kind"] == "full"
    assert first["sessions"][0]["verified"]
    work_more(a)
    second = a.json("backup", "--address", address)
    assert second["sessions"][0]["kind"] == "incremental"
    return address


@pytest.fixture
def b(tmp_path: Path) -> Iterator[Machine]:
    """B: fresh, with files and users of its own, whose ids collide with A's."""
    with machine("bookworm", tmp_path / "b") as made:
        made.inside("useradd", "--create-home", "--uid", "1000", "bob")
        made.write("/srv/own/file", "B's own\n")
        made.write("/etc/motd", "B's message\n")
        made.tklbam("init", "--solo", "--force-profile=dpkg")
        yield made


def work_on(made: Machine) -> None:
    made.inside("apt-get", "install", "-qq", "-y", "--no-install-recommends", "sl", "hello")
    made.inside("useradd", "--create-home", "--uid", "1000", "alice")
    made.inside("useradd", "--create-home", "--uid", "1001", "bob")
    made.inside("groupadd", "--gid", "1500", "shop")
    made.inside("usermod", "--append", "--groups", "shop", "alice")
    made.path("/home/alice/notes").write_text("hers\n")
    os.chown(made.path("/home/alice/notes"), 1000, 1500)
    made.write("/home/bob/mine", "his\n", 0o600)
    os.chown(made.path("/home/bob/mine"), 1001, 1001)
    made.write("/var/www/html/index.html", "<h1>one</h1>\n")
    made.write("/var/www/html/café naïve.html", "two words\n")
    made.write("/srv/data/big", os.urandom(300_000))
    made.write("/etc/motd", "A's message\n")
    made.write("/usr/local/bin/tool", "#!/bin/sh\necho tool\n", 0o755)
    os.symlink("../srv/data", made.path("/var/www/data"))
    os.link(made.path("/srv/data/big"), made.path("/srv/data/same"))
    made.path("/etc/issue.net").unlink()
    made.path("/etc/debian_version").chmod(0o640)
    made.write(os.fsdecode(b"/srv/odd/na\xffme\n"), "odd\n")
    os.setxattr(made.path("/srv/data/big"), "user.note", b"kept")


def work_more(made: Machine) -> None:
    made.write("/var/www/html/index.html", "<h1>two</h1>\n")
    made.write("/srv/new", "new\n")
    made.path("/usr/local/bin/tool").unlink()
    made.write("/usr/local/bin/tool2", "#!/bin/sh\necho tool2\n", 0o4755)


def test_what_changed_on_a_is_on_b_and_what_was_bs_stays(a: Machine, target: str, b: Machine) -> None:
    result = b.json("restore", "--address", target, "--secretfile", str(a.secret_file))
    assert result["outcome"] == "complete", result
    assert b.path("/var/www/html/index.html").read_text() == "<h1>two</h1>\n"
    assert b.path("/var/www/html/café naïve.html").read_text() == "two words\n"
    assert b.path("/etc/motd").read_text() == "A's message\n"
    assert not b.path("/usr/local/bin/tool").exists()
    assert stat.S_IMODE(b.path("/usr/local/bin/tool2").stat().st_mode) == 0o4755
    assert not b.path("/etc/issue.net").exists()
    assert stat.S_IMODE(b.path("/etc/debian_version").stat().st_mode) == 0o640
    assert os.readlink(b.path("/var/www/data")) == "../srv/data"
    assert b.path("/srv/data/big").read_bytes() == a.path("/srv/data/big").read_bytes()
    assert b.path("/srv/data/big").stat().st_ino == b.path("/srv/data/same").stat().st_ino
    assert os.getxattr(b.path("/srv/data/big"), "user.note") == b"kept"
    assert b.path(os.fsdecode(b"/srv/odd/na\xffme\n")).read_text() == "odd\n"
    assert b.path("/srv/own/file").read_text() == "B's own\n"
    # B's bob keeps his id; A's files of his follow, and alice gets a free one.
    ids = {line.split(":")[0]: int(line.split(":")[2]) for line in b.path("/etc/passwd").read_text().splitlines()}
    assert ids["bob"] == 1000
    assert b.path("/home/bob/mine").stat().st_uid == 1000
    assert ids["alice"] not in (0, 1000)
    assert b.path("/home/alice/notes").stat().st_uid == ids["alice"]
    assert "shop" in b.inside("id", "-nG", "alice").split()
    # The packages are really there, by apt.
    assert b.inside("dpkg-query", "-W", "-f", "${db:Status-Status}", "sl") == "installed"
    assert b.path("/usr/games/sl").exists()
    assert "Hello" in b.inside("hello")


def test_a_rollback_gives_b_back_byte_for_byte(a: Machine, target: str, b: Machine) -> None:
    before, packages = snapshot(b.root, skip=NOT_PROMISED), installed(b)
    b.tklbam("restore", "--address", target, "--secretfile", str(a.secret_file))
    assert b.path("/var/backups/tklbam-rollback").is_dir()
    assert snapshot(b.root, skip=NOT_PROMISED) != before
    assert "sl" in installed(b)
    b.tklbam("restore-rollback", "--force")
    assert installed(b) == packages
    assert differences(before, snapshot(b.root, skip=NOT_PROMISED)) == {}
    assert not b.path("/var/backups/tklbam-rollback").exists()


def test_a_simulated_restore_changes_nothing(a: Machine, target: str, b: Machine) -> None:
    ours = (b"/var/log", b"/var/lib/tklbam", b"/var/cache", b"/var/lib/apt")
    before = snapshot(b.root, skip=ours)
    plan = b.json("restore", "--simulate", "--address", target, "--secretfile", str(a.secret_file))
    assert plan["outcome"] == "simulated"
    assert "sl" in plan["plan"]["packages"]["to_install"]
    assert differences(before, snapshot(b.root, skip=ours)) == {}


def test_limits_take_only_what_they_name(a: Machine, target: str, b: Machine) -> None:
    words = ["--skip-packages", "--limits", "/var/www -/var/www/data"]
    b.tklbam("restore", "--address", target, "--secretfile", str(a.secret_file), *words)
    assert b.path("/var/www/html/index.html").exists()
    assert not b.path("/var/www/data").is_symlink()
    assert not b.path("/srv/new").exists()
    assert b.path("/etc/motd").read_text() == "B's message\n"


def test_an_earlier_state_can_be_had(a: Machine, target: str, b: Machine, tmp_path: Path) -> None:
    from tests.e2e.archive import session_times

    first, second = session_times(target)
    assert first < second
    words = ["--address", target, "--secretfile", str(a.secret_file), "--skip-packages", "--time", first.isoformat()]
    b.tklbam("restore", *words)
    assert b.path("/var/www/html/index.html").read_text() == "<h1>one</h1>\n"
    assert b.path("/usr/local/bin/tool").exists()
    assert not b.path("/srv/new").exists()


def test_an_extract_restores_like_an_archive(a: Machine, b: Machine, tmp_path: Path) -> None:
    a.tklbam("backup", "--dump", str(tmp_path / "extract"))
    assert (tmp_path / "extract/TKLBAM/fsdelta").exists()
    b.tklbam("restore", str(tmp_path / "extract"), "--skip-packages")
    assert b.path("/srv/new").read_text() == "new\n"
    assert (tmp_path / "extract/srv/new").exists(), "an extract stays as it is"


def installed(made: Machine) -> dict[str, str]:
    listed = made.inside("dpkg-query", "-W", "-f", "${Package}:${Architecture} ${Version} ${db:Status-Status}\n")
    return {line.split()[0].partition(":")[0]: line for line in listed.splitlines()}


def differences(
    before: dict[bytes, tuple[object, ...]], after: dict[bytes, tuple[object, ...]]
) -> dict[bytes, tuple[object, object]]:
    """What differs between two snapshots; the time of a directory says only that something came and went in it."""

    def comparable(entry: tuple[object, ...] | None) -> tuple[object, ...] | None:
        is_directory = entry is not None and str(entry[0]).startswith("0o40")
        return (*entry[:3], None, *entry[4:]) if entry is not None and is_directory else entry

    return {
        path: (before.get(path), after.get(path))
        for path in {*before, *after}
        if path not in NOT_PROMISED and comparable(before.get(path)) != comparable(after.get(path))
    }
