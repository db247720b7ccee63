"""Small real Debian systems for tests: debootstrapped once, cached, copied for each test.

The cache is `$TKLBAM_TEST_CACHE/trees`, else `.cache/trees` of this checkout. A cached tree is never changed: take a
`copy`. apt works inside (chroot), because a tree gets the mirror, network settings, certificates and resolver that
the host's own apt uses.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

NETWORK_OPTIONS = re.compile(
    r"^Acquire::(?:(?:http|https|ftp|socks)(?:::|\s)|Check-Date\s|Check-Valid-Until\s|Retries\s|ForceIPv[46]\s)"
)
CA_BUNDLE = Path("etc/ssl/certs/ca-certificates.crt")


def tree(suite: str) -> Path:
    """The cached tree of a Debian suite ("bookworm"), made on first use (about 30 s; needs root and debootstrap)."""
    cache = _cache()
    cache.mkdir(parents=True, exist_ok=True)
    final = cache / suite
    if final.is_dir():
        return final
    with open(cache / f".{suite}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if final.is_dir():
            return final
        work = cache / f".{suite}.new"
        shutil.rmtree(work, ignore_errors=True)
        _build(suite, work)
        work.rename(final)
    return final


def copy(suite: str, destination: Path) -> Path:
    """A copy of a suite's tree at `destination` (which must not exist yet), to change at will."""
    subprocess.run(["cp", "-a", "--reflink=auto", str(tree(suite)), str(destination)], check=True)
    return destination


@contextlib.contextmanager
def mounted(suite: str, directory: Path) -> Iterator[Path]:
    """A suite's tree to change at will for the length of the block: an overlay in `directory`, there at once."""
    for name in ("upper", "work", "root"):
        (directory / name).mkdir(parents=True)
    layers = f"lowerdir={tree(suite)},upperdir={directory / 'upper'},workdir={directory / 'work'}"
    subprocess.run(["mount", "-t", "overlay", "-o", layers, "overlay", str(directory / "root")], check=True)
    try:
        yield directory / "root"
    finally:
        subprocess.run(["umount", str(directory / "root")], check=True)


def _cache() -> Path:
    place = os.environ.get("TKLBAM_TEST_CACHE")
    return (Path(place) if place else Path(__file__).resolve().parents[1] / ".cache") / "trees"


def _build(suite: str, work: Path) -> None:
    sources = list(_host_sources())
    host_suite = _host_codename()
    archives = [uri for uri, release in sources if release == host_suite]
    if not archives:
        raise RuntimeError(f"apt here knows no archive of {host_suite}, so no tree can be made")
    mirror = archives[0]
    log = work.with_suffix(".log")
    with open(log, "wb") as output:
        subprocess.run(
            ["debootstrap", "--variant=minbase", suite, str(work), mirror],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    lines = [
        f"deb {uri} {release.replace(host_suite, suite, 1)} main\n"
        for uri, release in dict.fromkeys(sources)
        if release.startswith(host_suite)
    ]
    (work / "etc/apt/sources.list").write_text("".join(lines) or f"deb {mirror} {suite} main\n")
    _share_network_settings(work)
    subprocess.run(
        ["chroot", str(work), "apt-get", "-qq", "update"], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    for package in (work / "var/cache/apt/archives").glob("*.deb"):
        package.unlink()
    log.unlink()


def _host_codename() -> str:
    text = Path("/etc/os-release").read_text()
    found = re.search(r"^VERSION_CODENAME=\"?([a-z]+)", text, re.MULTILINE)
    return found[1] if found else "bookworm"


def _host_sources() -> Iterator[tuple[str, str]]:
    """(archive URI, release) of every binary source that the host's apt knows."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"],
        check=True,
        capture_output=True,
        text=True,
    )
    for line in listed.stdout.splitlines():
        uri, release = line.split()
        yield uri, release


def _share_network_settings(work: Path) -> None:
    dumped = subprocess.run(["apt-config", "dump"], check=True, capture_output=True, text=True)
    wanted = [line for line in dumped.stdout.splitlines() if NETWORK_OPTIONS.match(line)]
    # A mirror that fails once is asked again; no translations: a third of the tree's size.
    settings = [*wanted, 'Acquire::Retries "5";', 'Acquire::Languages "none";']
    (work / "etc/apt/apt.conf.d/00host-network").write_text("".join(f"{line}\n" for line in settings))
    named = [Path(path) for line in wanted for path in re.findall(r'"(/[^"]+)"', line)]
    for file in [Path("/etc/resolv.conf"), *sorted(Path("/etc/apt/auth.conf.d").glob("*.conf")), *named]:
        if file.is_file():
            place = work / str(file).lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
    bundle = os.environ.get("SSL_CERT_FILE") or f"/{CA_BUNDLE}"
    if os.path.isfile(bundle):
        (work / CA_BUNDLE).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle, work / CA_BUNDLE)
