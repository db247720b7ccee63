"""MySQL and other MariaDBs out of an unpacked Debian root (tests/make-server-root), run by its own dynamic loader.

So they see this system's files: sockets, data directories and option files are where the tests put them, and nobody
needs a chroot.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

from tests.mariadb import AS_ROOT, SMALL, MariaDB

MYSQL = ("--innodb-redo-log-capacity=16M", "--mysqlx=OFF", "--secure-file-priv=NULL")

MARIADB_PARTS = ("system_tables", "performance_tables", "system_tables_data", "sys_schema")


def root_or_skip(variable: str, packages: str) -> None:
    """Passes a module of tests over where the environment names no root for it."""
    import pytest

    if not os.environ.get(variable):
        # A module as a whole: where CI runs, a test that is skipped is one that fails.
        pytest.skip(
            f"{variable} names no unpacked root; as root, tests/make-server-root {packages} makes one",
            allow_module_level=True,
        )


class Root:
    """An unpacked Debian root with a server's packages in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_mariadb = (path / "usr/sbin/mariadbd").exists()

    @property
    def _share(self) -> Path:
        return next(path for name in ("mariadb", "mysql") if (path := self.path / "usr/share" / name).exists())

    def argv(self, program: str) -> list[str]:
        """The start of a command line that runs `program` of this root."""
        # Not by the usual name, which may be a link to /lib: this system's.
        loaders = list(self.path.glob("usr/lib/*-linux-gnu/ld-linux*.so.*"))
        assert loaders, f"{self.path} is no unpacked root"
        libraries = ":".join(str(path) for path in sorted(self.path.glob("usr/lib/*-linux-gnu")))
        found = next(path for where in ("usr/bin", "usr/sbin") if (path := self.path / where / program).exists())
        return [str(loaders[0]), "--library-path", libraries, str(found)]

    def put_client(self, directory: Path, program: str) -> Path:
        """A script `directory`/`program` that runs this root's program; returns `directory`, for PATH."""
        script = directory / program
        directory.mkdir(exist_ok=True)
        plugins = shlex.quote(f"{self.path}/usr/lib/mysql/plugin")
        script.write_text(f'#!/bin/sh\nLIBMYSQL_PLUGIN_DIR={plugins} exec {shlex.join(self.argv(program))} "$@"\n')
        script.chmod(0o755)
        return directory

    def install(self, directory: Path, *options: str) -> Path:
        """A new data directory at `directory`/data; returns it. Takes some seconds; copies of it are servers, too."""
        data = directory / "data"
        if self.is_mariadb:
            (data / "mysql").mkdir(parents=True)
            arguments = ["--bootstrap", "--max-allowed-packet=8M"]
            # Before 10.11 they were called after MySQL, and before 10.6 there was no sys schema.
            parts = [path.read_bytes() for name in MARIADB_PARTS for path in self._share.glob(f"m*_{name}.sql")]
            script = b"use mysql;\nSET @auth_root_socket=NULL;\n" + b"\n".join(parts)
        else:
            arguments, script = ["--initialize-insecure"], b""
        done = subprocess.run(
            [*self.server_argv(data), *arguments, *options], input=script, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode("utf-8", "replace")[-3000:]
        return data

    def server_argv(self, data: Path) -> list[str]:
        return [
            *self.argv("mariadbd" if self.is_mariadb else "mysqld"),
            *("--no-defaults", f"--basedir={self.path}/usr", f"--datadir={data}", *SMALL[1:], *AS_ROOT),
            *(f"--lc-messages-dir={self._share}", f"--character-sets-dir={self._share}/charsets"),
            *(f"--plugin-dir={self.path}/usr/lib/mysql/plugin", f"--tmpdir={data.parent}"),
            *(["--innodb-log-file-size=8M"] if self.is_mariadb else MYSQL),
        ]


class OtherServer(MariaDB):
    """A server of such a root, whose data lie in `directory`/data."""

    patience = 120

    def __init__(self, root: Root, directory: Path, options: tuple[str, ...] = ()) -> None:
        super().__init__(directory, options)
        self.root = root

    def server_argv(self) -> list[str]:
        return self.root.server_argv(self.directory / "data")

    def _client(self, script: bytes, *words: str) -> subprocess.CompletedProcess[bytes]:
        return self.run(
            "mariadb" if self.root.is_mariadb else "mysql", script, "--batch", "--skip-column-names", *words
        )

    def run(self, program: str, script: bytes, *words: str) -> subprocess.CompletedProcess[bytes]:
        """Runs one of the root's client programs on this server, `script` on its standard input."""
        return subprocess.run(
            [
                *self.root.argv(program),
                "--no-defaults",
                f"--socket={self.socket}",
                "--user=root",
                "--default-character-set=utf8mb4",
                *words,
            ],
            input=script,
            capture_output=True,
            check=False,
        )
