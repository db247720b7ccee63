"""rsync, to a daemon or over ssh: the program itself, which is all that duplicity uses, too."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from functools import cached_property

from tklbam_core.api import EngineAddress, TargetError

from ..access import passwords
from ..bridge.faults import Entry, Fault, Store
from .base import Family, program, scratch

_LISTED = re.compile(r"-\S{9}\S*\s+([\d,.]+) (\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) (.+)")
_PARTIAL = 23
"""rsync's exit status for "some files could not be transferred": here, what was asked for is not there."""


class Rsync(Family):
    """The address's path is below the module, or relative to the login's folder, or (`//`) absolute."""

    limits_bandwidth = True

    def engine(self) -> EngineAddress:
        limit = self.access.bandwidth
        options = [f"--rsync-options=--bwlimit={limit}"] if limit else []
        if not self.address.daemon:
            options.append(f"--ssh-options={' '.join(self.ssh_options)}")
        password = self.password
        return EngineAddress(
            url=self.address.url(user=self.access.user),
            options=tuple(options),
            environment=passwords(password) if password else {},
        )

    @cached_property
    def password(self) -> str:
        if self.address.daemon:
            return self.access.password("RSYNC_PASSWORD")
        if self.address.password or self.access.credentials.get("password"):
            raise TargetError(
                f"{self.address.shown}: rsync can't give a password to ssh",
                "Log in with a key: an agent, or storage-option ssh-key-file=PATH.",
            )
        return ""

    @cached_property
    def ssh_options(self) -> list[str]:
        """Nobody is there to answer questions, so an unknown server is an error."""
        half = self.access.timeout // 2
        options = [f"-oConnectTimeout={half}", f"-oServerAliveInterval={half}"]
        if self.access.known_hosts:
            options.append(f"-oUserKnownHostsFile={self.access.known_hosts}")
        if self.access.key_file:
            options.append(f"-oIdentityFile={self.access.key_file}")
        return options

    def store(self) -> Store:
        return RsyncStore(self)


class RsyncStore(Store):
    def __init__(self, family: Rsync) -> None:
        address = family.address
        self._secrets = {"RSYNC_PASSWORD": family.password} if family.password else {}
        self._words = ["rsync", f"--timeout={family.access.timeout}"]
        if family.access.bandwidth:
            self._words.append(f"--bwlimit={family.access.bandwidth}")
        who = f"{family.access.user}@" if family.access.user else ""
        if address.daemon:
            module, _, self._folder = address.path.strip("/").partition("/")
            self._words += [
                f"--contimeout={family.access.timeout // 2}",
                *([f"--port={address.port}"] if address.port else []),
            ]
            self._top = f"{who}{address.host}::{module}/"
        else:
            at = f"-p {address.port} " if address.port else ""
            self._words += ["-e", f"ssh {at}-oBatchMode=yes {' '.join(family.ssh_options)}"]
            self._folder = address.path.strip("/")
            self._top = f"{who}{address.host}:{'/' if address.path.startswith('//') else ''}"

    @property
    def _place(self) -> str:
        return f"{self._top}{self._folder}/" if self._folder else self._top or "./"

    def _run(self, *words: str, missing: str = "") -> str:
        kinds = {_PARTIAL: missing} if missing else {}
        try:
            return program([*self._words, *words], secrets=self._secrets, missing=kinds).decode("utf-8", "replace")
        except Fault as fault:
            # The same status stands for a full disk and for what may not be read.
            if fault.kind and "No such file" not in fault.text:
                raise Fault(fault.text) from fault
            raise

    def entries(self) -> list[Entry]:
        entries = []
        for line in self._run("--list-only", "--no-human-readable", self._place, missing="missing").splitlines():
            match = _LISTED.fullmatch(line)
            if match:
                size = int(re.sub(r"\D", "", match[1]))
                entries.append(Entry(match[3], size, time.mktime(time.strptime(match[2], "%Y/%m/%d %H:%M:%S"))))
        return entries

    def make(self) -> None:
        if not self._folder:
            return
        with scratch() as place:
            (place / self._folder).mkdir(parents=True)
            # What is above the folder and there already keeps its mode and times.
            self._run("--dirs", "--relative", "--no-implied-dirs", "--chmod=D700", *self._parts(str(place)), self._top)

    def _parts(self, place: str) -> list[str]:
        parts = self._folder.split("/")
        return [f"{place}/./{'/'.join(parts[: count + 1])}" for count in range(len(parts))]

    def get(self, name: str, path: str) -> None:
        self._run(f"{self._place}{name}", path, missing="absent")

    def put(self, name: str, path: str) -> None:
        # rsync itself writes under another name first.
        self._run("--whole-file", path, f"{self._place}{name}")

    def delete(self, names: Iterable[str]) -> None:
        wanted = list(names)
        if not wanted:
            return
        with scratch() as place:
            (place / "empty").mkdir()
            patterns = [re.sub(r"([*?\[\\])", r"\\\1", name) for name in wanted]
            (place / "names").write_text("".join(f"/{pattern}\n" for pattern in patterns))
            self._run(
                *("--dirs", "--delete", f"--include-from={place / 'names'}", "--exclude=*"),
                *(f"{place / 'empty'}/", self._place),
            )
