"""OpenStack Swift by its own API, and Rackspace's Cloud Files, which is one."""

from __future__ import annotations

import os

from tklbam_core.api import EngineAddress, TargetError

from ..bridge.faults import Store
from ..client import BridgeStore
from .base import Family

RACKSPACE = "https://auth.api.rackspacecloud.com/v1.0"


class Swift(Family):
    def engine(self) -> EngineAddress:
        policy = self.access.option("swift-storage-policy")
        return EngineAddress(
            # The libraries that duplicity has for cf+http are of Python 2's time; the service speaks Swift.
            url=self.address.url("swift"),
            options=(f"--swift-storage-policy={policy}",) if policy else (),
            environment=self._environment(),
        )

    def _environment(self) -> dict[str, str]:
        access, given = self.access, os.environ
        cloud = self.address.scheme == "cf+http"
        user, password, url = (
            ("CLOUDFILES_USERNAME", "CLOUDFILES_APIKEY", "CLOUDFILES_AUTHURL")
            if cloud
            else ("SWIFT_USERNAME", "SWIFT_PASSWORD", "SWIFT_AUTHURL")
        )
        found = {
            "SWIFT_USERNAME": access.credentials.get("user") or given.get(user, ""),
            "SWIFT_PASSWORD": access.credentials.get("password") or given.get(password, ""),
            "SWIFT_AUTHURL": (
                access.credentials.get("auth-url")
                or access.option("swift-auth-url")
                or given.get(url, RACKSPACE if cloud else "")
            ),
        }
        if given.get("SWIFT_PREAUTHURL") and given.get("SWIFT_PREAUTHTOKEN") and not access.credentials:
            return self._trusted({})
        for name, value in found.items():
            if not value:
                raise TargetError(
                    f"{self.address.shown}: {name} is not known",
                    "Give user and password in the credentials file and storage-option swift-auth-url=URL, or set "
                    f"{user}, {password} and {url} in the environment.",
                )
        version = access.option("swift-auth-version") or ("" if cloud else given.get("SWIFT_AUTHVERSION", ""))
        if version:
            return self._trusted({**found, "SWIFT_AUTHVERSION": version})
        # duplicity uses two parts of the client library; one finds a login by version 1 only under these names.
        names = {"ST_USER": "SWIFT_USERNAME", "ST_KEY": "SWIFT_PASSWORD", "ST_AUTH": "SWIFT_AUTHURL"}
        return self._trusted({**found, **{name: found[same] for name, same in names.items()}})

    def _trusted(self, environment: dict[str, str]) -> dict[str, str]:
        ca_file = self.access.ca_file
        return {**environment, "REQUESTS_CA_BUNDLE": ca_file, "SSL_CERT_FILE": ca_file} if ca_file else environment

    def store(self) -> Store:
        container, _, prefix = self.address.path.strip("/").partition("/")
        policy = self.access.option("swift-storage-policy")
        folder = "/".join(part for part in prefix.split("/") if part)
        return BridgeStore(
            "swift",
            {"container": container, "prefix": f"{folder}/" if folder else "", "policy": policy},
            self.engine(),
            self.access.timeout,
        )
