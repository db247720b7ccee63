"""What every pipeline works with: the host, the registry, the plugins, and where words and progress go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from .api.errors import PluginError, UsageError
from .api.models import TargetRequest
from .api.progress import Progress, silent
from .api.storage import Target
from .host import Host
from .plugins import Plugins, find
from .registry import Registry
from .targets import STORAGE_PLUGINS


@dataclass(frozen=True, kw_only=True)
class Context:
    """One run's surroundings. `warn` and `note` take one line of plain text; `options` are the `KIND:NAME` options of
    plugins ("mysql" → {"host": …}); below `hub_directories` a Hub may have backups stored on this machine."""

    host: Host
    registry: Registry
    plugins: Plugins
    warn: Callable[[str], None]
    note: Callable[[str], None]
    progress: Progress = silent
    database_options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    storage_options: Mapping[str, str] = field(default_factory=dict)
    hub_directories: tuple[Path, ...] = ()

    def target(
        self,
        address: str,
        credentials: Mapping[str, str] | None = None,
        renew: Callable[[], Mapping[str, str]] | None = None,
    ) -> Target:
        """Opens a target, with the credentials that a Hub gave for it and what gets fresh ones.

        Raises UsageError for no URL, PluginError where no plugin serves its scheme.
        """
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
                credentials=credentials or {},
                options=self.storage_options,
                root=self.host.root,
                renew=renew,
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
        return found
