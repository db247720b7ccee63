"""What backup, restore and rollback set up alike: configuration, plugins, registry, engine, progress."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..api.errors import TklbamError
from ..config import Config
from ..context import Context
from ..delta.profile import Profile
from ..engine.duplicity import DuplicityEngine
from ..engine.patience import Patience
from ..engine.restore_cache import KEPT, RestoreCache
from ..host import Host
from ..plugins import Plugins
from ..profiles import ensure_profile
from ..registry import Registry
from .common import Output
from .progress import progress_bar


@dataclass(frozen=True, kw_only=True)
class Run:
    """A command's surroundings, ready to use."""

    config: Config
    context: Context
    engine: DuplicityEngine
    output: Output

    @property
    def registry(self) -> Registry:
        return self.context.registry

    def profile(self, wanted: str | None) -> Profile:
        """The profile in force; found through the plugins when there is none, or when another is wanted."""
        context = self.context
        found = ensure_profile(
            context.host,
            context.registry,
            context.plugins,
            wanted,
            note=self.output.note,
            warn=self.output.warn,
            progress=context.progress,
        )
        return Profile.load(found.profile.directory)


def known_secrets(registry: Registry) -> list[str]:
    """What the registry holds that nobody may see. Who needs what can't be read says so."""
    found = []
    with contextlib.suppress(TklbamError):
        found.append(registry.secret)
    with contextlib.suppress(TklbamError):
        found.append(registry.account.subkey if registry.account else None)
    return [secret for secret in found if secret]


@contextlib.contextmanager
def prepare(host: Host, output: Output, *, overrides: Sequence[str] = (), **given: object) -> Iterator[Run]:
    """Reads the configuration, over which the command line's `given` options are laid (by name, `_` for `-`), and
    yields a Run, with a progress bar on a terminal."""
    config = Config.load(host, overrides, **given)
    plugins = Plugins(config.disable_plugin, warn=lambda problem: output.warn(str(problem)))
    output.redactor.add(*config.passwords.values())
    registry = Registry(host.registry_dir, output.redactor.scrub)
    output.redactor.add(*known_secrets(registry))
    patience = Patience(retries=config.network_retries, timeout=config.network_timeout)
    with progress_bar(output) as progress:
        context = Context(
            host=host,
            registry=registry,
            plugins=plugins,
            warn=output.warn,
            note=output.note,
            progress=progress,
            database_options=config.database_options,
            storage_options=config.storage_options,
            hub_directories=config.hub_directory,
            passwords=config.passwords,
            redactor=output.redactor,
            patience=patience,
        )
        engine = DuplicityEngine(
            registry.cache_dir,
            kept=RestoreCache(config.restore_cache_dir / KEPT, config.restore_cache_size.bytes_of),
            redactor=output.redactor,
            patience=patience,
            native=config.archive_engine == "native",
        )
        yield Run(config=config, context=context, engine=engine, output=output)
