"""init, passphrase and escrow, as people and scripts use them."""

from __future__ import annotations

import base64
import io
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.unit.command_line import Tklbam, tklbam  # noqa: F401 - fixture
from tests.unit.killing import killed_at_every_step
from tests.unit.plugin_folder import Install, install  # noqa: F401 - fixture
from tklbam_core.api.errors import KeyPacketError, UsageError, WrongPassphraseError
from tklbam_core.cli import passphrases
from tklbam_core.host import Host
from tklbam_core.initialize import InitRequest, initialize
from tklbam_core.keys import packet
from tklbam_core.plugins import Plugins
from tklbam_core.registry import Registry

# ruff: noqa: F811

HUB = """
from datetime import UTC, datetime
from tklbam_core.api import Account, BackupRecord, Credentials, PluginError, hookimpl

@hookimpl
def tklbam_records_link(api_key):
    if api_key != "GOODKEY":
        raise PluginError("HubAccount.InvalidApiKey: no such key", "Look again.")
    return Account(subkey="SUB" + api_key)

@hookimpl
def tklbam_records_update(account, address, key):
    with open("/".join([__file__.rsplit("/", 1)[0], "updates"]), "a") as file:
        print(account.subkey, address, key, file=file)
    return BackupRecord(backup_id="7", address=address, key=key, profile_id="x")
"""
PROFILES = """
from datetime import UTC, datetime
from tklbam_core.api import ProfileInfo, hookimpl

@hookimpl
def tklbam_profile_find(request):
    if request.wanted not in (None, "special"):
        return None
    (request.directory / "dirindex.conf").write_text("/etc\\n")
    (request.directory / "dirindex").write_text("")
    return ProfileInfo(
        profile_id=request.wanted or request.profile_id,
        source="the test folder",
        timestamp=datetime(2026, 1, 2, tzinfo=UTC),
        warnings=("looks old",),
    )
"""


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/os-release").write_text('ID=debian\nVERSION_ID="12"\n')
    monkeypatch.setenv("TKLBAM_ROOT", str(root))
    return root


@pytest.fixture(autouse=True)
def profiles(install: Install, root: Path) -> None:
    """A profile source of our own, the installed ones out of its way."""
    install("test-profiles", {"profiles": {"test": "test_profiles"}}, test_profiles=PROFILES)
    (root / "etc/tklbam").mkdir()
    (root / "etc/tklbam/conf").write_text("disable-plugin tklbam-profiles-local\ndisable-plugin tklbam-profiles-hub\n")


@pytest.fixture
def registry(root: Path) -> Registry:
    return Registry(root / "var/lib/tklbam")


# --- init ------------------------------------------------------------------------------------------------------------


def test_init_solo_makes_secret_key_and_profile_and_says_which(tklbam: Tklbam, registry: Registry) -> None:
    done = tklbam("init", "--solo")
    assert done.status == 0, done.err
    assert done.out == ""
    assert "using profile debian-12 for debian-12 (the test folder)" in done.err
    assert "warning: looks old" in done.err
    assert "The key has no passphrase" in done.err
    secret, key, profile = registry.secret, registry.key_packet, registry.profile
    assert secret is not None
    assert len(bytes.fromhex(secret)) == 32
    assert key is not None
    assert packet.open_packet(key, "") == secret
    assert profile is not None
    assert (profile.profile_id, profile.source) == ("debian-12", "the test folder")
    assert profile.timestamp is not None
    assert profile.timestamp.isoformat() == "2026-01-02T00:00:00+00:00"
    assert registry.directory.stat().st_mode & 0o7777 == 0o700


def test_quiet_init_says_nothing_but_warnings(tklbam: Tklbam) -> None:
    assert tklbam("init", "--solo", "-q").err == "warning: looks old\n"


def test_init_again_is_refused_and_changes_nothing(tklbam: Tklbam, registry: Registry) -> None:
    tklbam("init", "--solo")
    secret = registry.secret
    done = tklbam("init", "--solo")
    assert done.status == 1
    assert "already initialized" in done.err
    assert "--force" in done.err
    assert tklbam("init").status == 1
    assert registry.secret == secret


