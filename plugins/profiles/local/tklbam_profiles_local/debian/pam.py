"""/etc/pam.d/common-*, as pam-auth-update would write them with every default (source: pam-auth-update(8))."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .expected import Expected, file
from .system import System, md5_of

CONFIGS = b"/usr/share/pam-configs/"
TEMPLATES = b"/usr/share/pam/"
STACKS = ((b"auth", b"Auth"), (b"account", b"Account"), (b"password", b"Password"), (b"session", b"Session"))
# What stands in a primary block that no module fills.
_NOTHING = [b"[default=1]", b"pam_permit.so"]

Line = list[bytes]


@dataclass(frozen=True, slots=True)
class Module:
    """A file of /usr/share/pam-configs: its priority and its fields by name."""

    priority: int
    fields: dict[bytes, list[bytes]]

    def flag(self, name: bytes) -> bool:
        return b"".join(self.fields.get(name, [])).strip().lower() == b"yes"


def pam_files(system: System) -> Iterator[Expected]:
    """The common-* files that, spacing aside, say what the packages' defaults say."""
    modules = sorted(_modules(system), key=lambda module: -module.priority)
    for stack, field in STACKS:
        for variant in (b"", b"-noninteractive") if stack == b"session" else (b"",):
            name = b"common-" + stack + variant
            template = system.shipped_content(TEMPLATES + name)
            present = system.read(b"/etc/pam.d/" + name)
            if template is None or present is None:
                continue
            usable = [m for m in modules if not (variant and m.flag(b"Session-Interactive-Only"))]
            if _words(present) == _filled(template, stack, field, usable):
                yield file(b"/etc/pam.d/" + name, md5_of(present))


def _modules(system: System) -> Iterator[Module]:
    for name in system.names(CONFIGS):
        text = system.shipped_content(CONFIGS + name)
        if text is None:
            continue
        fields: dict[bytes, list[bytes]] = {}
        current: list[bytes] = []
        for line in text.split(b"\n"):
            key, colon, value = line.partition(b":")
            if line[:1].isspace():
                current.append(line.strip())
            elif colon:
                current = fields.setdefault(key, [])
                if value.strip():
                    current.append(value.strip())
        module = Module(int(b"".join(fields.get(b"Priority", [])) or b"0"), fields)
        if module.flag(b"Default"):
            yield module


def _filled(template: bytes, stack: bytes, field: bytes, modules: list[Module]) -> list[Line]:
    blocks = {kind: _block(stack, field, kind, modules) for kind in (b"Primary", b"Additional")}
    lines: list[Line] = []
    for line in _words(template):
        # `$auth_primary`, `$session_nonint_additional`
        if line and line[0].startswith(b"$"):
            lines += blocks.get(line[0].rpartition(b"_")[2].capitalize(), [line])
        else:
            lines.append(line)
    return lines


def _block(stack: bytes, field: bytes, kind: bytes, modules: list[Module]) -> list[Line]:
    """The lines of a block; `end` in a control becomes the number of lines to jump over."""
    lines: list[Line] = []
    for module in modules:
        if b"".join(module.fields.get(field + b"-Type", [])) != kind:
            continue
        # What stands first in its stack may have a variant that does not rely on an earlier module.
        initial = module.fields.get(field + b"-Initial") if not lines else None
        lines += [[stack, *line.split()] for line in initial or module.fields.get(field, [])]
    if not lines and kind == b"Primary":
        return [[stack, *_NOTHING]]
    count = len(lines)
    return [[re.sub(rb"=end\b", b"=%d" % (count - at), word) for word in line] for at, line in enumerate(lines)]


def _words(text: bytes) -> list[Line]:
    return [line.split() for line in text.split(b"\n")]
