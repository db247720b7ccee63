"""What a restore notes before each change, so that a rollback finds its way back wherever the restore was killed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tklbam_core.api import FormatError, atomic_write

FILE = "pgsql.json"


@dataclass(slots=True)
class DatabaseStep:
    """One database on its way. `new` is loaded, then takes the name of `name`, which becomes `old`.

    Object ids are the databases' identity whatever they are called: of what was there before (None: nothing), and of
    what was loaded (None: not yet made). `paused` are subscriptions of the old one that were enabled.
    """

    name: str
    new: str
    old: str
    gone: str
    before_oid: int | None = None
    new_oid: int | None = None
    paused: list[str] = field(default_factory=list)


@dataclass(slots=True)
class ClusterStep:
    """One server: where it is (no password), how its roles were, and what the restore made in it."""

    name: str
    options: dict[str, str]
    identifier: str
    state: dict[str, Any] = field(default_factory=dict)
    roles_created: list[str] = field(default_factory=list)
    tablespaces_created: list[str] = field(default_factory=list)
    databases: list[DatabaseStep] = field(default_factory=list)


@dataclass(slots=True)
class Journal:
    """`directory` None keeps nothing: there will be no rollback."""

    directory: Path | None
    clusters: list[ClusterStep] = field(default_factory=list)

    @property
    def keeps(self) -> bool:
        return self.directory is not None

    def save(self) -> None:
        """Makes all that was noted so far durable: call it before the change, not after."""
        if self.directory is not None:
            with atomic_write(self.directory / FILE) as file:
                content = {"version": 1, "clusters": [asdict(each) for each in self.clusters]}
                file.write(json.dumps(content, indent=1).encode())


def load(directory: Path) -> Journal | None:
    """The journal that a restore left; None where it left none. Raises FormatError."""
    file = directory / FILE
    if not file.exists():
        return None
    try:
        content = json.loads(file.read_bytes())
        clusters = [
            ClusterStep(**{**each, "databases": [DatabaseStep(**one) for one in each["databases"]]})
            for each in content["clusters"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(file, None, f"not a journal of a restore: {error}") from error
    return Journal(directory, clusters)
