"""A system's life with its backups in S3, through the command: full, increment, restore, prune; no secret is seen."""

from __future__ import annotations

import secrets
from pathlib import Path
from urllib.parse import quote

from tests import swift as servers
from tests.argv import Seen, watched_arguments
from tests.e2e.machine import Done, Machine
from tests.e2e.small import conf, initialised, small_system
from tests.swift import Swift

from .conftest import new_bucket

OPTIONS = ("storage-option s3-tls=no",)


def of(names: list[str], what: str) -> list[str]:
    return [name for name in names if name.startswith(what)]


def test_a_system_s_life_with_its_backups_in_s3(swift: Swift, tmp_path: Path) -> None:
    """Three backups to a bucket that is not there at first, and a restore onto another system after the second.

    The keys stand in the address, where they are most in danger of being shown, and then in the credentials file.
    """
    bucket = new_bucket(swift)
    first, second = initialised(tmp_path / "first"), small_system(tmp_path / "second")
    keys = f"{quote(servers.KEY, safe='')}:{quote(servers.SECRET, safe='')}@"
    conf(first, f"address {bucket.address.replace('://', f'://{keys}')}", *OPTIONS, "volsize 1", "keep-full 1")
    conf(second, *OPTIONS)
    fields = f"access-key = {servers.KEY}\nsecret-key = {servers.SECRET}\n"
    second.write("/etc/tklbam/credentials", f"[s3://127.0.0.1:{swift.port}]\n{fields}", 0o600)
    first.write("/etc/tklbam/overrides", "/srv\n")
    big = secrets.token_bytes(2_500_000)
    first.write("/srv/big", big)
    outputs: list[Done] = []

    def backup(text: str, *words: str) -> list[str]:
        """The names on the target after a backup of a system that holds `text`."""
        first.write("/srv/text", text)
        outputs.append(first.tklbam("backup", "--debug", *words))
        return [file.name for file in bucket.target().files()]

    with watched_arguments() as arguments:
        full = backup("one", "--s3-parallel-uploads", "2")
        assert len(of(full, "duplicity-full.")) >= 4, "three volumes and a manifest"
        assert not of(full, "duplicity-inc.")

        increment = backup("two")
        assert set(full) < set(increment)
        assert len(of(increment, "duplicity-inc.")) == 2, "a volume and a manifest"
        shown = first.json("list")
        assert "incremental" in str(shown)

        key = tmp_path / "key"
        first.tklbam("escrow", "--no-passphrase", str(key))
        words = ("--address", bucket.address, "--keyfile", str(key), "--noninteractive")
        outputs.append(second.tklbam("restore", "--debug", *words))
        assert second.path("/srv/text").read_text() == "two"
        assert second.path("/srv/big").read_bytes() == big

        pruned = backup("three", "--full-backup", "now")
        assert not set(increment) & set(pruned), "the old chain is still there"
        assert len([name for name in of(pruned, "duplicity-full.") if "manifest" in name]) == 1
        assert not [key for key in bucket.stored() if "tklbam" in key], "something of a check stayed behind"

    outputs += [first.tklbam(command) for command in ("status", "config", "list")]
    assert bucket.name in outputs[-3].out
    assert_not_seen(servers.SECRET, arguments, outputs, first, second)


def assert_not_seen(secret: str, arguments: Seen, outputs: list[Done], *machines: Machine) -> None:
    """Neither in arguments, nor in what was said, nor in any file but those where the administrator wrote it."""
    assert arguments.holding("--writable"), "the runs were not watched"
    assert not arguments.holding(secret)
    for done in outputs:
        assert secret not in done.out + done.err, done
    for machine in machines:
        for path in [path for path in machine.root.rglob("*") if path.is_file()]:
            if path.parent != machine.path("/etc/tklbam"):
                assert secret.encode() not in path.read_bytes(), path
