"""A run that dies at any moment: the next one cleans up by itself, and every session reported as good restores."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engine_support import SECRET, Lab, noise, tree_state, two_sessions  # noqa: F401 - fixture
from tklbam_core.api.errors import ArchiveError, LockedError

# ruff: noqa: F811

HERE = Path(__file__).resolve().parents[2]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def start_backup(lab: Lab, full: bool, held: str = "") -> subprocess.Popen[bytes]:
    """A backup in a process of its own, which waits with its second volume while there is a file of that name."""
    script = (
        "import time\n"
        "from pathlib import Path\n"
        "from tests.engine_support import Lab\n"
        "from tklbam_storage_local.target import LocalTarget\n"
        "class Held(LocalTarget):\n"
        "    def write(self, name, content):\n"
        f"        while {held!r} and 'vol2.' in name and Path({held!r}).exists(): time.sleep(0.02)\n"
        "        super().write(name, content)\n"
        "class Existing(Lab):\n"
        "    def __post_init__(self): pass\n"
        "    @property\n"
        "    def target(self): return Held(f'file://{self.store}', self.store)\n"
        f"Existing(Path({str(lab.base)!r})).backup(full={full})\n"
    )
    return subprocess.Popen([sys.executable, "-c", script], cwd=HERE)


def processes_in(directory: Path) -> list[int]:
    """Processes that have this directory's path in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.fsencode(directory) in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def check_all_restore(lab: Lab, expected: dict[float, dict[bytes, tuple[object, ...]]]) -> None:
    """Every session that is reported restores to what the source was then."""
    for chain in lab.engine.chains(lab.target):
        for session in chain.sessions:
            when = session.time.timestamp()
            if when in expected:
                restored = lab.restore(f"check-{when}", time=session.time)
                assert tree_state(restored) == expected[when]
                shutil.rmtree(restored)
            assert lab.engine.verify(lab.target, session, SECRET).ok


def test_killed_at_many_moments(lab: Lab) -> None:
    lab.put("srv/a", noise(4_500_000, 1))
    states = {lab.backup(full=True).session.time.timestamp(): tree_state(lab.source)}
    begun = time.monotonic()
    process = start_backup(lab, full=True)
    assert process.wait() == 0
    whole = time.monotonic() - begun
    interrupted = 0
    for moment in range(8):
        # Increments, which change half of the data each time, and full sessions in turn.
        lab.put("srv/b", noise(2_500_000, moment))
        begun = time.monotonic()
        process = start_backup(lab, full=moment % 3 == 2)
        try:
            process.wait(whole * (0.25 + 0.75 * moment / 7))
            whole = time.monotonic() - begun  # the machine has become quicker
        except subprocess.TimeoutExpired:
            interrupted += 1
        process.send_signal(signal.SIGKILL)
        process.wait()
        deadline = time.monotonic() + 30
        while processes_in(lab.cache) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not processes_in(lab.cache), "duplicity must not outlive the run that started it"
        latest = lab.engine.chains(lab.target)[-1].sessions[-1].time.timestamp()
        if latest in states:
            assert tree_state(lab.restore(f"after-{moment}")) == states[latest]
        for place in (lab.base / "temp").iterdir():
            if not (place / "lock").exists():  # killed before it was there: nobody can tell, so only time does
                os.utime(place, (0, 0))
        result = lab.backup()
        states[result.session.time.timestamp()] = tree_state(lab.source)
        assert lab.temporary_files() == []
    check_all_restore(lab, states)
    assert interrupted >= 3, "the moments must fall into the run"


def half_manifest(lab: Lab) -> None:
    manifest = newest(lab, "manifest")
    manifest.write_bytes(manifest.read_bytes()[:100])


def newest(lab: Lab, kind: str) -> Path:
    return max(lab.store.glob(f"*{kind}*"), key=lambda path: path.name.split(".")[-3 if "vol" not in kind else -4])


def newest_files(lab: Lab) -> list[Path]:
    """The files of the latest session, an increment."""
    stamp = max(path.name.split(".to.")[1].split(".")[0] for path in lab.store.glob("*.to.*"))
    return [path for path in lab.store.iterdir() if f".to.{stamp}." in path.name]


def keep(lab: Lab, *kinds: str) -> None:
    """Deletes those files of the latest session that are of none of these kinds."""
    for path in newest_files(lab):
        if not any(kind in path.name for kind in kinds):
            path.unlink()


