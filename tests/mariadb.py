"""A real MariaDB server for tests and measurements: its own data directory, socket and loopback port, ended by pid."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.ports import free_port

AS_ROOT = ["--user=root"] if os.geteuid() == 0 else []
SMALL = ("--innodb-log-file-size=8M", "--innodb-buffer-pool-size=32M", "--innodb-buffer-pool-dump-at-shutdown=OFF")


def install(directory: Path) -> Path:
    """A new data directory at `directory`/data; returns it. Takes a few seconds; copies of it are servers, too."""
    done = subprocess.run(
        [
            "mariadb-install-db",
            "--no-defaults",
            f"--datadir={directory}/data",
            f"--tmpdir={directory}",  # or another start, of tests that run beside, takes its temporary files away
            "--skip-test-db",
            "--auth-root-authentication-method=normal",
            *SMALL,
            *AS_ROOT,
        ],
        check=False,
        capture_output=True,
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode("utf-8", "replace")[-3000:]
    return directory / "data"


class MariaDB:
    """A server whose data lie in `directory`/data; `options` are more of mariadbd's."""

    patience = 180
    """Seconds in which it must have started."""

    def __init__(self, directory: Path, options: tuple[str, ...] = SMALL) -> None:
        self.directory = directory
        self.socket = str(directory / "s")
        self.port = free_port()
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def server_argv(self) -> list[str]:
        """The start of the server's command line; where it listens comes after it."""
        program = shutil.which("mariadbd", path=os.environ["PATH"] + ":/usr/sbin")
        assert program is not None, "mariadb-server is not installed"
        # Temporary files of its own, too: a server that starts removes those of others from a common directory.
        places = [f"--datadir={self.directory}/data", f"--tmpdir={self.directory}"]
        return [program, "--no-defaults", *places, *AS_ROOT]

    def start(self) -> None:
        with open(self.directory / "log", "ab") as log:
            self._process = subprocess.Popen(
                [
                    *self.server_argv(),
                    f"--socket={self.socket}",
                    f"--port={self.port}",
                    "--bind-address=127.0.0.1",
                    f"--pid-file={self.directory}/pid",
                    "--event-scheduler=OFF",
                    *self._options,
                ],
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + self.patience
        while self._client(b"select 1").returncode != 0:
            running = self._process.poll() is None and time.monotonic() < end
            assert running, (self.directory / "log").read_text(errors="replace")[-3000:]
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(60)
            self._process = None

    @property
    def options(self) -> dict[str, str]:
        return {"socket": self.socket, "user": "root"}

    def sql(self, text: str, *words: str) -> str:
        """Runs a script with the vendor's client; rows come as tab-separated lines."""
        done = self._client(text.encode("utf-8", "surrogateescape"), *words)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode("utf-8", "surrogateescape")

    def _client(self, script: bytes, *words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [
                "mariadb",
                "--no-defaults",
                f"--socket={self.socket}",
                "--user=root",
                "--default-character-set=utf8mb4",
                "--batch",
                "--skip-column-names",
                *words,
            ],
            input=script,
            capture_output=True,
            check=False,
        )


@contextlib.contextmanager
def running() -> Iterator[MariaDB]:
    """A new, empty server; gone when the block ends."""
    # A socket's path may have 107 bytes at most, which pytest's directories do not leave room for.
    directory = Path(tempfile.mkdtemp(prefix="tklbam-my-"))
    install(directory)
    server = MariaDB(directory)
    server.start()
    try:
        yield server
    finally:
        server.stop(signal.SIGKILL)
        shutil.rmtree(directory)
