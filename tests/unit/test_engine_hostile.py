"""Archives that want out of the directory they are restored to, and archives that are damaged."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.engine_support import SECRET, Lab, noise, tree_state
from tklbam_core.api.errors import ArchiveError, EngineError, TklbamError, UnsafePathError
from tklbam_core.engine.confined import REFUSED, Kernel

CONFINED = Path(__file__).resolve().parents[2] / "tklbam_core/engine/confined.py"
Member = tuple[str, bytes, bytes | str, int]
"""Name in the difftar, tar type, content or link target, mode."""


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def encrypt(data: bytes, lab: Lab) -> bytes:
    home = Path("/tmp") / f"tklbam-test-{os.getpid()}"
    home.mkdir(mode=0o700, exist_ok=True)
    try:
        argv = ["gpg", "--homedir", home, "--batch", "--pinentry-mode", "loopback", "--passphrase", SECRET]
        done = subprocess.run(
            [*argv, "--s2k-count", "1088", "--symmetric"], input=data, check=True, capture_output=True
        )
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "gpg-agent"], check=True)
        return done.stdout
    finally:
        shutil.rmtree(home, ignore_errors=True)


def craft(lab: Lab, *members: Member) -> None:
    """Puts a full session of one volume with these members on the target, encrypted with the right secret."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.GNU_FORMAT) as out:
        for name, kind, content, mode in (("snapshot/", tarfile.DIRTYPE, b"", 0o755), *members):
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.mtime = kind, mode, 1_000_000_000
            if kind in (tarfile.BLKTYPE, tarfile.CHRTYPE):
                info.devmajor, info.devminor = 7, 63
            if isinstance(content, str):
                info.linkname = content
                out.addfile(info)
            else:
                info.size = len(content)
                out.addfile(info, io.BytesIO(content))
    volume = encrypt(tar.getvalue(), lab)
    manifest = (
        b"Hostname here\nLocaldir /\nVolume 1:\n    StartingPath   .  \n    EndingPath     zzzz  \n"
        b"    Hash SHA1 " + hashlib.sha1(volume).hexdigest().encode() + b"\n"
    )
    lab.store.mkdir(mode=0o700)
    stamp = f"{datetime(2026, 1, 1, tzinfo=UTC):%Y%m%dT%H%M%SZ}"
    (lab.store / f"duplicity-full.{stamp}.vol1.difftar.gpg").write_bytes(volume)
    (lab.store / f"duplicity-full.{stamp}.manifest.gpg").write_bytes(encrypt(manifest, lab))
    (lab.store / f"duplicity-full-signatures.{stamp}.sigtar.gpg").write_bytes(encrypt(b"", lab))


def test_a_harmless_crafted_archive_restores(lab: Lab) -> None:
    craft(lab, ("snapshot/a", tarfile.DIRTYPE, b"", 0o750), ("snapshot/a/file", tarfile.REGTYPE, b"content", 0o640))
    restored = lab.restore()
    assert (restored / "a/file").read_bytes() == b"content"
    assert stat.S_IMODE((restored / "a").stat().st_mode) == 0o750


def test_an_absolute_symlink_is_data_like_any_other(lab: Lab) -> None:
    craft(lab, ("snapshot/link", tarfile.SYMTYPE, "/etc/passwd", 0o777))
    assert os.readlink(lab.restore() / "link") == "/etc/passwd"


def outside_state(outside: Path) -> list[tuple[object, ...]]:
    paths = [outside, *sorted(outside.rglob("*"))]
    return [
        (
            path,
            path.lstat().st_mode,
            path.lstat().st_uid,
            path.lstat().st_mtime_ns,
            path.is_file() and path.read_bytes(),
        )
        for path in paths
    ]


