"""A mailbox: each file is a message, its name the subject, its folder the sender.

duplicity's back end knows the standard ports alone, and encrypts without looking at certificates. So `mail_hooks.py`
goes along with its run: it is loaded when that Python starts, and makes the connection that is meant. Without it
duplicity finds no server at all, since it is told a name that leads nowhere.
"""

from __future__ import annotations

import base64
import email
import email.encoders
import email.mime.base
import email.mime.multipart
import imaplib
import json
import os
import re
import ssl
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tklbam_core.api import EngineAddress, TargetError

from ..access import Access
from ..bridge.faults import Entry, Fault, Store
from .base import Family

NOWHERE = "mail-hooks-are-not-loaded.invalid"
PORTS = {"imap": 143, "imaps": 993}
LONGEST_LINE = 76
"""Characters of base64 in a line of a message."""


class Imap(Family):
    def engine(self) -> EngineAddress:
        access, address = self.access, self.address
        password = access.password("IMAP_PASSWORD")
        if not access.user or not password:
            raise TargetError(f"{address.shown}: there is no {'password' if access.user else 'user'}", _LOGIN)
        hooks = {
            "host": address.host.strip("[]"),
            "port": address.port or PORTS[address.scheme],
            "ca_file": access.ca_file,
            "nowhere": NOWHERE,
        }
        return EngineAddress(
            url=self._plain_url(),
            options=(f"--imap-mailbox={self.mailbox}",),
            environment={
                "IMAP_PASSWORD": password,
                "IMAP_SERVER": NOWHERE,
                "PYTHONPATH": os.pathsep.join(filter(None, ["{files}", os.environ.get("PYTHONPATH", "")])),
                "TKLBAM_MAIL": json.dumps(hooks),
            },
            files={"sitecustomize.py": Path(__file__).with_name("mail_hooks.py").read_bytes()},
        )

    def _plain_url(self) -> str:
        return self.address.url(user=self.access.user, path=f"/{self.folder}")

    @property
    def mailbox(self) -> str:
        return self.access.option("imap-mailbox", "INBOX")

    @property
    def folder(self) -> str:
        folder = self.address.path.strip("/") or "tklbam"
        if not re.fullmatch(r"[A-Za-z0-9_@/-][A-Za-z0-9._@/-]*", folder):
            raise TargetError(
                f"{self.address.shown}: {folder} can't be a sender in a mailbox", "Use letters, digits, . _ - @ and /."
            )
        return folder

    def store(self) -> Store:
        self.engine()
        return ImapStore(self.access, self.folder, self.mailbox)


_LOGIN = "Give them in the address, the credentials file or ~/.netrc."


