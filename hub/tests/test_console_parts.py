"""The console's words and pictures, made from numbers."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tklbam_hub.console import charts, sparkline, wording

START = datetime(2026, 11, 1, 3, tzinfo=UTC)
KINDS = st.sampled_from(charts.Kind)


def points(sizes: list[int], kind: charts.Kind = charts.Kind.FULL) -> list[charts.Point]:
    return [charts.Point(START + timedelta(days=day), size, kind) for day, size in enumerate(sizes)]


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (None, "–"),
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1,023 bytes"),
        (1024, "1.0 KB"),
        (1024 * 1000, "1.0 MB"),
        (5 << 30, "5.0 GB"),
        (5000 << 40, "5,000.0 TB"),
    ],
)
def test_sizes_are_said_as_the_client_says_them(count: int | None, said: str) -> None:
    from tklbam_core.cli.common import human_size

    assert wording.size(count) == said
    if count is not None and count < 1000 << 40:
        assert human_size(count) == said


@pytest.mark.parametrize(
    ("length", "said"),
    [
        (timedelta(seconds=-5), "0 s"),
        (timedelta(minutes=3), "3 min"),
        (timedelta(hours=31), "31 h"),
        (timedelta(days=6), "6 days"),
        (timedelta(days=100), "3 months"),
        (timedelta(days=1000), "3 years"),
    ],
)
def test_ages_have_one_unit(length: timedelta, said: str) -> None:
    assert wording.span(length) == said


@pytest.mark.parametrize(
    ("amount", "currency", "said"),
    [
        (None, "USD", "–"),
        (0, "USD", "$0.00"),
        (0.001, "EUR", "< €0.01"),
        (1234.5, "CHF", "1,234.50 CHF"),
        (0.001, "CHF", "< 0.01 CHF"),
    ],
)
def test_money_has_its_currency(amount: float | None, currency: str, said: str) -> None:
    assert wording.money(amount, currency) == said


@pytest.mark.parametrize(
    "label", ["The Shop", "ümlaut ☃", "../../etc/passwd", "", "---", 'a"\r\nSet-Cookie: x=1', "x" * 300]
)
def test_key_files_have_plain_names(models: None, label: str) -> None:
    from tklbam_hub.console import commands

    backup: Any = SimpleNamespace(label=label, number=7, address="file:///srv/it's here; rm -rf ~")
    name = commands.key_file_of(backup)
    assert re.fullmatch(r"[a-z0-9._]([a-z0-9._-]*)-7\.key", name)
    assert len(name) <= 50
    restored = commands.restore(backup)
    assert restored.restore_alone.text == (
        f"tklbam restore --address 'file:///srv/it'\"'\"'s here; rm -rf ~' --keyfile {name}"
    )


@given(st.lists(st.integers(0, 1 << 50), max_size=40))
def test_sparklines_stay_in_their_box(sizes: list[int]) -> None:
    spark = sparkline.sparkline(sizes)
    if len(sizes) < 2:
        assert spark is None
        return
    assert spark is not None
    places = [tuple(map(float, place.split())) for place in spark.line[1:].split("L")]
    assert len(places) == len(sizes)
    assert all(0 <= x <= sparkline.WIDTH and 0 <= y <= sparkline.HEIGHT for x, y in places)
    assert [x for x, _ in places] == sorted(x for x, _ in places)
    # Larger is higher.
    assert (places[0][1] - places[-1][1]) * (sizes[-1] - sizes[0]) >= 0


def test_a_steady_size_is_a_level_line_and_noise_is_small() -> None:
    steady = sparkline.sparkline([100, 100, 100])
    assert steady is not None
    assert steady.said == "Size steady at 100 bytes"
    assert len({place.split()[1] for place in steady.line[1:].split("L")}) == 1
    noise = sparkline.sparkline([1000, 1001, 1000])
    assert noise is not None
    heights = [float(place.split()[1]) for place in noise.line[1:].split("L")]
    assert max(heights) - min(heights) < 1


@given(
    st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 1 << 50), KINDS), min_size=1, max_size=60),
    st.sampled_from([(560, 220, 4), (340, 200, 3)]),
)
def test_charts_stay_in_their_box(sessions: list[tuple[int, int, charts.Kind]], shape: tuple[int, int, int]) -> None:
    drawn = [charts.Point(START + timedelta(seconds=at), size, kind) for at, size, kind in sorted(sessions)]
    for chart in (charts.bars(drawn, *shape), charts.line(drawn, *shape)):
        assert len(chart.marks) == len(drawn)
        for mark in chart.marks:
            assert chart.left - 0.1 <= mark.x <= mark.x + mark.width <= chart.right + 0.1
            assert 0 <= mark.y <= mark.y + mark.height <= chart.bottom + 0.1
        assert 2 <= len(chart.sizes) <= charts.TICKS + 1
        assert 1 <= len(chart.dates) <= max(shape[2], 2)
        assert len({tick.text for tick in chart.sizes}) == len(chart.sizes)


@given(st.integers(0, 1 << 50))
def test_gridlines_are_at_round_sizes_that_reach_the_largest(highest: int) -> None:
    chart = charts.bars(points([highest]), 560, 220, 4)
    assert chart.sizes[0].text == "0"
    units = {"byte": 1, "bytes": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}
    said = []
    for tick in chart.sizes[1:]:
        number, unit = tick.text.replace(",", "").split()
        said.append(float(number) * units[unit])
    # What is written is where the line is, not rounded to it.
    assert said == [said[0] * (index + 1) for index in range(len(said))]
    assert said[-1] >= highest
    assert chart.marks[0].y >= chart.sizes[-1].place - 0.1


def test_small_increments_and_failures_can_be_seen() -> None:
    drawn = [*points([10**9, 1]), charts.Point(START + timedelta(days=3), 0, charts.Kind.FAILED)]
    chart = charts.bars(drawn, 560, 220, 4)
    assert [mark.height >= least for mark, least in zip(chart.marks, (100, 1.5, 4), strict=True)] == [True] * 3
    assert chart.marks[2].said == "2026-11-04 03:00: failed"