@pytest.mark.parametrize("arguments", [["--force"], ["--force-profile=special"], ["--solo", "--force"]])
def test_forced_init_gets_the_profile_anew_and_keeps_the_secret(
    tklbam: Tklbam, registry: Registry, arguments: list[str]
) -> None:
    tklbam("init", "--solo")
    secret, key = registry.secret, registry.key_packet
    (registry.profile_dir / "dirindex").write_text("spoilt")
    assert tklbam("init", *arguments).status == 0
    assert (registry.secret, registry.key_packet) == (secret, key)
    assert (registry.profile_dir / "dirindex").read_text() == ""
    assert registry.profile is not None
    assert registry.profile.profile_id == ("special" if "special" in arguments[0] else "debian-12")


def test_init_with_neither_key_nor_solo_explains(tklbam: Tklbam, registry: Registry) -> None:
    for arguments in ([], ["--force"], ["--force-profile=special"]):
        done = tklbam("init", *arguments)
        assert done.status == 2
        assert "tklbam init API-KEY" in done.err
        assert "tklbam init --solo" in done.err
    assert tklbam("init", "--solo", "KEY").status == 2
    assert not registry.directory.exists()


def test_profile_of_the_configuration_is_taken(tklbam: Tklbam, registry: Registry, root: Path) -> None:
    with open(root / "etc/tklbam/conf", "a") as file:
        file.write("force-profile special\n")
    assert tklbam("init", "--solo").status == 0
    assert registry.profile is not None
    assert registry.profile.profile_id == "special"
    assert "already initialized" in tklbam("init", "--solo").err


def test_api_key_without_hub_plugin_names_the_plugin(tklbam: Tklbam, registry: Registry) -> None:
    done = tklbam("init", "GOODKEY")
    assert done.status == 1
    assert "tklbam-profiles-hub" in done.err
    assert "--solo" in done.err
    assert registry.secret is None


def test_api_key_links_through_the_hub_plugin(tklbam: Tklbam, registry: Registry, install: Install) -> None:
    install("test-hub", {"records": {"test": "test_hub"}}, test_hub=HUB)
    done = tklbam("init", "BADKEY")
    assert done.status == 1
    assert "InvalidApiKey" in done.err
    assert registry.secret is None
    assert tklbam("init", "GOODKEY").status == 0
    assert registry.account is not None
    assert registry.account.subkey == "SUBGOODKEY"
    assert registry.secret is not None


def test_solo_system_can_be_linked_later(tklbam: Tklbam, registry: Registry, install: Install) -> None:
    install("test-hub", {"records": {"test": "test_hub"}}, test_hub=HUB)
    tklbam("init", "--solo")
    secret = registry.secret
    assert tklbam("init", "GOODKEY").status == 0
    assert registry.account is not None
    assert registry.secret == secret
    assert "already initialized" in tklbam("init", "GOODKEY").err


def test_no_profile_to_be_had_makes_nothing_and_says_what_to_do(tklbam: Tklbam, registry: Registry, root: Path) -> None:
    done = tklbam("init", "--solo", "--force-profile=nowhere")
    assert done.status == 1
    assert "no profile 'nowhere' was found (asked: test)" in done.err
    with open(root / "etc/tklbam/conf", "a") as file:
        file.write("disable-plugin test-profiles\n")
    done = tklbam("init", "--solo")
    assert done.status == 1
    assert "Install tklbam-profiles-local" in done.err
    assert registry.secret is None
    assert registry.key_packet is None


