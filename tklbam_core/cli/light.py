"""What the small commands set up: plugins, with a configuration that need not be valid to save a key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..api.errors import ConfigError
from ..conf_syntax import read_settings, values
from ..host import Host
from .common import Output

if TYPE_CHECKING:
    from ..plugins import Plugins


def light_plugins(host: Host, output: Output) -> Plugins:
    """The plugins, less those that the configuration disables; a mistake elsewhere in it is another command's
    business."""
    from ..plugins import Plugins

    try:
        disabled = values(read_settings(host.conf_dir), "disable-plugin")
    except ConfigError as error:
        output.warn(error.what)
        disabled = []
    return Plugins(disabled, warn=lambda problem: output.warn(str(problem)))
