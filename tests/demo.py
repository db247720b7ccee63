"""`make demo`: backs up the machine it runs on to a local folder, restores into a scratch root, proves the result."""

from __future__ import annotations

import filecmp
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PLACE = Path(__file__).resolve().parents[1] / ".cache" / "demo"
TARGET, RESTORED, COPY, SAMPLE = (PLACE / name for name in ("target", "restored", "machine", "sample"))
BUDGET = 200 * 2**20
ALWAYS = ["/etc", "/usr/local"]
WHERE_IT_FITS = ["/root", "/home", "/srv", "/var/www"]
USERS = ["passwd", "group", "shadow", "gshadow", "subuid", "subgid"]
ROOT = os.geteuid() == 0


def say(text: str = "") -> None:
    print(text, flush=True)


def tklbam(*words: str, root: Path | None, registry: str, status: tuple[int, ...] = (0,)) -> str:
    """Runs the command with a registry of the demo's own, and shows what is typed and what it says."""
    argv = ["tklbam", *words, *(["--root", str(root)] if root else [])]
    say(f"\n$ {' '.join(argv).replace(str(PLACE), '.cache/demo')}")
    environment = {**os.environ, "TKLBAM_CONF": str(PLACE / "conf"), "TKLBAM_REGISTRY": str(PLACE / registry)}
    ran = subprocess.run(argv, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    if ran.stdout:
        say(ran.stdout.rstrip())
    if ran.returncode not in status:
        sys.exit(f"the command ended with status {ran.returncode}")
    return ran.stdout


def size_of(path: str, limit: int) -> int:
    """Bytes of the regular files that can be read below a path; stops counting beyond `limit`."""
    total = 0
    for place in walk(path):
        status = os.lstat(place)
        total += status.st_size if stat.S_ISREG(status.st_mode) else 0
        if total > limit:
            break
    return total


def walk(path: str) -> Iterator[str]:
    yield path
    if os.path.isdir(path) and not os.path.islink(path):
        for directory, folders, files in os.walk(path):
            # The demo's own folder may lie in a path that is backed up; nothing of it is, but the sample.
            if directory == str(PLACE):
                folders[:], files[:] = [SAMPLE.name], []
            for name in [*folders, *files]:
                place = os.path.join(directory, name)
                if os.path.lexists(place):
                    yield place


def children(path: str) -> list[str]:
    try:
        return sorted(os.path.join(path, name) for name in os.listdir(path))
    except OSError:
        return []


def choose() -> tuple[list[str], list[str]]:
    """(paths to back up, excluded paths): all of /etc, then whatever fits into the budget, entry by entry."""
    included, excluded, left = ["/etc"], [], BUDGET
    left -= size_of("/etc", left)
    for top in [*ALWAYS[1:], *WHERE_IT_FITS]:
        if not os.path.isdir(top) or os.path.islink(top):
            continue
        whole = size_of(top, left)
        if whole <= left:
            included.append(top)
            left -= whole
            continue
        included.append(top)
        for child in children(top):
            needed = size_of(child, left)
            if needed <= left and not PLACE.is_relative_to(child):
                left -= needed
            else:
                excluded.append(child)
    return included, excluded


def copy_readable(paths: list[str], excluded: list[str]) -> int:
    """For a user who may not write to /: copies what can be read into a root of its own; counts what can't."""
    unreadable = 0
    for top in paths:
        for place in walk(top):
            if any(place == out or place.startswith(out + "/") for out in excluded):
                continue
            copied = COPY / place.lstrip("/")
            try:
                if os.path.islink(place):
                    copied.parent.mkdir(parents=True, exist_ok=True)
                    copied.symlink_to(os.readlink(place))
                elif os.path.isdir(place):
                    copied.mkdir(parents=True, exist_ok=True)
                elif os.path.isfile(place):
                    copied.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(place, copied)
            except PermissionError:
                unreadable += 1
    return unreadable


def make_profile(included: list[str], excluded: list[str]) -> Path:
    """A profile of a machine on which nothing had been installed: everything named counts as changed."""
    profile = PLACE / "profile"
    profile.mkdir()
    (profile / "dirindex.conf").write_text(
        "".join(f"{path}\n" for path in included + [f"-{path}" for path in excluded])
    )
    (profile / "dirindex").write_text("#tklbam 2\n")
    (profile / "packages").write_text("")
    return profile


def make_sample() -> None:
    """A few files of the demo's own, so that there is something to change between two backups."""
    SAMPLE.mkdir()
    (SAMPLE / "a file").write_text("first version\n")
    (SAMPLE / "script").write_text("#!/bin/sh\n")
    (SAMPLE / "script").chmod(0o4755)
    os.link(SAMPLE / "a file", SAMPLE / "the same file")
    os.symlink("a file", SAMPLE / "a link")
    Path(os.fsdecode(bytes(SAMPLE) + b"/not UTF-8: \xff")).write_text("still here\n")


def same(original: str, restored: str) -> str:
    """What differs between two paths, in a word; nothing when all is the same."""
    before, after = os.lstat(original), os.lstat(restored)
    if stat.S_IFMT(before.st_mode) != stat.S_IFMT(after.st_mode):
        return "type"
    if stat.S_ISLNK(before.st_mode):
        return "" if os.readlink(original) == os.readlink(restored) else "target"
    if before.st_mode != after.st_mode:
        return "mode"
    if (before.st_uid, before.st_gid) != (after.st_uid, after.st_gid):
        return "owner"
    if stat.S_ISREG(before.st_mode) and not filecmp.cmp(original, restored, shallow=False):
        return "content"
    return ""


def prove(included: list[str], excluded: list[str], began: float) -> int:
    """Compares everything that was backed up with what was restored; returns the number of differences."""
    machine = COPY if not ROOT else Path("/")
    counts = {"files": 0, "directories": 0, "links": 0}
    differing, changed = [], 0
    for top in included:
        for place in walk(str(machine / top.lstrip("/"))):
            path = "/" + os.path.relpath(place, machine)
            if any(path == out or path.startswith(out + "/") for out in excluded) or skipped(place, path):
                continue
            restored = str(RESTORED) + path
            if not os.path.lexists(restored):
                differing.append((path, "missing"))
                continue
            kind = "links" if os.path.islink(place) else "directories" if os.path.isdir(place) else "files"
            counts[kind] += 1
            difference = same(place, restored)
            if difference and os.lstat(place).st_ctime > began:
                changed += 1  # somebody else changed it while the demo ran
            elif difference:
                differing.append((path, difference))
    for path, difference in differing[:10]:
        say(f"  DIFFERENT {difference}: {os.fsencode(path).decode('utf-8', 'backslashreplace')}")
    say(
        f"PROOF: {counts['files']} files, {counts['directories']} directories and {counts['links']} links compared: "
        f"contents, modes, owners and targets, {len(differing)} different"
        + (f" ({changed} changed on the machine meanwhile)" if changed else "")
        + "."
    )
    return len(differing)


def skipped(place: str, path: str) -> bool:
    """Sockets are not backed up; the user databases are merged rather than copied."""
    is_users = os.path.dirname(path) == "/etc" and os.path.basename(path).rstrip("-") in USERS
    return is_users or stat.S_ISSOCK(os.lstat(place).st_mode)


def main() -> int:
    began = time.time()
    shutil.rmtree(PLACE, ignore_errors=True)
    for directory in (PLACE, PLACE / "conf", RESTORED / "etc"):
        directory.mkdir(parents=True)
    for name in USERS[:2]:
        shutil.copyfile(f"/etc/{name}", RESTORED / "etc" / name)
    make_sample()
    included, excluded = choose()
    say(f"Backing up {' '.join(included)}, the packages and the users of this machine.")
    for path in excluded:
        say(f"  left out, {BUDGET // 2**20} MB are the demo's limit: {path}")
    say("  left out: databases (a real backup dumps them)")
    machine = None
    if not ROOT:
        machine = COPY
        unreadable = copy_readable([*included, str(SAMPLE)], excluded)
        say(f"Not root: what this user can read was copied to {COPY}; {unreadable} files could not be read.")
    included.append(str(SAMPLE))
    profile = make_profile(included, [*excluded, str(PLACE)])

    tklbam("init", "--solo", f"--force-profile={profile}", root=machine, registry="registry")
    backup = ["backup", f"--address=file://{TARGET}", "--skip-database", f"--logfile={PLACE}/backup.log"]
    tklbam(*backup, root=machine, registry="registry", status=(0, 3))
    say("\nNow a change: one file has another content, one is gone.")
    sample = SAMPLE if machine is None else machine / str(SAMPLE).lstrip("/")
    (sample / "a file").write_text("second version\n")
    (sample / "script").unlink()
    tklbam(*backup, root=machine, registry="registry", status=(0, 3))
    secret = f"--secretfile={PLACE}/registry/secret"
    tklbam("restore", f"--address=file://{TARGET}", secret, root=RESTORED, registry="registry-of-the-restored")
    tklbam("status", root=machine, registry="registry")

    say()
    different = prove(included, excluded, began)
    say(f"\nEverything lies in {PLACE}:")
    for what, place in (
        ("the backup", TARGET),
        ("the restored files", RESTORED),
        ("key and records", PLACE / "registry"),
    ):
        used = subprocess.run(["du", "-sh", str(place)], capture_output=True, text=True).stdout.split()[0]
        say(f"  {what:<19} {place.relative_to(PLACE)}  ({used})")
    say(f"Done in {time.time() - began:.0f} s. Delete that folder when you have seen enough.")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
