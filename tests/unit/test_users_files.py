"""The user database on disk: read, copied, written under the locks, and put back as it was."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests import trees
from tklbam_core.api.errors import FormatError, LockedError
from tklbam_core.host import Host
from tklbam_core.system import userdb_snapshot
from tklbam_core.system.unfinished import clear_unfinished
from tklbam_core.system.userdb_io import apply, clear_left_locks, locked, read, read_host, save_for_backup, write
from tklbam_core.system.users import merge

NEW = {
    "passwd": "root:x:0:0:root:/root:/bin/bash\nadmin:x:1000:1000::/home/admin:/bin/bash\n",
    "group": "root:x:0:\nadmin:x:1000:\nshadow:x:42:\n",
    "shadow": "root:*:1:0:99999:7:::\nadmin:$6$new$newnewnewnew:1:0:99999:7:::\n",
    "subuid": "",
}
OLD = {
    "passwd": "root:x:0:0:root:/root:/bin/bash\nbob:x:1000:1000::/home/bob:/bin/bash\n",
    "group": "root:x:0:\nbob:x:1000:\n",
    "shadow": "root:$6$old$oldoldoldold:9:0:99999:7:::\nbob:$6$bob$bobbobbobbob:9:0:99999:7:::\n",
}


def system(root: Path, files: dict[str, str]) -> Host:
    etc = root / "etc"
    etc.mkdir(parents=True)
    for name, text in files.items():
        (etc / name).write_text(text)
        (etc / name).chmod(0o640 if "shadow" in name else 0o644)
    return Host.from_environment(root)


def state(etc: Path) -> dict[str, tuple[bytes, int, int, int, int]]:
    """Content, mode, owner and mtime of every file."""
    found = {}
    for path in sorted(etc.iterdir()):
        status = path.stat()
        if path.is_file() and path.name != ".pwd.lock":
            mode = stat.S_IMODE(status.st_mode)
            found[path.name] = (path.read_bytes(), mode, status.st_uid, status.st_gid, status.st_mtime_ns)
    return found


def test_a_merge_is_written_whole_with_modes_kept_and_the_former_content_beside(tmp_path: Path) -> None:
    host, old = system(tmp_path / "b", NEW), system(tmp_path / "a", OLD)
    etc = tmp_path / "b/etc"
    os.utime(etc / "passwd", ns=(1_000_000_000, 1_000_000_000))
    result = apply(host, read_host(old))
    assert result.uid_map == {1000: 1001}
    assert (etc / "passwd").read_text() == NEW["passwd"] + "bob:x:1001:1001::/home/bob:/bin/bash\n"
    assert "root:$6$old$oldoldoldold:9:" in (etc / "shadow").read_text()
    assert (etc / "passwd-").read_text() == NEW["passwd"]
    assert (etc / "passwd-").stat().st_mtime_ns == 1_000_000_000
    assert stat.S_IMODE((etc / "shadow").stat().st_mode) == 0o640
    assert stat.S_IMODE((etc / "shadow-").stat().st_mode) == 0o640
    assert not (etc / "subuid-").exists(), "a file that does not change is left alone"
    assert [path.name for path in etc.iterdir() if "lock" in path.name] == [".pwd.lock"]


def test_writing_the_same_again_touches_nothing(tmp_path: Path) -> None:
    host, old = system(tmp_path / "b", NEW), system(tmp_path / "a", OLD)
    apply(host, read_host(old))
    before = state(tmp_path / "b/etc")
    apply(host, read_host(old))
    assert state(tmp_path / "b/etc") == before


def test_put_back_brings_every_file_back_and_takes_away_what_was_not_there(tmp_path: Path) -> None:
    host, old = system(tmp_path / "b", {**NEW, "group-": "kept\n"}), system(tmp_path / "a", OLD)
    etc = tmp_path / "b/etc"
    (etc / "group-").chmod(0o600)
    os.utime(etc / "group-", ns=(5, 7))
    before = state(etc)
    area = tmp_path / "area"
    userdb_snapshot.snapshot(host, area)
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in area.iterdir())
    apply(host, read_host(old))
    (etc / "gshadow").write_text("new\n")
    (etc / "subuid").unlink()
    assert state(etc) != before
    assert set(userdb_snapshot.put_back(host, area)) >= {"passwd", "passwd-", "group-", "gshadow", "subuid", "shadow"}
    assert state(etc) == before
    assert userdb_snapshot.put_back(host, area) == (), "a second time there is nothing to do"


def test_a_damaged_snapshot_is_an_error_that_names_its_file(tmp_path: Path) -> None:
    host = system(tmp_path / "b", NEW)
    (tmp_path / "userdb.json").write_text('{"format": 1, "files": {}}')
    with pytest.raises(FormatError, match=r"userdb\.json"):
        userdb_snapshot.put_back(host, tmp_path)


def test_the_lock_keeps_others_out_and_is_waited_for(tmp_path: Path) -> None:
    host = system(tmp_path / "b", NEW)
    lock = tmp_path / "b/etc/.pwd.lock"
    held = textwrap.dedent("""
        import fcntl, sys
        file = open(sys.argv[1], "w")
        fcntl.lockf(file, fcntl.LOCK_EX)
        print("held", flush=True)
        sys.stdin.read()
    """)
    with subprocess.Popen([sys.executable, "-c", held, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(LockedError, match="another program"), locked(host, timeout=0.3):
            pytest.fail("the lock is another's")
        holder.communicate(b"")
    with locked(host, timeout=0.3):
        # A process may lock again what it has locked, so another one has to ask.
        code = "import fcntl,sys; fcntl.lockf(open(sys.argv[1], 'w'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
        assert subprocess.run([sys.executable, "-c", code, lock], capture_output=True, check=False).returncode


def test_lock_files_of_the_shadow_tools_are_respected_unless_their_process_is_gone(tmp_path: Path) -> None:
    host = system(tmp_path / "b", NEW)
    lock = tmp_path / "b/etc/group.lock"
    lock.write_bytes(b"%d\0" % os.getppid())
    with pytest.raises(LockedError, match=f"process {os.getppid()}"), locked(host, timeout=0.3):
        pytest.fail("the lock is another's")
    assert lock.exists()
    gone = subprocess.Popen(["true"])
    gone.wait()
    lock.write_bytes(b"%d\0" % gone.pid)
    left, others = lock.with_name(f"passwd.{gone.pid}"), lock.with_name("passwd.2024")
    left.write_bytes(b"%d\0" % gone.pid)
    others.write_bytes(b"somebody's copy\n")
    with locked(host):
        assert int(lock.read_bytes().rstrip(b"\0")) == os.getpid()
        assert not left.exists()
        assert others.exists()
    assert not list((tmp_path / "b/etc").glob("*.lock"))[1:]


def write_nothing() -> None:
    """From now on this process is killed as soon as it writes anything into a file."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


