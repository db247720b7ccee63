"""Links under /etc/alternatives that update-alternatives made by priority (source: update-alternatives(1))."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .expected import Expected, link
from .system import System

DIRECTORY = b"/etc/alternatives/"
STATE = b"/var/lib/dpkg/alternatives"


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing an alternative can lead to, its priority, and where its followers' links then lead (b"": nowhere)."""

    path: bytes
    priority: int
    followers: tuple[bytes, ...]


def alternative_links(system: System) -> Iterator[Expected]:
    """The links as they would be with every alternative in automatic mode, with the choices that packages brought.

    One that the administrator chose by hand differs from them, and so is a change; one chosen by hand that is the best
    anyway is none.
    """
    for name in system.names(STATE):
        state = system.read(STATE + b"/" + name)
        if state is None:
            continue
        links, choices = _parsed(name, state)
        choices = [choice for choice in choices if choice.path in system.owned]
        if not choices:
            continue
        best = max(choices, key=lambda choice: choice.priority)
        for (entry, place), target in zip(links, (best.path, *best.followers), strict=True):
            if not target or not system.exists(target):
                continue
            yield link(DIRECTORY + entry, target, required=True)
            yield link(place, DIRECTORY + entry, required=True)


def choice_paths(system: System) -> Iterator[bytes]:
    """All that alternatives can lead to."""
    for name in system.names(STATE):
        for choice in _parsed(name, system.read(STATE + b"/" + name) or b"")[1]:
            yield choice.path


def _parsed(name: bytes, state: bytes) -> tuple[list[tuple[bytes, bytes]], list[Choice]]:
    """(name, link) of the master and its followers, and the choices; nothing where the file is damaged."""
    lines = state.split(b"\n")
    try:
        links = [(name, lines[1])]
        at = 2
        while lines[at]:
            links.append((lines[at], lines[at + 1]))
            at += 2
        at += 1
        choices = []
        while lines[at]:
            choices.append(Choice(lines[at], int(lines[at + 1]), tuple(lines[at + 2 : at + 1 + len(links)])))
            at += 1 + len(links)
    except (IndexError, ValueError):
        return [], []
    return links, choices
