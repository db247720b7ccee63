"""Which server of this host gets which server's databases of the backup."""

from __future__ import annotations

from dataclasses import dataclass

from tklbam_core.api import DatabaseError, DatabaseFailure

from .clusters import Cluster
from .layout import StoredCluster
from .options import Options


@dataclass(frozen=True, slots=True)
class Pair:
    stored: StoredCluster
    cluster: Cluster


def pair(
    stored: list[StoredCluster], found: list[Cluster], options: Options
) -> tuple[list[Pair], list[DatabaseFailure]]:
    """By full name, else by name without the version (`15/main` goes to `17/main`, rather than `13/main`), else one to
    one.

    A server of the backup that finds no partner is a failure, with its databases named. Raises DatabaseError where
    there is no server at all, or `options.source` is not in the backup.
    """
    if not found:
        raise DatabaseError(
            "the backup holds PostgreSQL databases, and there is no PostgreSQL server here",
            "Install it (apt-get install postgresql) or name one (database-option pgsql:host=…), then restore again.",
        )
    if options.source is not None:
        names = ", ".join(each.name for each in stored) or "none"
        stored = [each for each in stored if each.name == options.source]
        if not stored:
            raise DatabaseError(
                f"the backup holds no PostgreSQL cluster {options.source}",
                f"Correct database-option pgsql:from; it holds {names}.",
            )
    if len(stored) == 1 and len(found) == 1:
        return [Pair(stored[0], found[0])], []
    pairs: list[Pair] = []
    for same in (_same_name, _same_name_any_version):
        for each in sorted(stored, key=lambda each: -each.version):
            if each in [done.stored for done in pairs]:
                continue
            free = [cluster for cluster in found if cluster not in [done.cluster for done in pairs]]
            partners = [cluster for cluster in free if same(each, cluster)]
            if partners:
                pairs.append(Pair(each, partners[-1]))
    if not pairs and len(stored) == 1:
        pairs.append(Pair(stored[0], found[-1]))
    failures = [
        DatabaseFailure(
            database=f"cluster {each.name} ({', '.join(each.databases) or 'no databases'})",
            reason="no cluster here is left for it: make one, and restore again with database-option "
            f"pgsql:from={each.name} and with pgsql:cluster, socket or host for the server that is to have it",
        )
        for each in stored
        if each not in [done.stored for done in pairs]
    ]
    return pairs, failures


def _same_name(stored: StoredCluster, cluster: Cluster) -> bool:
    return stored.name == cluster.name


def _same_name_any_version(stored: StoredCluster, cluster: Cluster) -> bool:
    return stored.name.rpartition("/")[2] == cluster.name.rpartition("/")[2]
