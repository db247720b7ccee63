"""What commands that need a Hub share: its plugin, and the account this system is linked to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..host import Host
from .common import Output

if TYPE_CHECKING:
    from ..api.models import Account
    from ..plugins import Plugins


def hub_and_account(host: Host, output: Output) -> tuple[Plugins, Account]:
    """Raises PluginError without a Hub plugin, NotInitializedError without an account."""
    from ..hub import linked_account
    from ..registry import Registry
    from .light import light_plugins

    plugins = light_plugins(host, output)
    return plugins, linked_account(plugins, host, Registry(host.registry_dir))