ATTACKS: dict[str, Callable[[Path], list[Member]]] = {
    "a file through a planted symlink": lambda outside: [
        ("snapshot/x", tarfile.SYMTYPE, str(outside), 0o777),
        ("snapshot/x/planted", tarfile.REGTYPE, b"evil", 0o644),
    ],
    "over an existing file": lambda outside: [
        ("snapshot/x", tarfile.SYMTYPE, str(outside), 0o777),
        ("snapshot/x/precious", tarfile.REGTYPE, b"evil", 0o644),
    ],
    "mode and owner of a directory": lambda outside: [
        ("snapshot/x", tarfile.SYMTYPE, str(outside), 0o777),
        ("snapshot/x/directory", tarfile.DIRTYPE, b"", 0o777),
    ],
    "a new directory": lambda outside: [
        ("snapshot/x", tarfile.SYMTYPE, str(outside), 0o777),
        ("snapshot/x/new", tarfile.DIRTYPE, b"", 0o755),
        ("snapshot/x/new/file", tarfile.REGTYPE, b"evil", 0o644),
    ],
    "a relative symlink": lambda outside: [
        ("snapshot/x", tarfile.SYMTYPE, f"../{outside.name}", 0o777),
        ("snapshot/x/planted", tarfile.REGTYPE, b"evil", 0o644),
    ],
    "dots": lambda outside: [(f"snapshot/../{outside.name}/planted", tarfile.REGTYPE, b"evil", 0o644)],
    "dots in the middle": lambda outside: [
        ("snapshot/a", tarfile.DIRTYPE, b"", 0o755),
        (f"snapshot/a/../../{outside.name}/planted", tarfile.REGTYPE, b"evil", 0o644),
    ],
    "a symlink to a symlink's place": lambda outside: [
        ("snapshot/x", tarfile.SYMTYPE, str(outside), 0o777),
        ("snapshot/x/planted", tarfile.SYMTYPE, "/etc/passwd", 0o777),
    ],
    "a fifo": lambda outside: [
        ("snapshot/x", tarfile.SYMTYPE, str(outside), 0o777),
        ("snapshot/x/planted", tarfile.FIFOTYPE, b"", 0o644),
    ],
}


