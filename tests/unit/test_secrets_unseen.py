"""No secret is in any process's arguments during a run, nor in what it prints, logs or records, with --debug, too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.engine_support import SECRET, Lab
from tests.unit.plugin_folder import Install, install  # noqa: F401 - fixture
from tklbam_core.api import EngineAddress, TargetError
from tklbam_core.engine.duplicity import DuplicityEngine
from tklbam_storage_local.target import LocalTarget

# ruff: noqa: F811

pytestmark = pytest.mark.root

# Of this process alone: what is seen of all programs is not to be another test's, which shows a password on purpose.
PASSWORD = f"Corr3ct/Horse w@y & ö%41 {os.getpid()}"
TOKEN = f"t0ken-from-the-credentials-file-{os.getpid()}"
ENCODED = quote(PASSWORD, safe="")

VAULT = f"""
import os
from pathlib import Path
from urllib.parse import quote, urlsplit
from tklbam_core.api import EngineAddress, TargetError, hookimpl, run
from tklbam_storage_local.target import LocalTarget

class Vault(LocalTarget):
    def __init__(self, request):
        super().__init__(request.address, Path(urlsplit(request.address).path))
        self.given = dict(request.credentials)

    def check(self, *, write):
        if self.given.get("password") != {PASSWORD!r}:
            raise TargetError(f"{{self.address}}: the password {{self.given}} is wrong")
        say = 'sleep 0.2; echo "$VAULT_PASSWORD is right" >&2'
        run(["sh", "-c", say], secrets={{"VAULT_PASSWORD": self.given["password"]}})
        where = urlsplit(self.address).netloc
        if "moody" in where:
            secret = quote(self.given["password"], safe="")
            raise TargetError(f"vault://me:{{secret}}@host says no to {{self.given['password']}} and {{self.given!r}}")
        if "odd" in where:
            raise RuntimeError(f"unforeseen with {{self.given!r}}")
        super().check(write=write)

    def local_path(self):
        return None

    def engine(self):
        engine = super().engine()
        return EngineAddress(
            url=engine.url, environment=self.environment, files={{"netrc": self.given["password"].encode()}}
        )

    @property
    def environment(self):
        token = self.given.get("token", "")
        return {{"FTP_PASSWORD": self.given["password"], "NETRC": "{{files}}/netrc", "VAULT_TOKEN": token}}

@hookimpl
def tklbam_storage_target(request):
    if request.address.startswith("vault:"):
        return Vault(request)
"""

LISTENER = """
from tklbam_core.api import hookimpl

@hookimpl
def tklbam_lifecycle(event):
    with open(PLACE, "a") as seen:
        seen.write(repr(event) + chr(10))
"""


class Watch:
    """Reads the arguments of every process, over and over, and keeps those that hold one of the secrets."""

    def __init__(self, secrets: list[str]) -> None:
        self.secrets = [secret.encode() for secret in secrets]
        self.seen: set[bytes] = set()
        self.programs: set[bytes] = set()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        own = str(os.getpid())
        while not self._end.wait(0.015):
            for entry in os.listdir("/proc"):
                if not entry.isdigit() or entry == own:
                    continue
                try:
                    with open(f"/proc/{entry}/cmdline", "rb") as file:
                        arguments = file.read()
                except OSError:
                    continue
                for program in (b"duplicity\0", b"gpg\0", b"native.extract", b"VAULT_PASSWORD"):
                    if program in arguments:
                        self.programs.add(program)
                if any(secret in arguments for secret in self.secrets):
                    self.seen.add(arguments)


@dataclass
class System:
    """A root to back up, and all that a run said."""

    root: Path
    site: Path
    said: dict[str, str] = field(default_factory=dict)

    @property
    def secret(self) -> str:
        return (self.root / "var/lib/tklbam/secret").read_text().strip()

    @property
    def secrets(self) -> list[str]:
        return [PASSWORD, ENCODED, quote(PASSWORD), json.dumps(PASSWORD)[1:-1], TOKEN, self.secret]

    def run(self, *words: str, status: int, stdin: str = "") -> str:
        script = "from tklbam_core.cli.main import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", script, *words],
            env={
                **os.environ,
                "TKLBAM_ROOT": str(self.root),
                "PYTHONPATH": str(self.site),
                "TMPDIR": str(self.root / "tmp"),
            },
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == status, said
        self.said[" ".join(words)] = said
        return said

    def check_unseen(self) -> None:
        """In nothing that was said or written below the root but the places made for secrets."""
        for command, said in self.said.items():
            for secret in self.secrets:
                assert secret not in said, f"tklbam {command}: {said}"
        own = {self.root / "etc/tklbam/conf", self.root / "etc/tklbam/credentials", self.root / "var/lib/tklbam/secret"}
        for path in self.root.rglob("*"):
            if path.is_file() and path not in own and path.name != "key":
                content = path.read_bytes()
                for secret in self.secrets:
                    assert secret.encode() not in content, f"{path} holds a secret"


@pytest.fixture
def system(tmp_path: Path, install: Install) -> System:
    site = install(
        "vault-storage",
        {"storage": {"vault": "vault_storage"}, "hooks": {"seen": "seen_listener"}},
        vault_storage=VAULT,
        seen_listener=f"PLACE = {str(tmp_path / 'root/events')!r}\n" + LISTENER,
    )
    root = tmp_path / "root"
    for folder in ("etc/tklbam", "var/log", "srv", "tmp"):
        (root / folder).mkdir(parents=True)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    (root / "srv/text").write_text("content")
    (tmp_path / "store").mkdir()
    found = System(root, site)
    found.run("init", "--solo", "--force-profile", "empty", status=0)
    credentials = root / "etc/tklbam/credentials"
    credentials.write_text(f"[vault://]\npassword = {PASSWORD}\ntoken = {TOKEN}\n")
    credentials.chmod(0o600)
    return found


def conf(system: System, *addresses: str) -> None:
    (system.root / "etc/tklbam/conf").write_text("".join(f"address {address}\n" for address in addresses))


@pytest.mark.parametrize(
    ("engine", "programs"), [("native", {b"native.extract"}), ("duplicity", {b"duplicity\0", b"gpg\0"})]
)
def test_a_run_with_credentials_shows_no_secret_anywhere(
    system: System, tmp_path: Path, engine: str, programs: set[bytes]
) -> None:
    by_file, by_url = f"vault://file{tmp_path}/store/a", f"vault://me:{ENCODED}@url{tmp_path}/store/b"
    conf(system, by_file, by_url)
    with (system.root / "etc/tklbam/conf").open("a") as file:
        file.write(f"archive-engine {engine}\n")
    with Watch(system.secrets) as watch:
        system.run("backup", "/srv", "--debug", status=0)
        said = system.run("config", status=0)
        assert f"vault://me@url{tmp_path}/store/b" in said
        system.run("status", "--json", status=0)
        system.run("restore", "--address", by_file, "--raw-download", str(tmp_path / "back"), "--debug", status=0)
    assert (tmp_path / "back/srv/text").read_text() == "content"
    assert watch.programs >= {*programs, b"VAULT_PASSWORD"}, "the watch must have seen what ran"
    assert watch.seen == set()
    records = [path.read_text() for path in (system.root / "var/lib/tklbam/sessions").iterdir()]
    assert any(f'"vault://me@url{tmp_path}/store/b"' in text for text in records)
    system.check_unseen()


@pytest.mark.parametrize("host", ["moody", "odd"])
def test_errors_and_tracebacks_show_no_secret(system: System, tmp_path: Path, host: str) -> None:
    conf(system, f"vault://me:{ENCODED}@{host}{tmp_path}/store/b")
    assert "***" in system.run("backup", status=1)
    traced = system.run("backup", "--debug", status=1)
    assert "Traceback" in traced
    assert "***" in traced
    good = f"vault://file{tmp_path}/store/a"
    conf(system, f"vault://me:{ENCODED}@{host}{tmp_path}/store/b", good)
    system.run("backup", "--json", status=3)
    assert "***" in system.run("check", status=3)
    assert system.run("list", "--address", good, "--json", status=0)
    system.run("status", status=0)
    logged = (system.root / "var/log/tklbam-backup").read_text()
    assert "***" in logged
    system.check_unseen()


TELLTALE = f"""#!{sys.executable}
import os, sys
if "--version" in sys.argv:
    print("duplicity 3.2.1")
    sys.exit()
