"""What classic TKLBAM left keeps working: its backups, its keys, its registry and its configuration.

Everything classic is made here by hand from the description of its formats, with no help from the code under test.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from tests.e2e.machine import TKLBAM, Machine
from tests.e2e.small import Unchanged, assert_clear, conf, small_system

pytestmark = pytest.mark.root

SECRET = "c7f8ae0d62d9c3d5e7b0a3a2b1c4d5e6f7a8b9c0"
PASSPHRASE = "old passphrase"
UNIT = "dev-disk-by\\x2duuid-1234.swap"
"""A file name with a backslash, as systemd makes them."""
ALICES_HASH = "$6$salt$alice"
MODE_ONLY = "s\t/var/spool/made\t33\t33\t0750\n"
"""As the oldest writers wrote it: permission bits alone."""

DELTA = f"""\
o	/etc/shadow	0	42
o	/etc/gshadow	0	42
o	/etc/systemd/system/{UNIT}	0	0
s	/home/alice	1000	1000	040700
o	/home/alice/notes	1000	1001
s	/srv/a	0	0	040755
o	/srv/a-b	0	0
o	/srv/a/b	0	0
d	/srv/deleted
o	/srv/link	0	0
s	/srv/mode	1000	0	0100640
d	/srv/tree/within
d	/srv/tree
o	/usr/local/bin/tool	0	0
s	/usr/local/bin/tool	0	0	0104755
{MODE_ONLY}"""


def key_packet(secret: bytes, passphrase: bytes, thousands: int) -> bytes:
    repeats = thousands * 1000 + 1
    key = passphrase
    for _ in range(repeats):
        key = hashlib.sha256(key).digest()
    message = os.urandom(4) + hashlib.sha1(secret).digest() + secret
    filling = os.urandom(16 - (len(message) + 2) % 16) if (len(message) + 2) % 16 else b""
    text = filling + message + struct.pack(">H", len(message))
    for _ in range(repeats):
        encryptor = Cipher(AES(key), CBC(bytes(16))).encryptor()
        text = encryptor.update(text) + encryptor.finalize()
    header = struct.pack(">BHH", 1, thousands, thousands) + hashlib.sha1(secret).digest()[:6]
    return base64.b64encode(header + text)


@dataclass(frozen=True)
class Classic:
    """A backup by classic TKLBAM: its address, its key with a passphrase, and the same with the empty one."""

    address: str
    key: Path
    open_key: Path


@pytest.fixture(scope="module")
def classic(tmp_path_factory: pytest.TempPathFactory) -> Classic:
    base = tmp_path_factory.mktemp("classic")
    source = Machine(base / "source")
    write = source.write
    overlay = {
        "/etc/shadow": f"root:*:1::::::\nalice:{ALICES_HASH}:15000:0:99999:7:::\n",
        "/etc/gshadow": "root:*::\nshop:!::alice\n",
        f"/etc/systemd/system/{UNIT}": "[Swap]\n",
        "/home/alice/notes": "hers\n",
        "/srv/a-b": "a-b\n",
        "/srv/a/b": "first\n",
    }
    for path, content in overlay.items():
        write(path, content)
    os.chown(source.path("/home/alice/notes"), 1000, 1001)
    os.symlink("/srv/a/b", source.path("/srv/link"))
    write("/usr/local/bin/tool", "#!/bin/sh\n", 0o4755)
    write("/TKLBAM/fsdelta", DELTA)
    records = [line.split("\t") for line in DELTA.splitlines()]
    write("/TKLBAM/fsdelta-olist", "".join(f"{record[1]}\n" for record in records if record[0] == "o"))
    settings = {"profile_id": "turnkey-core-13.0-wheezy-amd64", "overrides": ["/srv", "mysql:shop"]}
    skipped = {"skip_files": False, "skip_packages": False, "skip_database": False}
    write("/TKLBAM/backup-conf", json.dumps(settings | skipped))
    write("/TKLBAM/newpkgs", "hello\nnginx\n")
    write("/TKLBAM/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n")
    write("/TKLBAM/etc/group", "root:x:0:\nalice:x:1000:\nshop:x:1001:alice\n")
    write("/TKLBAM/etc/mysql/debian.cnf", "[client]\nuser = debian-sys-maint\npassword = old\n")
    write("/TKLBAM/myfs/shop/init", "CREATE DATABASE `shop`;\n")
    write("/TKLBAM/myfs/shop/tables/items/init", "CREATE TABLE `items` (`id` int PRIMARY KEY);\n")
    write("/TKLBAM/myfs/shop/tables/items/rows", "1\n2\n")
    duplicity(base, "full", source.root)
    write("/srv/a/b", "second, longer\n")
    duplicity(base, "incremental", source.root)
    (base / "key").write_bytes(key_packet(SECRET.encode(), PASSPHRASE.encode(), 80) + b"\n")
    (base / "open-key").write_bytes(key_packet(SECRET.encode(), b"", 0))
    return Classic(f"file://{base / 'target'}", base / "key", base / "open-key")


def duplicity(base: Path, action: str, source: Path) -> None:
    program = TKLBAM.with_name("duplicity")
    ran = subprocess.run(
        [program, action, "--archive-dir", base / "archive", "--volsize", "50", source, f"file://{base / 'target'}"],
        env={**os.environ, "PASSPHRASE": SECRET, "HOME": str(base)},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.fixture
def b(tmp_path: Path) -> Machine:
    """A newer system, whose bob has the id that alice had, with no MySQL plugin in use."""
    made = small_system(tmp_path / "b")
    made.write("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1000::/home/bob:/bin/sh\n")
    made.write("/etc/group", "root:x:0:\nshadow:x:42:\nbob:x:1000:\n")
    made.write("/etc/shadow", "root:!:2::::::\nbob:$6$salt$bob:16000:0:99999:7:::\n", 0o640)
    made.write("/etc/gshadow", "root:*::\nshadow:*::\nbob:!::\n", 0o640)
    made.write("/srv/deleted", "to be deleted\n")
    made.write("/srv/tree/within", "to be deleted\n")
    made.write("/srv/mode", "B's own content\n")
    made.write("/srv/own", "B's own\n")
    conf(made, "disable-plugin databases:mysql")
    return made


def entries(made: Machine, name: str) -> dict[str, list[str]]:
    lines = made.path(f"/etc/{name}").read_text().splitlines()
    return {line.split(":")[0]: line.split(":")[1:] for line in lines}


def test_a_classic_backup_restores_with_its_key_and_rolls_back(classic: Classic, b: Machine) -> None:
    with Unchanged(b):
        words = ["restore", "--address", classic.address, "--keyfile", str(classic.key)]
        done = b.tklbam(*words, status=3, input=f"{PASSPHRASE}\n")
        assert "install tklbam-mysql" in done.err
        assert "myfs" in done.err
        assert_restored(b)
        b.tklbam("restore-rollback", "--force")


def assert_restored(b: Machine) -> None:
    assert b.path("/srv/a/b").read_text() == "second, longer\n"
    assert b.path("/srv/a-b").read_text() == "a-b\n"
    assert b.path(f"/etc/systemd/system/{UNIT}").read_text() == "[Swap]\n"
    assert os.readlink(b.path("/srv/link")) == "/srv/a/b"
    assert not b.path("/srv/deleted").exists()
    assert not b.path("/srv/tree").exists() or not b.path("/srv/tree/within").exists()
    assert b.path("/srv/own").read_text() == "B's own\n"
    # Users: bob keeps his id, alice gets a free one, her files follow, and her password comes along.
    users, groups = entries(b, "passwd"), entries(b, "group")
    assert users["bob"][1] == "1000"
    alice, shop = int(users["alice"][1]), int(groups["shop"][1])
    assert alice not in (0, 1000)
    notes = b.path("/home/alice/notes").stat()
    assert (notes.st_uid, notes.st_gid) == (alice, shop)
    assert b.path("/home/alice").stat().st_uid == alice
    assert entries(b, "shadow")["alice"][0] == ALICES_HASH
    assert entries(b, "shadow")["bob"][0] == "$6$salt$bob"
    assert entries(b, "gshadow")["shop"][-1] == "alice"
    # Modes: a whole st_mode, permission bits alone, setuid.
    mode = b.path("/srv/mode").stat()
    assert (stat.S_IMODE(mode.st_mode), mode.st_uid, b.path("/srv/mode").read_text()) == (
        0o640,
        alice,
        "B's own content\n",
    )
    made = b.path("/var/spool/made").stat()
    assert stat.S_ISDIR(made.st_mode)
    assert (stat.S_IMODE(made.st_mode), made.st_uid) == (0o750, 33)
    assert stat.S_IMODE(b.path("/usr/local/bin/tool").stat().st_mode) == 0o4755


def test_a_classic_key_without_a_passphrase_asks_nothing(classic: Classic, b: Machine) -> None:
    words = ["restore", "--address", classic.address, "--keyfile", str(classic.open_key), "--skip-database"]
    done = b.tklbam(*words, "--quiet", "--limits", "/srv -/srv/a-b /srv/*/none")
    assert [line for line in done.err.splitlines() if "no change" in line and "/srv/*/none" in line] == [
        done.err.strip()
    ]
    assert b.path("/srv/a/b").read_text() == "second, longer\n"
    assert not b.path("/srv/a-b").exists()
    assert entries(b, "shadow")["alice"][0] == ALICES_HASH


def test_a_classic_key_refuses_a_wrong_passphrase(classic: Classic, b: Machine) -> None:
    words = ["restore", "--quiet", "--address", classic.address, "--keyfile", str(classic.key)]
    with Unchanged(b):
        assert_clear(b.tklbam(*words, status=11, input="another\n"), "Incorrect passphrase")


def test_a_backup_of_another_turnkey_appliance_needs_force(classic: Classic, b: Machine) -> None:
    b.write("/etc/turnkey_version", "turnkey-wordpress-18.0-bookworm-amd64\n")
    words = ["restore", "--quiet", "--noninteractive", "--address", classic.address, "--keyfile", str(classic.open_key)]
    with Unchanged(b):
        done = b.tklbam(*words, status=10)
    assert_clear(done, "core", "wordpress", "--force")


# --- registry and configuration ---------------------------------------------------------------------------------------


def index_line(made: Machine, path: str) -> bytes:
    status = os.lstat(made.path(path))
    numbers = (status.st_mode, status.st_uid, status.st_gid, status.st_size, int(status.st_mtime))
    columns = [path, *(f"{number:x}" for number in numbers)]
    if stat.S_ISLNK(status.st_mode):
        columns.append(os.readlink(made.path(path)))
    return "\t".join(columns).encode() + b"\n"


def test_a_classic_registry_and_conf_go_on(tmp_path: Path) -> None:
    made = small_system(tmp_path / "root")
    for path in ("/srv/a-b", "/srv/a/b", f"/srv/a/{UNIT}", "/srv/changed", "/srv/gone", "/srv/mode"):
        made.write(path, "as installed\n")
    os.symlink("a/b", made.path("/srv/link"))
    registry, profile = made.path("/var/lib/tklbam"), made.path("/var/lib/tklbam/profile")
    profile.mkdir(parents=True)
    registry.chmod(0o700)
    paths = ["/srv", "/srv/a", "/srv/a-b", "/srv/a/b", f"/srv/a/{UNIT}", "/srv/changed", "/srv/gone", "/srv/link"]
    (profile / "dirindex").write_bytes(b"".join(index_line(made, path) for path in sorted([*paths, "/srv/mode"])))
    (profile / "dirindex.conf").write_text("# what is scanned\n/srv\n-/srv/cache\n")
    (profile / "packages").write_text("base-files\n")
    (profile / "profile_id").write_text("turnkey-core-13.0-wheezy-amd64\n")
    (profile / "stamp").write_text("")
    files = {
        "secret": f"{SECRET}\n",
        "key": key_packet(SECRET.encode(), b"", 0).decode() + "\n",
        "sub_apikey": "AAAABQ5GQ2SOA\n",
        "credentials": "accesskey=A\nsecretkey=B\nusertoken=C\nproducttoken=D\n",
        "hbr": "backup_id=7\naddress=s3://s3.amazonaws.com/bucket/7\nupdated=2020-11-25 03:00:00\n",
    }
    for name, content in files.items():
        (registry / name).write_text(content)
        (registry / name).chmod(0o600)
    conf(
        made,
        "# TurnKey Linux Backup and Migration",
        "full-backup 1M",
        "volsize 25",
        "s3-parallel-uploads 1",
        "restore-cache-size 50%",
        "restore-cache-dir /var/cache/tklbam/restore",
        "backup-skip-database False",
        "backup-skip-packages true",
    )
    made.write("/etc/tklbam/overrides", "# mine\n-/srv/not\n")
    short = made.tklbam("status", "--short").out
    assert short.startswith("TKLBAM:  Backup ID #7, Updated ")
    assert "2020-11-25" in short

    made.write("/srv/changed", "changed by hand\n")
    made.path("/srv/gone").unlink()
    made.path("/srv/mode").chmod(0o600)
    made.write("/srv/cache/x", "left out by the profile\n")
    made.write("/srv/not/x", "left out by the overrides\n")
    address = f"file://{tmp_path / 'target'}"
    result = made.json("backup", "--address", address)
    assert result["outcome"] == "complete"
    assert result["profile_id"] == "turnkey-core-13.0-wheezy-amd64"
    made.tklbam("restore", "--address", address, "--raw-download", str(tmp_path / "fetched"))
    delta = (tmp_path / "fetched/TKLBAM/fsdelta").read_text().splitlines()
    assert delta == ["#tklbam 2", "o\t/srv/changed\t0\t0", "d\t/srv/gone", "s\t/srv/mode\t0\t0\t0100600"]
    assert (tmp_path / "fetched/srv/changed").read_text() == "changed by hand\n"
    for name, content in files.items():
        if name not in ("hbr", "credentials"):
            assert (registry / name).read_text() == content, f"{name} stays as it was"
