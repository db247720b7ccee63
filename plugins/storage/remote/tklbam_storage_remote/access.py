"""Who logs in, and with what: from the address, the credentials file or a Hub, the environment, netrc."""

from __future__ import annotations

import netrc
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tklbam_core.api import TargetError

from .address import RemoteAddress

PASSWORD_VARIABLES = ("BACKEND_PASSWORD", "FTP_PASSWORD")
"""Where duplicity looks for a password: since 3.0.7 the first, before that the second."""


@dataclass(frozen=True)
class Access:
    """An address with all that an administrator said beside it. Files are read when first asked for."""

    address: RemoteAddress
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    options: Mapping[str, str] = field(default_factory=dict)

    def option(self, key: str, default: str = "") -> str:
        return self.options.get(key) or default

    @cached_property
    def user(self) -> str:
        """ "" where nobody said."""
        return self.address.user or self.credentials.get("user", "") or self._netrc[0]

    def password(self, *variables: str) -> str:
        """The password; `variables` of the environment come before duplicity's own. "" where there is none."""
        given = self.credentials.get("password") or self.address.password
        found = given or next(filter(None, map(os.environ.get, (*variables, *PASSWORD_VARIABLES))), "")
        return found or (self._netrc[1] if self.user == self._netrc[0] else "")

    @cached_property
    def key_file(self) -> str:
        path = self.credentials.get("key-file") or self.option("ssh-key-file")
        return self._file(path, "ssh-key-file")

    @cached_property
    def known_hosts(self) -> str:
        return self._file(self.option("ssh-known-hosts"), "ssh-known-hosts")

    @cached_property
    def ca_file(self) -> str:
        return self._file(self.option("ca-file"), "ca-file")

    @cached_property
    def bandwidth(self) -> int:
        """KiB a second; 0: no limit. Raises TargetError for what is no number."""
        text = self.option("bandwidth-limit", "0")
        if not text.isdigit():
            raise TargetError(
                f"storage-option bandwidth-limit={text} is not a whole number", "Write KiB a second: 500, say."
            )
        return int(text)

    @property
    def timeout(self) -> int:
        """Seconds after which a server that says nothing is given up."""
        return int(self.option("network-timeout", "60"))

    @property
    def retries(self) -> int:
        """How often a request is tried again that failed as networks do."""
        return int(self.option("network-retries", "5"))

    @cached_property
    def _netrc(self) -> tuple[str, str]:
        place = os.environ.get("NETRC") or os.path.expanduser("~/.netrc")
        host = self.address.host
        if not host or not os.path.isfile(place):
            return "", ""
        try:
            found = netrc.netrc(place)
        except (netrc.NetrcParseError, OSError, UnicodeDecodeError) as error:
            # The parser's own words may hold a password.
            line = getattr(error, "lineno", None)
            raise TargetError(
                f"{place} can't be read" + (f" (line {line})" if line else ""),
                "Correct it: machine HOST login USER password PASSWORD, readable by its owner alone.",
            ) from None
        if os.stat(place).st_mode & 0o077:
            raise TargetError(f"{place} can be read by others", f"chmod 600 {place}")
        login, _, password = found.hosts.get(host) or ("", "", "")
        if self.address.user and login != self.address.user:
            return "", ""
        return login, password or ""

    def _file(self, path: str, option: str) -> str:
        if not path:
            return ""
        path = os.path.expanduser(path)
        if not path.startswith("/") or set(path) & set(" '\"\\"):
            raise TargetError(f"storage-option {option}={path} can't be used", "Name an absolute path with no spaces.")
        if not Path(path).is_file():
            raise TargetError(f"storage-option {option}: {path} is not there", "Check the path.")
        return path


def passwords(password: str) -> dict[str, str]:
    """A password as every duplicity finds it."""
    return dict.fromkeys(PASSWORD_VARIABLES, password)
