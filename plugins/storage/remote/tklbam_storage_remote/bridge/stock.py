"""duplicity's own modules, made ready without its command line."""

from __future__ import annotations

import importlib
from typing import Any

_SETTINGS = {
    "--ssh-options": "ssh_options",
    "--rsync-options": "rsync_options",
    "--ssl-cacert-file": "ssl_cacert_file",
    "--swift-storage-policy": "swift_storage_policy",
    "--imap-mailbox": "imap_mailbox",
}


def duplicity(options: list[str], timeout: int) -> Any:
    """The package, with `backend` and `config` imported and set as by these options (each `--name=value`)."""
    package = importlib.import_module("duplicity")
    log = importlib.import_module("duplicity.log")
    log.setup()
    config: Any = importlib.import_module("duplicity.config")
    for option in options:
        name, _, value = option.partition("=")
        setattr(config, _SETTINGS[name], value)
    config.timeout = timeout
    config.num_retries = 1
    importlib.import_module("duplicity.backend")
    return package