def cache_files(lab: Lab) -> list[Path]:
    stamp = newest_files(lab)[0].name.split(".to.")[1].split(".")[0]
    return [path for path in lab.cache.rglob("*") if f".to.{stamp}." in path.name]


def cache_partial(lab: Lab) -> None:
    """The cache as duplicity leaves it when it dies before it renames its files."""
    for path in cache_files(lab):
        path.rename(path.with_name(path.name.removesuffix(".gz") + ".part"))


def forget(lab: Lab) -> None:
    """Nothing noted about the latest session: the process died before it could."""
    for path in lab.cache.glob("*.json"):
        path.unlink()


def cut(lab: Lab, kind: str, size: int) -> None:
    for path in newest_files(lab):
        if kind in path.name:
            path.write_bytes(path.read_bytes()[:size])


SHAPES: dict[str, Callable[[Lab], object]] = {
    "manifest, no volumes": lambda lab: keep(lab, "manifest", "sigtar"),
    "manifest alone": lambda lab: keep(lab, "manifest"),
    "volumes, no manifest": lambda lab: keep(lab, "vol"),
    "volumes, no manifest, cache partial": lambda lab: (cache_partial(lab), keep(lab, "vol")),
    "volumes and signatures, no manifest": lambda lab: keep(lab, "vol", "sigtar"),
    "signatures alone": lambda lab: keep(lab, "sigtar"),
    "last volume only": lambda lab: keep(lab, "vol3"),
    "first volume only, cache partial": lambda lab: (cache_partial(lab), keep(lab, "vol1")),
    "half a volume": lambda lab: (cache_partial(lab), keep(lab, "vol1"), cut(lab, "vol1", 1000)),
    "an empty volume": lambda lab: (cache_partial(lab), keep(lab, "vol1"), cut(lab, "vol1", 0)),
    "half a manifest, cache partial": lambda lab: (cache_partial(lab), cut(lab, "manifest", 90)),
    "half a manifest, cache lost": lambda lab: (shutil.rmtree(lab.cache), cut(lab, "manifest", 90)),
    "an empty manifest, cache partial": lambda lab: (cache_partial(lab), cut(lab, "manifest", 0)),
    "an empty manifest, cache lost": lambda lab: (shutil.rmtree(lab.cache), cut(lab, "manifest", 0)),
    "half the signatures, no manifest": lambda lab: (keep(lab, "vol", "sigtar"), cut(lab, "sigtar", 50)),
    "nothing on the target: cache ahead": lambda lab: keep(lab, "nothing"),
    "volumes, no manifest, cache lost": lambda lab: (keep(lab, "vol"), shutil.rmtree(lab.cache)),
    "signatures, no manifest, cache lost": lambda lab: (keep(lab, "vol", "sigtar"), shutil.rmtree(lab.cache)),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_half_uploaded_session_is_removed_and_said(two_sessions: Lab, tmp_path: Path, shape: str) -> None:
    lab = two_sessions.copy(tmp_path / "lab")
    full = lab.engine.chains(lab.target)[0].sessions[0]
    (lab.store / "notes.txt").write_text("not ours")
    (lab.store / "duplicity-full.20200101T000000Z.vol1.difftar.gpg.bak").write_text("not ours")
    forget(lab)
    SHAPES[shape](lab)
    left = len(list(lab.store.iterdir()))
    said = lab.prepare()
    assert said, "it must say what it removed"
    assert left - len(list(lab.store.iterdir())) == left - 5
    assert [chain.sessions for chain in lab.engine.chains(lab.target)] == [(full,)]
    assert not lab.prepare()
    result = lab.engine.write(lab.target, lab.request())
    assert result.session.kind == "incremental"
    assert (lab.store / "notes.txt").exists()
    check_all_restore(lab, {result.session.time.timestamp(): tree_state(lab.source)})


COMPLETE: dict[str, Callable[[Lab], object]] = {
    "died before the cache was renamed": lambda lab: (cache_partial(lab), forget(lab)),
    "the cache has the manifest, and the signatures are partial": lambda lab: (
        forget(lab),
        [path.rename(path.with_suffix(".part")) for path in cache_files(lab) if "sigtar" in path.name],
    ),
    "cache lost": lambda lab: shutil.rmtree(lab.cache),
    "cache behind": lambda lab: (forget(lab), [path.unlink() for path in cache_files(lab)]),
    "nothing noted": forget,
    "a stale lock": lambda lab: [(path / "lockfile").touch() for path in lab.cache.iterdir() if path.is_dir()],
    "duplicity's working files": lambda lab: [
        ((path / "duplicity-x-tempdir").mkdir(), (path / "duplicity-x-tempdir/mktemp-y-1").write_bytes(b"z"))
        for path in lab.cache.iterdir()
        if path.is_dir()
    ],
    "an encrypted copy in the cache": lambda lab: [
        shutil.copy(path, next(each for each in lab.cache.iterdir() if each.is_dir()))
        for path in newest_files(lab)
        if "vol" not in path.name
    ],
    "a damaged manifest in the cache": lambda lab: [
        path.write_bytes(b"Hostname x\n") for path in cache_files(lab) if "manifest" in path.name
    ],
}


@pytest.mark.parametrize("state", COMPLETE)
def test_a_complete_session_is_never_removed(two_sessions: Lab, tmp_path: Path, state: str) -> None:
    lab = two_sessions.copy(tmp_path / "lab")
    COMPLETE[state](lab)
    before = sorted(path.name for path in lab.store.iterdir())
    lab.prepare()
    assert sorted(path.name for path in lab.store.iterdir()) == before
    assert lab.sessions() == 2
    lab.put("srv/c", b"3")
    result = lab.engine.write(lab.target, lab.request())
    assert result.session.kind == "incremental"
    assert result.session.size < 50_000
    assert lab.sessions() == 3
    check_all_restore(lab, {result.session.time.timestamp(): tree_state(lab.source)})


def test_write_cleans_up_even_when_nobody_called_prepare(lab: Lab) -> None:
    lab.backup(full=True)
    lab.put("srv/b", noise(1_500_000, 2))
    lab.backup()
    forget(lab)
    cache_partial(lab)
    keep(lab, "vol1")
    result = lab.engine.write(lab.target, lab.request())
    assert result.session.kind == "incremental"
    assert any("interrupted" in line for line in result.warnings)
    assert tree_state(lab.restore()) == tree_state(lab.source)


def test_an_interrupted_first_session_leaves_an_empty_target(lab: Lab) -> None:
    lab.put("srv/b", noise(1_500_000, 2))
    lab.backup()
    forget(lab)
    for path in lab.store.iterdir():
        if "vol1" not in path.name:
            path.unlink()
    assert lab.prepare()
    assert list(lab.store.iterdir()) == []
    assert lab.backup().session.kind == "full"


def test_with_another_secret_nothing_is_removed(lab: Lab) -> None:
    lab.backup()
    shutil.rmtree(lab.cache)
    before = sorted(path.name for path in lab.store.iterdir())
    assert any("another secret" in line for line in lab.prepare("not the secret of this archive"))
    assert sorted(path.name for path in lab.store.iterdir()) == before
    with pytest.raises(ArchiveError, match="secret does not open"):
        lab.engine.write(lab.target, lab.request(secret="not the secret of this archive"))
    assert sorted(path.name for path in lab.store.iterdir()) == before


def test_a_session_that_lost_a_volume_is_told_and_the_next_one_is_full(lab: Lab) -> None:
    lab.put("srv/b", noise(2_500_000, 2))
    lab.backup()
    lab.put("etc/a", b"a")
    lab.backup()
    next(lab.store.glob("*full*vol2*")).unlink()
    shutil.rmtree(lab.cache)
    said = lab.prepare()
    assert any("damaged" in line and "volume 2 of 3 is missing" in line for line in said)
    assert lab.sessions() == 0
    result = lab.engine.write(lab.target, lab.request())
    assert result.session.kind == "full"
    assert tree_state(lab.restore()) == tree_state(lab.source)


def test_two_runs_on_one_target_do_not_meet(lab: Lab) -> None:
    lab.put("srv/b", noise(6_000_000, 2))
    held = lab.base / "held"
    held.touch()
    process = start_backup(lab, full=True, held=str(held))
    try:
        deadline = time.monotonic() + 60
        while not list(lab.store.glob("*vol1*")) and time.monotonic() < deadline:
            time.sleep(0.02)
        with pytest.raises(LockedError):
            lab.prepare()
    finally:
        held.unlink()
        assert process.wait() == 0
    assert lab.sessions() == 1
