"""What every pipeline works with: the host, the registry, the plugins, and where words and progress go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from .api.errors import PluginError, UsageError
from .api.models import TargetRequest
from .api.progress import Progress, silent
from .api.redact import Redactor, split_password
from .api.storage import Target
from .credentials import find_credentials
from .engine.patience import Patience, patient
from .host import Host
from .plugins import Plugins, find
from .registry import Registry
from .targets import STORAGE_PLUGINS


@dataclass(frozen=True, kw_only=True)
class Context:
    """One run's surroundings. `warn` and `note` take one line of plain text; `options` are the `KIND:NAME` options of
    plugins ("mysql" → {"host": …}); below `hub_directories` a Hub may have backups stored on this machine; `passwords`
    stood in the configuration's addresses (the address without it → password); `redactor` learns all secrets met;
    `patience` is for targets behind a network."""

    host: Host
    registry: Registry
    plugins: Plugins
    warn: Callable[[str], None]
    note: Callable[[str], None]
    progress: Progress = silent
    database_options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    storage_options: Mapping[str, str] = field(default_factory=dict)
    hub_directories: tuple[Path, ...] = ()
    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)
    redactor: Redactor = field(default_factory=Redactor, repr=False)
    patience: Patience = field(default_factory=Patience)

    def target(
        self,
        address: str,
        credentials: Mapping[str, str] | None = None,
        renew: Callable[[], Mapping[str, str]] | None = None,
    ) -> Target:
        """Opens a target: with the credentials that a Hub gave for it and what gets fresh ones, else with those of the
        credentials file; a password in the address counts before either.

        Raises UsageError for no URL, PluginError where no plugin serves its scheme, ConfigError.
        """
        address, password = split_password(address)
        given = dict(credentials or {}) or find_credentials(self.host.conf_dir, address)
        if password or address in self.passwords:
            given["password"] = password or self.passwords[address]
        self.redactor.add_fields(given)
        scheme = urlsplit(address).scheme
        if not scheme:
            raise UsageError(
                f"{address!r} is not a URL", f"For a local folder write file://{Path(address).absolute()}."
            )
        found: Target | None = self.plugins.first(
            "storage",
            "tklbam_storage_target",
            name=scheme,
            request=TargetRequest(
                address=address,
                credentials=given,
                options=self.storage_options,
                root=self.host.root,
                renew=self._told(renew),
            ),
        )
        if found is None:
            known = sorted({plugin.name for plugin in find(["storage"])})
            remedy = (
                f"Install {STORAGE_PLUGINS[scheme]}." if scheme in STORAGE_PLUGINS else "Check the address's spelling."
            )
            raise PluginError(
                f"no plugin stores to {scheme}:// addresses"
                + (f" (there is one for {', '.join(known)})" if known else ""),
                remedy,
            )
        return patient(found, self.patience)

    def _told(self, renew: Callable[[], Mapping[str, str]] | None) -> Callable[[], Mapping[str, str]] | None:
        """The same, with the redactor told what it got."""
        if renew is None:
            return None

        def fresh() -> Mapping[str, str]:
            fields = renew()
            self.redactor.add_fields(fields)
            return fields

        return fresh