@pytest.mark.parametrize("taken", [0, 3])
def test_of_a_process_killed_while_it_takes_the_locks_a_rollback_leaves_nothing(tmp_path: Path, taken: int) -> None:
    """With a lock's file made, and nothing in it yet."""
    host = system(tmp_path / "b", NEW)
    etc = tmp_path / "b/etc"
    before = state(etc)
    child = os.fork()
    if child == 0:
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            links = iter(range(taken))

            def hook(event: str, _: object) -> None:
                if event == "os.link" and next(links) == taken - 1:
                    write_nothing()

            sys.addaudithook(hook)
            if not taken:
                write_nothing()
            with locked(host):
                pytest.fail("it is not killed")
        finally:
            os._exit(70)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGXFSZ
    assert state(etc) != before
    clear_left_locks(host)
    clear_unfinished(host)
    assert state(etc) == before


def test_copies_for_the_backup_are_the_files_as_they_are_and_private(tmp_path: Path) -> None:
    host = system(
        tmp_path / "a", {**OLD, "gshadow": "odd\n\n# \udcff".encode("utf-8", "surrogateescape").decode("latin-1")}
    )
    assert save_for_backup(host, tmp_path / "extras/etc") == ("passwd", "group", "shadow", "gshadow")
    for name in ("passwd", "group", "shadow", "gshadow"):
        copy = tmp_path / "extras/etc" / name
        assert copy.read_bytes() == (tmp_path / "a/etc" / name).read_bytes()
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert read(tmp_path / "extras/etc").passwd.by_key().keys() == {"root", "bob"}


def test_a_root_whose_etc_is_an_absolute_link_is_never_mistaken_for_ours(tmp_path: Path) -> None:
    system(tmp_path / "a/srv", NEW)
    (tmp_path / "a/etc").symlink_to("/srv/etc")
    host = Host.from_environment(tmp_path / "a")
    apply(host, read_host(system(tmp_path / "c", OLD)))
    assert "bob" in (tmp_path / "a/srv/etc/passwd").read_text()


def test_names_that_are_not_utf8_survive(tmp_path: Path) -> None:
    host = system(tmp_path / "b", NEW)
    old = tmp_path / "a/etc"
    old.mkdir(parents=True)
    (old / "passwd").write_bytes(b"j\xf6rg:x:1005:1005:J\xf6rg:/home/j:/bin/sh\r\n")
    (old / "group").write_bytes(b"")
    write(host, merge(read(old), read_host(host)))
    assert b"j\xf6rg:x:1005:1005:J\xf6rg:/home/j:/bin/sh\r\n" in (tmp_path / "b/etc/passwd").read_bytes()


@pytest.mark.root
def test_the_systems_own_tools_accept_what_was_written_and_the_lock_stops_them(tmp_path: Path) -> None:
    with trees.mounted("bookworm", tmp_path) as root:
        host = Host.from_environment(root)
        run = ["chroot", str(root)]
        subprocess.run([*run, "useradd", "-u", "1000", "-U", "admin"], check=True)
        apply(host, read_host(system(tmp_path / "a", OLD)))
        for tool in ("pwck", "grpck"):
            done = subprocess.run([*run, tool, "-r", "-q"], capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr) == (0, ""), done.stdout
        shown = subprocess.run([*run, "id", "bob"], check=True, capture_output=True, text=True).stdout
        assert shown.startswith("uid=1001(bob) gid=1001(bob)")
        assert (root / "etc/shadow").stat().st_gid == 42
        with locked(host):
            done = subprocess.run(
                [*run, "timeout", "3", "useradd", "late"], capture_output=True, text=True, check=False
            )
            assert done.returncode != 0
        assert "late" not in (root / "etc/passwd").read_text()
