"""FTP with and without TLS, and sftp through lftp: the program itself, which is all that duplicity uses, too."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from tklbam_core.api import EngineAddress, TargetError

from ..access import passwords
from ..bridge.faults import Entry, Fault, Store
from .base import Family, program, reachable, scratch

_LISTED = re.compile(r"-\S+\s+.*?\s(\d+) (\d+) (?:\./)?([^/]+)")
PORTS = {"ftp": 21, "ftps": 990, "ftpes": 21, "lftp+sftp": 22}
BATCH = 100


class Lftp(Family):
    limits_bandwidth = True

    def engine(self) -> EngineAddress:
        options = [f"--ssl-cacert-file={self.access.ca_file}"] if self.access.ca_file else []
        mode = self.access.option("ftp-mode", "passive")
        if mode not in ("passive", "active"):
            raise TargetError(f"storage-option ftp-mode={mode}: allowed are passive and active", "Correct it.")
        if mode == "active":
            options.append("--ftp-regular")
        password = self.password
        return EngineAddress(
            # duplicity writes user and password between single quotes into a file for lftp.
            url=self.address.url(user=_quoted(self.access.user)),
            options=tuple(options),
            environment={**(passwords(_quoted(password)) if password else {}), "LFTP_HOME": "{files}"},
            files={"rc": "".join(f"set {line}\n" for line in self.settings).encode()},
        )

    @property
    def over_ssh(self) -> bool:
        return self.address.scheme == "lftp+sftp"

    @property
    def password(self) -> str:
        """ "" for a server that asks for no login. Where there is a user, duplicity would ask at the terminal."""
        if not self.access.user:
            return ""
        given = self.access.password()
        if self.over_ssh and (self.address.password or self.access.credentials.get("password")):
            raise TargetError(
                f"{self.address.shown}: lftp can't give a password to ssh",
                "Log in with a key: an agent, or storage-option ssh-key-file=PATH.",
            )
        if not self.over_ssh and not given:
            raise TargetError(
                f"{self.address.shown}: there is no password for {self.access.user}",
                "Give it in the address, the credentials file or ~/.netrc.",
            )
        return "none" if self.over_ssh else given

    @property
    def settings(self) -> list[str]:
        """lftp's, for duplicity's runs as for ours: what duplicity does not set by itself."""
        lines = ["net:reconnect-interval-base 5", "net:reconnect-interval-multiplier 1.5", "net:persist-retries 0"]
        if self.access.bandwidth:
            lines.append(f"net:limit-total-rate {self.access.bandwidth << 10}")
        if self.over_ssh:
            ssh = ["ssh", "-a", "-x", "-oBatchMode=yes", f"-oConnectTimeout={self.access.timeout // 2}"]
            if self.access.known_hosts:
                ssh.append(f"-oUserKnownHostsFile={self.access.known_hosts}")
            if self.access.key_file:
                ssh.append(f"-oIdentityFile={self.access.key_file}")
            lines += [f'sftp:connect-program "{" ".join(ssh)}"', "sftp:auto-confirm false"]
        return lines

    def store(self) -> Store:
        return LftpStore(self)


class LftpStore(Store):
    """Every request is one run of lftp; `cd` before all else tells whether the folder is there."""

    def __init__(self, family: Lftp) -> None:
        access, address = family.access, family.address
        family.engine()  # judges the options
        self._host, self._port = address.host, address.port or PORTS[address.scheme]
        self._folder = address.path.removeprefix("/") or "/"
        self._timeout = access.timeout
        self._secrets = {"LFTP_PASSWORD": family.password} if access.user else {}
        scheme = {"ftpes": "ftp", "lftp+sftp": "sftp"}.get(address.scheme, address.scheme)
        port = f":{address.port}" if address.port else ""
        who = ""
        if access.user and family.over_ssh:
            who = f'-u "{_escaped(access.user)}," '
        elif access.user:
            who = f'--env-password -u "{_escaped(access.user)}" '
        secure = address.scheme != "ftp"
        self._head = [
            "set cmd:fail-exit yes",
            "set ssl:verify-certificate true",
            *([f'set ssl:ca-file "{access.ca_file}"'] if access.ca_file else []),
            f"set ftp:ssl-allow {'true' if secure else 'false'}",
            *(["set ftp:ssl-force true"] if address.scheme == "ftpes" else []),
            "set ftp:ssl-protect-data true",
            "set ftp:ssl-protect-list true",
            f"set ftp:passive-mode {'off' if access.option('ftp-mode') == 'active' else 'on'}",
            *(f"set {line}" for line in family.settings),
            f"set net:timeout {access.timeout}",
            "set net:max-retries 1",
            f"open {who}{scheme}://{address.host}{port}",
        ]

    def _run(self, *lines: str, inside: bool = True) -> str:
        reachable(self._host, self._port, self._timeout)
        enter = [f"cd {_word(self._folder)}"] if inside else []
        with scratch() as place:
            script, said = place / "script", place / "said"
            # At this level the server's answers are told, and no password.
            script.write_text("".join(f"{line}\n" for line in [f"debug -o {said} 3", *self._head, *enter, *lines]))
            try:
                # Its own home: nobody's bookmarks and settings, and no history left behind.
                home = {"LFTP_HOME": str(place), "HOME": str(place)}
                return program(["lftp", "--norc", "-f", str(script)], secrets={**self._secrets, **home}).decode(
                    "utf-8", "replace"
                )
            except Fault as fault:
                # "max-retries exceeded" is all that it says itself of a full disk.
                text = "\n".join([fault.text, *_refusals(said)])
                gone = re.search(r"^cd: Access failed|^cd: .*No such file", text, re.MULTILINE)
                if inside and gone and not re.search(r"denied|refused|530", text, re.IGNORECASE):
                    raise Fault(text, "missing") from fault
                raise Fault(text) from fault

    def entries(self) -> list[Entry]:
        entries = []
        for line in self._run("cls -1 -l --time-style=%s .").splitlines():
            match = _LISTED.fullmatch(line)
            if match:
                entries.append(Entry(match[3], int(match[1]), float(match[2])))
        return entries

    def make(self) -> None:
        self._run(f"mkdir -p -f {_word(self._folder)}", f"cd {_word(self._folder)}", inside=False)

    def get(self, name: str, path: str) -> None:
        try:
            self._run(f"get {_word(name)} -o {_word(path)}")
        except Fault as fault:
            if not fault.kind and re.search(r"\b550\b|No such file", fault.text):
                raise Fault(f"no such file: {name}", "absent") from fault
            raise

    def put(self, name: str, path: str) -> None:
        beside = f".tklbam-{name}"
        try:
            self._run(f"put {_word(path)} -o {_word(beside)}", f"mv {_word(beside)} {_word(name)}")
        except Fault as fault:
            if not re.search(r"^mv: ", fault.text, re.MULTILINE):
                raise
            # Some servers rename only onto names that are free.
            self._run(f"rm {_word(name)}", f"mv {_word(beside)} {_word(name)}")

    def delete(self, names: Iterable[str]) -> None:
        wanted = list(names)
        if not wanted:
            return
        there = {entry.name for entry in self.entries()}
        found = [name for name in wanted if name in there]
        for first in range(0, len(found), BATCH):
            self._run(f"rm {' '.join(map(_word, found[first : first + BATCH]))}")


def _refusals(log: Path) -> list[str]:
    """The server's last answers that say no."""
    if not log.exists():
        return []
    lines = log.read_text(errors="replace").splitlines()
    return [line.removeprefix("<--- ") for line in lines if re.match(r"<--- [45]\d\d ", line)][-3:]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _word(text: str) -> str:
    return f'"{_escaped(text)}"'


def _quoted(text: str) -> str:
    """As it must stand between single quotes in a script of lftp's."""
    return text.replace("\\", "\\\\").replace("'", "\\'")
