"""Judging what lies on a target: which sessions are complete, damaged, or left over from interrupted runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..api.models import StoredFile
from ..api.storage import Target
from .archive import FileSet, SessionKey, group, link
from .cache import Cache
from .decrypt import Unreadable, read_manifest
from .manifest import Manifest
from .workspace import Workspace


@dataclass(slots=True)
class Survey:
    """Every session on a target, judged.

    `complete` can be restored together with what they build on. `leftovers` were never finished, and nothing complete
    builds on them. `damaged` had been finished, as far as can be told, and lack something now: reason by session.
    """

    sets: dict[SessionKey, FileSet]
    complete: list[FileSet] = field(default_factory=list)
    leftovers: list[FileSet] = field(default_factory=list)
    damaged: dict[SessionKey, list[str]] = field(default_factory=dict)
    undecided: list[FileSet] = field(default_factory=list)

    @property
    def chains(self) -> list[list[FileSet]]:
        return link(self.complete)

    def extendable(self) -> list[FileSet] | None:
        """The chain that an increment can be put on: the newest one, if nothing in it is damaged or unsigned."""
        chains = self.chains
        if not chains or any(found.signatures is None for found in chains[-1]):
            return None
        after = [key for key in self.damaged if key.end > chains[-1][0].key.end]
        return None if after else chains[-1]

    @property
    def misleading(self) -> bool:
        """Whether duplicity would take one of the leftovers for the newest chain's end: a full one, or signatures."""
        last = max((each.key.end for each in self.complete), default=None)
        stuck = [each for each in self.leftovers if last is None or each.key.end > last]
        return any(each.key.start is None or each.signatures or each.manifest for each in stuck)

    @property
    def newest(self) -> SessionKey | None:
        """The latest session of any state."""
        return max(self.sets, key=lambda key: key.end, default=None)


def survey(files: Iterable[StoredFile], cache: Cache) -> Survey:
    """Judges by names, sizes and what the cache knows, without reading the target."""
    sets = group(files)
    sizes = cache.sizes()
    unfinished = cache.unfinished()
    manifests = {key: cache.manifest(key) for key in sets}
    return judge(sets, manifests, sizes, unfinished)


def judge(
    sets: dict[SessionKey, FileSet],
    manifests: Mapping[SessionKey, Manifest | None],
    sizes: Mapping[str, int],
    unfinished: Iterable[SessionKey] = (),
) -> Survey:
    """The rules, alone. `unfinished` are sessions that duplicity was still writing when it last ran here."""
    found = Survey(sets)
    problems: dict[SessionKey, list[str]] = {}
    doubted = {key for key in unfinished if key in sets and manifests.get(key) is None and sets[key].manifest}
    for key, each in sets.items():
        manifest = manifests.get(key)
        problems[key] = each.problems(manifest.count if manifest else None, sizes)
    sound = [each for key, each in sets.items() if not problems[key] and key not in doubted]
    found.complete = [each for chain in link(sound) for each in chain]
    builds_on = {each.key.start for each in sets.values() if each.key.start and each.manifest is not None}
    for key, each in sets.items():
        if not problems[key] and key not in doubted:
            continue
        # The manifest goes up last, so where it stands beside volumes the session was finished once.
        was_finished = each.manifest is not None and each.manifest.size > 0 and bool(each.volumes)
        if key in doubted and was_finished:
            found.undecided.append(each)
        elif was_finished or key.end in builds_on:
            found.damaged[key] = problems[key]
        else:
            found.leftovers.append(each)
    return found


def read_manifests(target: Target, found: Survey, cache: Cache, secret: str, place: Workspace) -> list[str]:
    """Makes sure of the newest chain, whose manifests may never have arrived whole: reads those the cache lacks.

    Whole ones go into the cache. Sessions whose manifest was cut short, or names volumes that are not there, become
    leftovers. Returns what a person should know.
    """
    said: list[str] = []
    if not found.sets:
        return said
    sizes = cache.sizes()
    newest_full = max((key.end for key in found.sets if key.start is None), default=None)
    manifests = {key: cache.manifest(key) for key in found.sets}
    truncated: set[SessionKey] = set()
    for key, each in found.sets.items():
        recent = newest_full is None or key.end >= newest_full
        if not recent or each.manifest is None or manifests[key] is not None or not each.manifest.size:
            continue
        with target.read(each.manifest.name) as content:
            read = read_manifest(each.manifest.name, content, secret, place)
        if read is Unreadable.WRONG_SECRET:
            said.append(f"{each.manifest.name} is encrypted with another secret")
        elif isinstance(read, Unreadable):
            truncated.add(key)
        else:
            manifests[key], text = read
            cache.put_manifest(each.manifest, text)
    judged = judge(found.sets, manifests, sizes)
    found.complete, found.leftovers, found.damaged = judged.complete, judged.leftovers, judged.damaged
    found.undecided = []
    tail = max(found.sets, key=lambda key: key.end)
    for key in truncated:
        each = found.sets[key]
        found.complete = [other for other in found.complete if other.key != key]
        found.damaged.pop(key, None)
        if target.keeps_everything:
            cache.note_void(each)
        if key == tail and each.manifest is not None and each.manifest.name not in sizes:
            if each not in found.leftovers:
                found.leftovers.append(each)
        else:
            found.damaged[key] = ["its manifest is damaged"]
    return said
