"""sftp and scp: duplicity's paramiko back end, under its own Python for our part, too."""

from __future__ import annotations

import os

from tklbam_core.api import EngineAddress

from ..access import passwords
from ..bridge.faults import Store
from ..client import BridgeStore
from .base import Family


class Ssh(Family):
    def engine(self) -> EngineAddress:
        options = []
        if self.access.known_hosts:
            options.append(f"-oUserKnownHostsFile={self.access.known_hosts}")
        if self.access.key_file:
            options.append(f"-oIdentityFile={self.access.key_file}")
        password = self.access.password()
        return EngineAddress(
            url=self.address.url(user=self.access.user),
            options=(f"--ssh-options={' '.join(options)}",) if options else (),
            # Keys, known hosts and ~/.ssh/config are the administrator's, whatever home duplicity is given.
            environment={"HOME": os.path.expanduser("~"), **(passwords(password) if password else {})},
        )

    def store(self) -> Store:
        path = self.address.path.removeprefix("/") or "."
        url = self.address.url(user=self.access.user, path="")
        settings = {"url": url, "path": path, "shell": self.address.scheme == "scp"}
        return BridgeStore("ssh", settings, self.engine(), self.access.timeout)
