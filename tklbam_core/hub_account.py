"""The Hub account that this system is linked to, and which Hub it is of."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from .api.errors import ConfigError
from .api.models import Account, HubLocation
from .conf_syntax import Setting, read_settings, values
from .host import Host
from .registry import Registry

URL_VARIABLE = "TKLBAM_APIURL"
CA_VARIABLE = "TKLBAM_HUB_CA_FILE"


def hub_account(host: Host, registry: Registry) -> Account | None:
    """None where this system is linked to none."""
    account = registry.account
    return None if account is None else replace(account, hub=hub_location(host, registry))


def hub_location(host: Host, registry: Registry) -> HubLocation:
    """The environment's word comes first, then the configuration's, then that of the `init` that linked the account."""
    settings = _settings(host)
    noted = registry.hub
    url = os.environ.get(URL_VARIABLE) or _last(settings, "hub-url") or noted.url
    authorities = os.environ.get(CA_VARIABLE)
    configured = _last(settings, "hub-ca-file")
    if authorities:
        ca_file: Path | None = Path(os.path.abspath(authorities))
    else:
        ca_file = host.path(configured) if configured else noted.ca_file
    return HubLocation(url=url, ca_file=ca_file)


def _settings(host: Host) -> list[Setting]:
    try:
        return read_settings(host.conf_dir)
    except ConfigError:  # commands that need the whole configuration have said so; the others work without
        return []


def _last(settings: list[Setting], option: str) -> str:
    return (values(settings, option) or [""])[-1]
