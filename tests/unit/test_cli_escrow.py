"""passphrase and escrow, as people and scripts use them."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.command_line import Tklbam, at_terminal, tklbam  # noqa: F401 - fixture
from tests.unit.key_systems import HUB, profiles, registry, root  # noqa: F401 - fixtures
from tests.unit.plugin_folder import Install, install  # noqa: F401 - fixture
from tklbam_core.api.errors import KeyPacketError, UsageError, WrongPassphraseError
from tklbam_core.cli import passphrases
from tklbam_core.keys import packet
from tklbam_core.registry import Registry

# ruff: noqa: F811

# --- passphrase ------------------------------------------------------------------------------------------------------


def test_passphrase_is_one_line_of_standard_input(tklbam: Tklbam, registry: Registry) -> None:
    tklbam("init", "--solo")
    secret = registry.secret
    for line, passphrase in (("first pass\nrest", "first pass"), ("crlf\r\n", "crlf"), ("no newline", "no newline")):
        done = tklbam("passphrase", stdin=line)
        assert (done.status, done.out) == (0, "")
        assert registry.key_packet is not None
        assert packet.open_packet(registry.key_packet, passphrase) == secret
    assert tklbam("passphrase", stdin="\n").status == 0
    assert registry.key_packet is not None
    assert packet.opens_without_passphrase(registry.key_packet) == secret


def test_end_of_input_is_an_error_at_once_and_the_key_stays(tklbam: Tklbam, registry: Registry) -> None:
    tklbam("init", "--solo")
    key = registry.key_packet
    for command in (["passphrase"], ["escrow", "-"]):
        done = tklbam(*command, stdin="")
        assert done.status == 2
        assert "standard input has ended" in done.err
        assert done.out == ""
    assert tklbam("passphrase", stdin="x" * 5000).status == 2
    assert registry.key_packet == key


def test_closed_standard_input_is_an_error_and_no_traceback(root: Path, tklbam: Tklbam) -> None:
    tklbam("init", "--solo")
    command = [sys.executable, "-c", "from tklbam_core.cli.main import passphrase; passphrase()"]
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" <&-', "sh", *command], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: a passphrase is needed")


def test_random_passphrase_is_four_groups_of_four_and_opens_the_key(tklbam: Tklbam, registry: Registry) -> None:
    tklbam("init", "--solo")
    done = tklbam("passphrase", "--random", "-q")
    assert re.fullmatch(r"[A-Z2-7]{4}(-[A-Z2-7]{4}){3}\n", done.out)
    assert done.err == ""
    assert registry.key_packet is not None
    assert packet.open_packet(registry.key_packet, done.out.strip()) == registry.secret
    assert passphrases.random_passphrase() != passphrases.random_passphrase()


def test_linked_system_tells_the_hub_its_new_key(
    tklbam: Tklbam, registry: Registry, install: Install, tmp_path: Path
) -> None:
    site = install("test-hub", {"records": {"test": "test_hub"}}, test_hub=HUB)
    tklbam("init", "GOODKEY")
    (registry.directory / "hbr").write_text("backup_id=7\naddress=s3://b/x\nupdated=\n")
    assert tklbam("passphrase", stdin="pw\n").status == 0
    assert registry.key_packet is not None
    told = (site / "updates").read_text()
    assert told == f"SUBGOODKEY s3://b/x {registry.key_packet.decode().strip()}\n"


def test_commands_that_need_the_secret_say_how_to_get_one(tklbam: Tklbam) -> None:
    for command in (["passphrase"], ["escrow", "-"]):
        done = tklbam(*command, stdin="x\n")
        assert done.status == 1
        assert "tklbam init" in done.err


# --- escrow ----------------------------------------------------------------------------------------------------------


def test_escrowed_key_opens_with_its_passphrase_and_the_own_key_stays(
    tklbam: Tklbam, registry: Registry, tmp_path: Path
) -> None:
    tklbam("init", "--solo")
    key = registry.key_packet
    done = tklbam("escrow", str(tmp_path / "k"), stdin="escrow pass\n")
    assert (done.status, done.out) == (0, "")
    assert packet.open_packet((tmp_path / "k").read_bytes(), "escrow pass") == registry.secret
    assert (tmp_path / "k").stat().st_mode & 0o7777 == 0o600
    assert registry.key_packet == key


def test_escrow_to_standard_output_prints_the_key_alone(tklbam: Tklbam, registry: Registry) -> None:
    tklbam("init", "--solo")
    done = tklbam("escrow", "-", "-P")
    assert packet.open_packet(done.out.encode(), "") == registry.secret
    assert done.out.count("\n") == 1
    assert "no passphrase" in done.err
    done = tklbam("escrow", "-", "-R", "-q")
    assert packet.open_packet(done.out.encode(), done.err.strip()) == registry.secret


def test_escrow_with_random_passphrase_prints_it(tklbam: Tklbam, registry: Registry, tmp_path: Path) -> None:
    tklbam("init", "--solo")
    done = tklbam("escrow", str(tmp_path / "k"), "--random-passphrase", "-q")
    assert packet.open_packet((tmp_path / "k").read_bytes(), done.out.strip()) == registry.secret
    assert done.err == ""


def test_escrow_in_the_classic_format(tklbam: Tklbam, registry: Registry, tmp_path: Path) -> None:
    tklbam("init", "--solo")
    assert tklbam("escrow", str(tmp_path / "k"), "--format", "1", stdin="pw\n").status == 0
    assert base64.b64decode((tmp_path / "k").read_bytes())[0] == 1
    assert packet.open_packet((tmp_path / "k").read_bytes(), "pw") == registry.secret


def test_escrow_keeps_an_existing_file_unless_forced(tklbam: Tklbam, tmp_path: Path) -> None:
    tklbam("init", "--solo")
    (tmp_path / "k").write_text("precious")
    done = tklbam("escrow", str(tmp_path / "k"), "-P")
    assert done.status == 1
    assert "--force" in done.err
    assert (tmp_path / "k").read_text() == "precious"
    assert tklbam("escrow", str(tmp_path / "k"), "-P", "--force").status == 0
    assert (tmp_path / "k").read_text() != "precious"


def test_escrow_misuse_is_told(tklbam: Tklbam) -> None:
    tklbam("init", "--solo")
    assert tklbam("escrow", "-", "-P", "-R").status == 2
    assert tklbam("escrow").status == 2
    done = tklbam("escrow", "vault:mine", "-P")
    assert done.status == 1
    assert "no plugin keeps keys in vault:mine" in done.err


def test_escrow_plugin_of_a_third_party_takes_its_places(tklbam: Tklbam, registry: Registry, install: Install) -> None:
    site = install(
        "test-vault",
        {"escrow": {"vault": "test_vault:Vault"}},
        test_vault="""
        from pathlib import Path
        from tklbam_core.api import hookimpl

        class Vault:
            @hookimpl
            def tklbam_escrow_store(self, request, packet):
                if not request.place.startswith("vault:"):
                    return None
                Path(__file__).with_name("vault").write_bytes(packet)
                return "the vault"
        """,
    )
    tklbam("init", "--solo")
    done = tklbam("escrow", "vault:mine", stdin="pw\n")
    assert done.status == 0, done.err
    assert "written to the vault" in done.err
    assert packet.open_packet((site / "vault").read_bytes(), "pw") == registry.secret


def test_broken_configuration_does_not_keep_anyone_from_saving_the_key(
    tklbam: Tklbam, root: Path, tmp_path: Path
) -> None:
    tklbam("init", "--solo")
    (root / "etc/tklbam/conf").write_text("volsize huge\n")
    assert tklbam("escrow", str(tmp_path / "k"), "-P").status == 0


# --- at a terminal ---------------------------------------------------------------------------------------------------


def test_passphrase_is_asked_for_twice_at_a_terminal_and_never_shown(tklbam: Tklbam, registry: Registry) -> None:
    tklbam("init", "--solo")
    status, screen = at_terminal(["passphrase"], ["s3cret", "s3cret"])
    assert status == 0, screen
    assert screen.count("assphrase: ") == 2
    assert "s3cret" not in screen
    assert registry.key_packet is not None
    assert packet.open_packet(registry.key_packet, "s3cret") == registry.secret


def test_two_that_differ_are_asked_for_again(tklbam: Tklbam, registry: Registry) -> None:
    tklbam("init", "--solo")
    status, screen = at_terminal(["passphrase"], ["one", "two", "right", "right"])
    assert status == 0, screen
    assert "The two differ" in screen
    assert registry.key_packet is not None
    assert packet.open_packet(registry.key_packet, "right") == registry.secret


# --- unlocking, as restore does --------------------------------------------------------------------------------------


def test_unlock_tries_the_empty_passphrase_before_reading_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert passphrases.unlock(packet.seal("s", "")) == "s"


def test_unlock_reads_a_file_or_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    key = packet.seal("s", "pw", format=1)
    (tmp_path / "pw").write_text("pw\nsecond line\n")
    assert passphrases.unlock(key, passphrase_file=tmp_path / "pw") == "s"
    with pytest.raises(UsageError, match="can't be read"):
        passphrases.unlock(key, passphrase_file=tmp_path / "none")
    for noninteractive, printed in ((False, ""), (True, "Passphrase: ")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"pw\n")))
        assert passphrases.unlock(key, noninteractive=noninteractive) == "s"
        assert capfd.readouterr().out == printed
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"wrong\n")))
        with pytest.raises(WrongPassphraseError):
            passphrases.unlock(key, noninteractive=noninteractive)
        capfd.readouterr()
    with pytest.raises(KeyPacketError):
        passphrases.unlock(b"nonsense")