@pytest.mark.parametrize("native", [True, False], ids=["our reader", "duplicity"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_is_written_outside_the_destination(lab: Lab, attack: str, native: bool) -> None:
    lab.native = native
    outside = lab.base / "outside"
    (outside / "directory").mkdir(parents=True)
    (outside / "precious").write_bytes(b"precious")
    before = outside_state(outside)
    craft(lab, *ATTACKS[attack](outside))
    with pytest.raises(UnsafePathError) as caught:
        lab.restore()
    assert "outside" in caught.value.what
    assert outside_state(outside) == before
    assert lab.temporary_files() == []


@pytest.mark.parametrize("native", [True, False], ids=["our reader", "duplicity"])
def test_a_name_that_comes_twice_does_not_lead_out(lab: Lab, native: bool) -> None:
    lab.native = native
    outside = lab.base / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"precious")
    craft(
        lab,
        ("snapshot/x", tarfile.SYMTYPE, str(outside / "precious"), 0o777),
        ("snapshot/x", tarfile.REGTYPE, b"evil", 0o644),
    )
    with contextlib.suppress(TklbamError):  # duplicity may take either of the two; neither may get out
        lab.restore()
    assert (outside / "precious").read_bytes() == b"precious"


def confined(*words: str | Path, code: str) -> subprocess.CompletedProcess[bytes]:
    argv = [sys.executable, "-I", str(CONFINED), "--parent", str(os.getpid()), *map(str, words), "--", sys.executable]
    return subprocess.run([*argv, "-c", code], capture_output=True, check=False)


def test_each_wall_holds_what_it_is_for(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    wall = ("--writable", inside)
    assert confined(*wall, code=f"open({str(inside / 'f')!r}, 'w').write('1')").returncode == 0
    assert (inside / "f").read_text() == "1"
    for attempt in (
        f"open({str(outside / 'f')!r}, 'w')",
        f"import os; os.mkdir({str(outside / 'd')!r})",
        f"import os; os.chmod({str(outside)!r}, 0o777)",
        f"import os; os.utime({str(outside)!r}, (1, 1))",
        f"import os; os.rename({str(inside / 'f')!r}, {str(outside / 'f')!r})",
        f"import os; os.link({str(inside / 'f')!r}, {str(outside / 'f')!r})",
        "open('/dev/zero', 'wb').write(b'x')",
    ):
        done = confined(*wall, code=attempt)
        assert done.returncode == 1, attempt
        assert b"Error" in done.stderr
    assert list(outside.iterdir()) == []


@pytest.mark.root
def test_a_restored_device_can_not_be_written_to_while_restoring(tmp_path: Path) -> None:
    attempt = f"import os, stat; os.mknod({str(tmp_path / 'zero')!r}, stat.S_IFCHR | 0o666, os.makedev(1, 5))"
    assert confined("--writable", tmp_path, code=attempt).returncode == 0
    done = confined("--writable", tmp_path, code=f"open({str(tmp_path / 'zero')!r}, 'wb')")
    assert b"PermissionError" in done.stderr


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that everybody can reach; pytest's own are closed again whenever somebody runs other tests."""
    with tempfile.TemporaryDirectory(prefix="tklbam-test-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


@pytest.mark.root
def test_an_ordinary_user_is_confined_too(public: Path) -> None:
    """The same walls, through a user namespace."""
    inside, outside = public / "in", public / "out"
    for place in (inside, outside):
        place.mkdir()
        os.chown(place, 65534, 65534)
    script = CONFINED.read_text()
    copy = public / "confined.py"
    copy.write_text(script)
    code = (
        "import os\n"
        f"open({str(inside / 'f')!r}, 'w').close()\n"
        f"for attempt in (lambda: open({str(outside / 'f')!r}, 'w'), lambda: os.chmod({str(outside)!r}, 0o777)):\n"
        "    try: attempt()\n"
        "    except OSError: continue\n"
        "    raise SystemExit('got out')\n"
    )
    run = f"import os, sys; sys.path.insert(0, {str(public)!r}); import confined; confined.main(sys.argv[1:])"
    argv = ["--parent", str(os.getpid()), "--writable", str(inside), "--", "/usr/bin/python3", "-c", code]
    done = subprocess.run(
        ["/usr/bin/python3", "-c", run, *argv],
        user=65534,
        group=65534,
        extra_groups=[],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (inside / "f").exists()


def test_where_no_wall_can_be_put_up_nothing_is_run(tmp_path: Path) -> None:
    done = confined("--writable", tmp_path / "missing", code="open('/tmp/never', 'w')")
    assert done.returncode == REFUSED
    assert done.stderr.startswith(b"confined: ")


def test_this_kernel_has_both_walls() -> None:
    assert Kernel().landlock_version() > 0, "the tests here would prove less without Landlock"


# --- damage


def two_volumes(lab: Lab) -> list[Path]:
    lab.put("srv/big", noise(1_500_000, 7))
    lab.backup()
    return sorted(lab.store.glob("*vol*"))


def test_a_missing_volume_is_named(lab: Lab) -> None:
    two_volumes(lab)[1].unlink()
    with pytest.raises(ArchiveError, match="volume 2 of 2 is missing") as caught:
        lab.restore()
    assert "--time" in caught.value.remedy


def test_a_missing_last_volume_is_named_on_a_new_machine(lab: Lab) -> None:
    two_volumes(lab)[1].unlink()
    shutil.rmtree(lab.cache)
    with pytest.raises(ArchiveError, match="volume 2 of 2 is missing"):
        lab.restore()


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("damage", [lambda data: data[:5000], lambda data: data[:9000] + b"\0" * 9 + data[9009:]])
def test_a_damaged_volume_is_named(lab: Lab, damage: Callable[[bytes], bytes], cached: bool) -> None:
    volume = two_volumes(lab)[0]
    volume.write_bytes(damage(volume.read_bytes()))
    if not cached:
        shutil.rmtree(lab.cache)
    with pytest.raises(ArchiveError, match=volume.name) as caught:
        lab.restore()
    assert "--time" in caught.value.remedy


def test_a_damaged_manifest_is_named(lab: Lab) -> None:
    two_volumes(lab)
    manifest = next(lab.store.glob("*manifest*"))
    manifest.write_bytes(manifest.read_bytes()[:80])
    shutil.rmtree(lab.cache)
    with pytest.raises(ArchiveError, match=manifest.name):
        lab.restore()


def test_a_wrong_secret_is_told(lab: Lab) -> None:
    two_volumes(lab)
    shutil.rmtree(lab.cache)
    with pytest.raises(ArchiveError, match="secret does not open") as caught:
        lab.restore(secret="another secret altogether, long enough")
    assert "another secret" not in str(caught.value)


def test_an_empty_target_is_told(lab: Lab) -> None:
    lab.store.mkdir()
    with pytest.raises(EngineError, match="no complete session"):
        lab.restore()


def test_an_earlier_session_restores_beside_a_damaged_one(lab: Lab) -> None:
    first = lab.backup()
    state = tree_state(lab.source)
    lab.put("srv/big", noise(1_500_000, 7))
    lab.backup()
    next(lab.store.glob("*inc*vol2*")).unlink()
    with pytest.raises(TklbamError):
        lab.restore("latest")
    assert tree_state(lab.restore("first", time=first.session.time)) == state
