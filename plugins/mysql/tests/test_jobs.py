"""Tables are shared out evenly, and no share is too small to be worth a program."""

from __future__ import annotations

from pathlib import Path

import pytest

from tklbam_core.api import ConfigError
from tklbam_mysql.catalogue import Table
from tklbam_mysql.cut import RowsWriter
from tklbam_mysql.jobs import LEAST_SHARE, Job, shares
from tklbam_mysql.settings import dump_options

MB = 1 << 20


def job(number: int, size: int) -> Job:
    table = Table("d", f"t{number}", engine="InnoDB", statement="", columns=[], key=[], size=size * MB)
    return Job(table, RowsWriter(Path(), 0))


@pytest.mark.parametrize(
    ("sizes", "most", "found"),
    [
        ((), 4, [0]),
        ((1, 2, 3), 4, [6]),
        ((100,), 4, [100]),
        ((100, 90, 20), 2, [100, 110]),
        ((500, 100, 90, 30), 3, [500, 100, 120]),
        ((100, 1, 1), 4, [102]),
        ((100, 10, 9), 2, [100, 19]),
        ((40, 40, 40, 40, 40), 4, [40, 40, 40, 80]),
    ],
)
def test_shares(sizes: tuple[int, ...], most: int, found: list[int]) -> None:
    made = shares([job(number, size) for number, size in enumerate(sizes)], most)
    assert sorted(sum(job.table.size for job in share) // MB for share in made) == sorted(found)
    assert len(made) == 1 or all(sum(job.table.size for job in share) >= LEAST_SHARE for share in made)


@pytest.mark.parametrize("key", ["jobs", "lock-timeout"])
@pytest.mark.parametrize("value", ["0", "86401", "-1", "two", "٣", ""])
def test_a_number_that_is_none(key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"mysql:{key}"):
        dump_options({key: value})
