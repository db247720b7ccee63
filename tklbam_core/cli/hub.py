"""What commands that need a Hub share: its plugin, and the account this system is linked to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..api.errors import NotInitializedError, PluginError
from ..host import Host
from .common import Output

if TYPE_CHECKING:
    from ..api.models import Account
    from ..plugins import Plugins


def linked_account(host: Host, output: Output) -> tuple[Plugins, Account]:
    """Raises PluginError without a Hub plugin, NotInitializedError without an account."""
    from ..initialize import HUB_PLUGIN
    from ..registry import Registry
    from .light import light_plugins

    plugins = light_plugins(host, output)
    if not plugins.load("records"):
        raise PluginError("this needs a Hub plugin, and none is installed", f"Install {HUB_PLUGIN}.")
    account = Registry(host.registry_dir).account
    if account is None:
        raise NotInitializedError(
            "this system is not linked to a Hub account", "Run `tklbam init API-KEY` with the key from your profile."
        )
    return plugins, account