class ImapStore(Store):
    def __init__(self, access: Access, folder: str, mailbox: str) -> None:
        address = access.address
        host, port = address.host.strip("[]"), address.port or PORTS[address.scheme]
        self._folder, self._mailbox = folder, mailbox
        if address.scheme == "imaps":
            context = ssl.create_default_context(cafile=access.ca_file or None)
            self._connection: imaplib.IMAP4 = imaplib.IMAP4_SSL(host, port, ssl_context=context, timeout=access.timeout)
        else:
            self._connection = imaplib.IMAP4(host, port, timeout=access.timeout)
        self._do("login", access.user, access.password("IMAP_PASSWORD"))
        self._sizes: dict[tuple[bytes, int], int] = {}

    def _do(self, method: str, *arguments: Any) -> list[Any]:
        try:
            status, answer = getattr(self._connection, method)(*arguments)
        except imaplib.IMAP4.error as error:
            raise Fault(str(error)) from error
        if status != "OK":
            said = answer[0] if answer else b""
            raise Fault(said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said))
        found: list[Any] = answer
        return found

    def _enter(self) -> None:
        try:
            self._do("select", _quoted(self._mailbox))
        except Fault as fault:
            raise Fault(fault.text, "missing") from fault

    def _messages(self) -> Iterator[tuple[bytes, str, int]]:
        """Number, subject, and characters of base64 of each message of this folder."""
        self._enter()
        found = self._do("search", None, "FROM", _quoted(self._folder))[0].split()
        for first in range(0, len(found), 500):
            numbers = b",".join(found[first : first + 500])
            answer = self._do("fetch", numbers, "(BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (FROM SUBJECT)])")
            for number, text, headers in _fetched(answer):
                message = email.message_from_bytes(headers)
                length = re.search(rb'"base64" (\d+)', text, re.IGNORECASE)
                if (message["From"] or "").strip() == self._folder and message["Subject"] and length:
                    yield number, re.sub(r"\s+", "", message["Subject"]), int(length[1])

    def entries(self) -> list[Entry]:
        newest: dict[str, Entry] = {}
        for number, name, length in list(self._messages()):
            newest[name] = Entry(name, self._size(number, length))
        return list(newest.values())

    def _size(self, number: bytes, length: int) -> int:
        """The size of the file, from that of its base64, whose last characters tell how much of it is padding."""
        if length == 0:
            return 0
        if (number, length) not in self._sizes:
            skip = max(0, length - 12)
            answer = self._do("fetch", number, f"(BODY.PEEK[1]<{skip}.12>)")
            tail = next(part[1] for part in answer if isinstance(part, tuple))
            ended = len(tail) - len(tail.rstrip(b"\r\n"))
            characters = length - ended
            lines = characters // (LONGEST_LINE + 2)
            characters -= 2 * lines
            padding = tail.count(b"=")
            self._sizes[number, length] = characters // 4 * 3 - padding
        return self._sizes[number, length]

    def make(self) -> None:
        self._do("create", _quoted(self._mailbox))

    def get(self, name: str, path: str) -> None:
        numbers = [number for number, subject, _ in self._messages() if subject == name]
        if not numbers:
            raise Fault(f"no such file: {name}", "absent")
        answer = self._do("fetch", numbers[-1], "(BODY.PEEK[1])")
        content = next(part[1] for part in answer if isinstance(part, tuple))
        with open(path, "wb") as out:
            out.write(base64.b64decode(content))

    def put(self, name: str, path: str) -> None:
        old = [number for number, subject, _ in self._messages() if subject == name]
        message = email.mime.multipart.MIMEMultipart()
        message["From"], message["Subject"] = self._folder, name
        part = email.mime.base.MIMEBase("application", "binary")
        with open(path, "rb") as content:
            part.set_payload(content.read())
        email.encoders.encode_base64(part)
        message.attach(part)
        text = message.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        self._do("append", _quoted(self._mailbox), None, None, text)
        # The newest of a name counts, so dying here loses nothing.
        self._remove(old)

    def delete(self, names: Iterable[str]) -> None:
        wanted = set(names)
        if wanted:
            self._remove([number for number, name, _ in self._messages() if name in wanted])

    def _remove(self, numbers: list[bytes]) -> None:
        if numbers:
            self._do("store", b",".join(numbers), "+FLAGS.SILENT", r"(\Deleted)")
            self._do("expunge")
            self._sizes.clear()

    def free(self) -> int | None:
        try:
            _, quotas = self._do("getquotaroot", _quoted(self._mailbox))
        except Fault:
            return None
        for quota in quotas:
            match = re.search(rb"\(STORAGE (\d+) (\d+)\)", quota or b"")
            if match:
                return max(0, int(match[2]) - int(match[1])) << 10
        return None

    def close(self) -> None:
        self._connection.shutdown()


def _fetched(answer: list[Any]) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Number, what stands before and after the literal, and the literal, of each message."""
    for index, part in enumerate(answer):
        if isinstance(part, tuple):
            after = answer[index + 1] if index + 1 < len(answer) and isinstance(answer[index + 1], bytes) else b""
            yield part[0].split(b" ", 1)[0], part[0] + after, part[1]


def _quoted(text: str) -> str:
    return '"{}"'.format(text.replace("\\", "\\\\").replace('"', '\\"'))
