"""sftp and scp through duplicity's paramiko back end: keys, agents, known hosts and ~/.ssh/config are read as by it."""

from __future__ import annotations

import builtins
import contextlib
import errno
import importlib
import io
import os
import re
import shlex
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

from .faults import Entry, Fault, Store
from .stock import duplicity

STATVFS = 200
"""SSH_FXP_EXTENDED; the extension is OpenSSH's `statvfs@openssh.com`."""


class SshStore(Store):
    """Settings: `url` (without its path), `path`, and `shell`: by shell commands, as scp does, instead of sftp."""

    def __init__(self, settings: dict[str, Any], options: list[str], timeout: int) -> None:
        importlib.import_module("paramiko")
        package = duplicity(options, timeout)
        module = importlib.import_module("duplicity.backends.ssh_paramiko_backend")
        self._path: str = settings["path"].rstrip("/") or "/"
        self._shell: bool = settings["shell"]
        self._timeout = timeout
        with no_questions():
            self._stock = module.SSHParamikoBackend(package.backend.ParsedUrl(settings["url"]))
        transport = self._stock.client.get_transport()
        transport.set_keepalive(timeout // 2)
        self._sftp = None if self._shell else self._stock.sftp
        if self._sftp is not None:
            self._sftp.get_channel().settimeout(timeout)

    def _place(self, name: str) -> str:
        return f"{self._path.rstrip('/')}/{name}"

    def entries(self) -> list[Entry]:
        if self._sftp is None:
            return self._list_by_shell()
        try:
            found = self._sftp.listdir_attr(self._path)
        except FileNotFoundError as error:
            raise Fault(f"no such folder: {self._path}", "missing") from error
        return [
            Entry(each.filename, each.st_size, each.st_mtime)
            for each in found
            if each.st_mode is None or each.st_mode & 0o170000 == 0o100000
        ]

    def make(self) -> None:
        if self._sftp is None:
            self._run(f"umask 077; mkdir -p {shlex.quote(self._path)}")
            return
        parts = self._path.split("/")
        for count in range(1, len(parts) + 1):
            folder = "/".join(parts[:count])
            if not folder:
                continue
            try:
                self._sftp.stat(folder)
            except FileNotFoundError:
                self._sftp.mkdir(folder, 0o700)

    def get(self, name: str, path: str) -> None:
        if self._sftp is None:
            self._get_by_shell(name, path)
            return
        try:
            self._sftp.get(self._place(name), path)
        except FileNotFoundError as error:
            raise Fault(f"no such file: {name}", "absent") from error

    def put(self, name: str, path: str) -> None:
        beside = self._place(f".tklbam-{name}")
        if self._sftp is None:
            quoted = shlex.quote(beside)
            with open(path, "rb") as content:
                self._run(
                    f"umask 077; cat > {quoted} && mv -f {quoted} {shlex.quote(self._place(name))} "
                    f"|| {{ rm -f {quoted}; exit 1; }}",
                    content,
                )
            return
        try:
            self._sftp.put(path, beside)
            self._replace(beside, self._place(name))
        except BaseException as error:
            free = self.free() if isinstance(error, OSError) and error.errno is None else None
            with contextlib.suppress(Exception):
                self._sftp.remove(beside)
            # The protocol has no word for a full disk but "Failure".
            if free is not None and free < os.path.getsize(path):
                raise Fault(f"no space left: {free} bytes were free") from error
            raise

    def _replace(self, old: str, new: str) -> None:
        assert self._sftp is not None
        try:
            self._sftp.posix_rename(old, new)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EACCES):
                raise
            # Servers without OpenSSH's extension rename only onto names that are free.
            with contextlib.suppress(FileNotFoundError):
                self._sftp.remove(new)
            self._sftp.rename(old, new)

    def delete(self, names: Iterable[str]) -> None:
        if self._sftp is None:
            quoted = [shlex.quote(self._place(name)) for name in names]
            for first in range(0, len(quoted), 100):
                self._run(f"rm -f {' '.join(quoted[first : first + 100])}")
            return
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                self._sftp.remove(self._place(name))

    def free(self) -> int | None:
        if self._sftp is None:
            return None
        try:
            kind, message = self._sftp._request(STATVFS, "statvfs@openssh.com", self._path)
        except OSError:
            return None
        if kind != STATVFS + 1:
            return None
        _, fragment, _, _, available = (message.get_int64() for _ in range(5))
        return int(fragment) * int(available)

    def close(self) -> None:
        self._stock.client.close()

    # --- with a shell alone ------------------------------------------------------------------------------------------

    def _run(self, command: str, content: io.BufferedReader | None = None) -> bytes:
        stdin, stdout, stderr = self._stock.client.exec_command(command, timeout=self._timeout)
        if content is not None:
            while data := content.read(1 << 15):
                stdin.channel.sendall(data)
        stdin.channel.shutdown_write()
        said: bytes = stdout.read()
        if stdout.channel.recv_exit_status() != 0:
            raise Fault(stderr.read().decode("utf-8", "replace") or "the command failed on the server")
        return said

    def _list_by_shell(self) -> list[Entry]:
        folder = shlex.quote(self._path)
        said = self._run(f"if [ -d {folder} ]; then echo there; LC_ALL=C ls -lnA {folder}; else echo none; fi")
        first, *lines = said.decode("utf-8", "replace").splitlines() or ["none"]
        if first != "there":
            raise Fault(f"no such folder: {self._path}", "missing")
        pattern = re.compile(r"-\S+ +\d+ +\d+ +\d+ +(\d+) +(?:\S+ +\S+ +\S+|\d{4}-\S+ +\S+) (.+)")
        found = [match for match in map(pattern.fullmatch, lines) if match]
        return [Entry(match[2], int(match[1])) for match in found]

    def _get_by_shell(self, name: str, path: str) -> None:
        place = shlex.quote(self._place(name))
        if self._run(f"[ -f {place} ] && echo there || echo none").strip() != b"there":
            raise Fault(f"no such file: {name}", "absent")
        _, stdout, stderr = self._stock.client.exec_command(f"cat {place}", timeout=self._timeout)
        with open(path, "wb") as out:
            while data := stdout.read(1 << 16):
                out.write(data)
        if stdout.channel.recv_exit_status() != 0:
            raise Fault(stderr.read().decode("utf-8", "replace"))

    def clock(self) -> float | None:
        if self._sftp is not None:
            return None
        began = time.time()
        said = self._run("date +%s").strip()
        return int(said) + (time.time() - began) / 2 if said.isdigit() else None


@contextlib.contextmanager
def no_questions() -> Iterator[None]:
    """duplicity asks whether an unknown server is to be trusted; here that is an error with its fingerprint."""
    asked = io.StringIO()
    kept, real = builtins.input, sys.stdout

    def refuse(prompt: object = "") -> str:
        asked.write(str(prompt))
        raise EOFError

    builtins.input = refuse
    sys.stdout = asked
    try:
        yield
    except Exception as error:
        # The back end wraps whatever was raised; the question tells what it was.
        if "authenticity of host" in asked.getvalue():
            prints = re.findall(r"(?:SHA256:[^\s.]+|MD5:[^\s.]+|(?:[0-9a-f]{2}:){15}[0-9a-f]{2})", asked.getvalue())
            shown = f" (fingerprint {prints[-1]})" if prints else ""
            raise Fault(f"the server's key is not known{shown}", "key") from error
        if "does not match" in str(error):
            raise Fault("the server's key is another one than the known one", "key") from error
        raise
    finally:
        builtins.input, sys.stdout = kept, real