@pytest.mark.parametrize(
    "answer",
    [
        "'debian-12'",
        "ProfileInfo(profile_id='', source='x', timestamp=datetime.now(UTC))",
        "ProfileInfo(profile_id='a\\nb', source='x', timestamp=datetime.now(UTC))",
        "ProfileInfo(profile_id='x', source='x', timestamp=datetime(2026, 1, 1))",
        "ProfileInfo(profile_id='x', source='x', timestamp=datetime.now(UTC))",
        "1 / 0",
    ],
)
def test_bad_answer_of_a_profile_plugin_leaves_the_old_profile(
    tklbam: Tklbam, registry: Registry, install: Install, root: Path, answer: str
) -> None:
    tklbam("init", "--solo")
    source = (
        "from datetime import UTC, datetime\nfrom tklbam_core.api import ProfileInfo, hookimpl\n\n@hookimpl\n"
        f"def tklbam_profile_find(request):\n    return {answer}\n"
    )
    install("bad-profiles", {"profiles": {"bad": "bad_profiles"}}, bad_profiles=source)
    with open(root / "etc/tklbam/conf", "a") as file:
        file.write("disable-plugin test-profiles\n")
    done = tklbam("init", "--force")
    assert done.status == 1, done
    assert done.err.startswith("error: ")
    assert registry.profile is not None
    assert registry.profile.profile_id == "debian-12"


def test_bad_configuration_stops_init_before_anything(tklbam: Tklbam, registry: Registry, root: Path) -> None:
    (root / "etc/tklbam/conf").write_text("volsize huge\n")
    done = tklbam("init", "--solo")
    assert done.status == 2
    assert f"{root}/etc/tklbam/conf:1: volsize 'huge'" in done.err
    assert not registry.directory.exists()


def test_init_killed_at_any_step_leaves_nothing_or_what_the_next_init_completes(root: Path, registry: Registry) -> None:
    host = Host.from_environment(root)

    def init() -> None:
        plugins = Plugins(["tklbam-profiles-local"])
        initialize(InitRequest(solo=True), host, registry, plugins, note=str, warn=str)

    def prepare() -> None:
        shutil.rmtree(registry.directory, ignore_errors=True)

    init()  # everything is imported before a child is forked
    completed = 0
    for _ in killed_at_every_step(init, prepare, registry.directory):
        secret = registry.secret
        if secret is None:
            init()
            secret = registry.require_secret()
        else:
            completed += 1
        assert registry.key_packet is not None
        assert packet.open_packet(registry.key_packet, "") == secret
        assert registry.profile is not None
        assert (registry.profile.directory / "dirindex.conf").read_text() == "/etc\n"
    assert completed >= 1


def test_key_left_without_its_secret_is_never_overwritten(tklbam: Tklbam, registry: Registry) -> None:
    tklbam("init", "--solo")
    secret = registry.secret
    (registry.directory / "secret").unlink()
    assert tklbam("init", "--solo").status == 0
    assert registry.secret == secret, "an unprotected key gives its secret back"
    tklbam("passphrase", stdin="pw\n")
    key = registry.key_packet
    (registry.directory / "secret").unlink()
    done = tklbam("init", "--solo")
    assert done.status == 1
    assert "may open older backups" in done.err
    assert registry.key_packet == key
    assert registry.secret is None


def test_missing_key_is_made_from_the_secret(tklbam: Tklbam, registry: Registry) -> None:
    tklbam("init", "--solo")
    (registry.directory / "key").unlink()
    assert tklbam("init", "--solo").status == 0
    assert registry.key_packet is not None
    assert packet.open_packet(registry.key_packet, "") == registry.secret


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
        ["/bin/sh", "-c", 'exec "$@" <&-', "sh", *command], capture_output=True, text=True, timeout=20
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


def at_terminal(arguments: Sequence[str], answers: Sequence[str]) -> tuple[int, str]:
    """Runs `tklbam` on a terminal of its own, typing an answer at each prompt; returns its status and the screen."""
    child, screen = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-c", "from tklbam_core.cli.main import main; main()", *arguments])
    seen, deadline = "", time.monotonic() + 30
    waiting = list(answers)
    while time.monotonic() < deadline:
        ready, _, _ = select.select([screen], [], [], 0.2)
        if ready:
            try:
                got = os.read(screen, 4096)
            except OSError:
                break
            if not got:
                break
            seen += got.decode()
        elif waiting and seen.endswith(": "):
            os.write(screen, waiting.pop(0).encode() + b"\n")
            seen += "<typed>"
    os.close(screen)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), seen


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