password = os.environ["FTP_PASSWORD"]
with open(int(sys.argv[sys.argv.index("--log-fd") + 1]), "w") as log:
    print(f"WARNING 1\\n. trying {{password}}\\n\\nERROR 50\\n. login with {{password}} refused\\n\\n", file=log)
print(f"Traceback: {{password}} and {{os.environ['PASSPHRASE']}}", file=sys.stderr)
sys.exit(50)
"""


class TelltaleTarget(LocalTarget):
    def engine(self) -> EngineAddress:
        return EngineAddress(url=super().engine().url, environment={"FTP_PASSWORD": PASSWORD})


def test_what_the_engine_s_program_says_shows_no_secret(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    program = tmp_path / "duplicity"
    program.write_text(TELLTALE)
    program.chmod(0o700)
    target = TelltaleTarget(f"file://{lab.store}", lab.store)
    target.check(write=True)
    engine = DuplicityEngine(lab.cache, tmp_path / "temp", program)
    with pytest.raises(TargetError, match=r"login with \*\*\* refused") as caught:
        engine.write(target, lab.request())
    said = "".join(traceback.format_exception(caught.value))
    assert PASSWORD not in said
    assert SECRET not in said


def test_a_password_on_the_command_line_is_warned_of_and_goes_no_further(system: System, tmp_path: Path) -> None:
    address = f"vault://me:{ENCODED}@line{tmp_path}/store/c"
    with Watch([PASSWORD, ENCODED]) as watch:
        said = system.run("backup", "--address", address, status=0)
        (system.root / "etc/tklbam/conf").write_text("archive-engine duplicity\n")
        said += system.run("backup", "--address", address, status=0)
    assert b"duplicity\0" in watch.programs
    assert "every user of this machine can see the password" in said
    assert "credentials file" in said
    assert all(b"tklbam_core.cli.main" in arguments for arguments in watch.seen), "no child has it"
    system.said = {"": said}
    system.check_unseen()


def test_a_passphrase_is_repeated_nowhere(system: System, tmp_path: Path) -> None:
    conf(system, f"vault://file{tmp_path}/store/a")
    system.run("escrow", str(tmp_path / "key"), status=0, stdin="open-sesame-1001\n")
    system.run("backup", status=0)
    with Watch(["open-sesame-1001", "not-open-sesame"]) as watch:
        arguments = ("restore", "--keyfile", str(tmp_path / "key"), "--simulate", "--debug")
        system.run(*arguments, status=11, stdin="not-open-sesame\n")
        system.run(*arguments, status=0, stdin="open-sesame-1001\n")
    assert watch.seen == set()
    for said in system.said.values():
        assert "open-sesame" not in said
    for path in system.root.rglob("*"):
        assert not path.is_file() or b"open-sesame" not in path.read_bytes(), path
    system.check_unseen()
