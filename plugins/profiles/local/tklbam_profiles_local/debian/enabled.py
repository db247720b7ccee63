"""Parts of Apache, nginx and PHP that packages switched on; a2enmod and phpenmod keep records of who did it.

Sources: a2enmod(8), phpenmod(8), and the states they write into /var/lib/apache2 and /var/lib/php/modules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .expected import Expected, content, directory, link
from .system import System

APACHE = (
    (b"module", b"mods", (b".load", b".conf")),
    (b"conf", b"conf", (b".conf",)),
    (b"site", b"sites", (b".conf",)),
)
PHP = b"/var/lib/php/modules"
NGINX = b"/etc/nginx/modules-enabled/"
NGINX_AVAILABLE = b"/usr/share/nginx/modules-available/"
_PRIORITY = re.compile(rb"^;\s*priority=(\d+)", re.MULTILINE)


def apache_links(system: System) -> Iterator[Expected]:
    """One that is gone was switched off by the administrator."""
    for kind, folder, suffixes in APACHE:
        records = b"/var/lib/apache2/" + kind + b"/enabled_by_maint"
        for name in system.names(records):
            yield content(records + b"/" + name, b"")
            for suffix in suffixes:
                available = b"/etc/apache2/" + folder + b"-available/" + name + suffix
                if available in system.owned and system.exists(available):
                    yield link(
                        b"/etc/apache2/" + folder + b"-enabled/" + name + suffix,
                        b"../" + folder + b"-available/" + name + suffix,
                        required=True,
                    )


def php_links(system: System) -> Iterator[Expected]:
    """Modules that packages enabled for each version and interface of PHP, and the records of it."""
    for version in system.names(PHP):
        base = PHP + b"/" + version
        yield directory(base)
        for interface in system.names(base):
            yield directory(base + b"/" + interface)
            if interface == b"registry":
                for module in system.names(base + b"/registry"):
                    yield content(base + b"/registry/" + module, b"")
                continue
            records = base + b"/" + interface + b"/enabled_by_maint"
            yield directory(records)
            for module in system.names(records):
                yield content(records + b"/" + module, b"")
                available = b"/etc/php/" + version + b"/mods-available/" + module + b".ini"
                setting = system.read(available)
                if setting is not None:
                    found = _PRIORITY.search(setting)
                    name = (found[1] if found else b"20") + b"-" + module + b".ini"
                    folder = b"/etc/php/" + version + b"/" + interface + b"/conf.d/"
                    yield link(folder + name, available, required=True)


def nginx_links(system: System) -> Iterator[Expected]:
    """Every packaged module is enabled under its name with a number in front (source: dh_nginx(1))."""
    available = {path.removeprefix(NGINX_AVAILABLE): path for path in system.owned if path.startswith(NGINX_AVAILABLE)}
    for name in system.names(NGINX):
        path = available.get(name.partition(b"-")[2])
        if path is not None:
            yield link(NGINX + name, path)
