"""Links that decide what starts at boot, as packages made them: systemd's and System V's.

Sources: deb-systemd-helper(1p), systemd.unit(5), update-rc.d(8), and the LSB headers of init scripts.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from .expected import Expected, directory, link
from .system import System

UNITS = (b"/lib/systemd/system/", b"/usr/lib/systemd/system/")
USER_UNITS = (b"/lib/systemd/user/", b"/usr/lib/systemd/user/")
ENABLED = b"/var/lib/systemd/deb-systemd-helper-enabled"
MASKED = b"/var/lib/systemd/deb-systemd-helper-masked"
MADE = b"/etc/systemd/system/"
USER_MADE = b"/etc/systemd/user/"
USER_ENABLED = b"/var/lib/systemd/deb-systemd-user-helper-enabled"
# Enabled by systemd's own maintainer script, which keeps no record of it: link, unit.
BY_SYSTEMD = (
    (b"getty.target.wants/getty@tty1.service", b"getty@.service"),
    (b"multi-user.target.wants/remote-fs.target", b"remote-fs.target"),
    (b"sysinit.target.wants/systemd-pstore.service", b"systemd-pstore.service"),
)
_RC_LINK = re.compile(rb"([SK])\d\d(.+)")
_LEVELS = (b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"S")


def unit_links(system: System) -> Iterator[Expected]:
    """The links that deb-systemd-helper remembers having made, and systemd's own. One that is gone was disabled by
    the administrator; one that is not among them was enabled by the administrator."""
    for records, made, places in (
        (ENABLED, MADE, UNITS),
        (USER_ENABLED, USER_MADE, USER_UNITS),
    ):
        owners = _owners(system, records)
        for name in system.walk(records):
            if not name.endswith(b".dsh-also"):
                unit = owners.get(made + name, _unit_of(name))
                yield from _unit_link(system, made + name, unit, places)
    for name, unit in BY_SYSTEMD:
        yield from _unit_link(system, MADE + name, unit, UNITS)
    for name in system.walk(MASKED):
        yield link(MADE + name, b"/dev/null")


def _owners(system: System, records: bytes) -> dict[bytes, bytes]:
    """Link → unit, from the list of its links that each unit has (a link may be an alias of another name)."""
    owners = {}
    for name in system.walk(records):
        if name.endswith(b".dsh-also"):
            for path in (system.read(records + b"/" + name) or b"").split(b"\n"):
                if os.path.basename(os.path.dirname(path)) == b"system":  # an alias: its name says nothing
                    owners[path] = os.path.basename(name.removesuffix(b".dsh-also"))
    return owners


def _unit_of(name: bytes) -> bytes:
    """`getty@tty1.service` is an instance of `getty@.service`."""
    return re.sub(rb"@.+(\.[a-z]+)$", rb"@\1", os.path.basename(name))


def _unit_link(system: System, path: bytes, unit: bytes, places: tuple[bytes, ...]) -> Iterator[Expected]:
    there = any(system.exists(place + unit) for place in places)
    yield directory(os.path.dirname(path))
    for place in places:
        yield link(path, place + unit, required=there)


def rc_links(system: System) -> Iterator[Expected]:
    """The links in /etc/rc?.d that follow from the LSB headers of packaged init scripts, whatever their numbers.

    A start link that has become a stop link was disabled by the administrator: both are then a change.
    """
    headers: dict[bytes, dict[bytes, bytes]] = {}
    for level in _LEVELS:
        folder = b"/etc/rc%s.d/" % level
        found = [match for match in map(_RC_LINK.fullmatch, system.names(folder)) if match]
        started = {match[2] for match in found if match[1] == b"S"}
        for match in found:
            script = match[2]
            if b"/etc/init.d/" + script not in system.owned:
                continue
            wanted = headers.setdefault(script, _header(system.read(b"/etc/init.d/" + script) or b"")).get(level)
            if wanted == match[1]:
                yield link(folder + match[0], b"../init.d/" + script)
            elif wanted == b"S" and script not in started:
                yield link(folder + b"S01" + script, b"../init.d/" + script, required=True)


def _header(script: bytes) -> dict[bytes, bytes]:
    """Runlevel → S or K, from Default-Start and Default-Stop."""
    levels = {}
    for line in script.split(b"### END INIT INFO")[0].split(b"\n"):
        for field, kind in ((b"# Default-Start:", b"S"), (b"# Default-Stop:", b"K")):
            if line.startswith(field):
                levels.update(dict.fromkeys(line.removeprefix(field).split(), kind))
    return levels
