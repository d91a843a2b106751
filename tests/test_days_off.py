"""What siblings do not know of an endpoint: who works on a holiday, and when its own job is over."""

from __future__ import annotations

import numpy as np
import pytest

from apilens.detect import baseline, traffic
from test_detect import _bins, _rollups_of

DAYS, TODAY = 10, 9 * 288


TOGETHER = dict.fromkeys(range(3), "svc")


def opened(rate: np.ndarray, behind: dict[int, str] = TOGETHER) -> list[int]:
    """Bins of today in which a drop of endpoint 0 opens; behind: upstreams by endpoint."""
    fleet, rows = baseline.fleet(_rollups_of(np.random.default_rng(4).poisson(rate)), _bins(DAYS))
    (series,) = baseline.chunks(fleet, rows, behind)
    found = traffic.detect(series, fleet)
    mine = found.filter(found["opens"], endpoint=0, direction=-1)
    return [bin_ - TODAY for bin_ in mine["bin"].to_list() if bin_ >= TODAY]


def fleet_rate() -> np.ndarray:
    """Calls per bin: people who come by day, every day."""
    hour = np.arange(DAYS * 288) % 288 / 12
    day = np.clip(np.minimum(hour - 6, 20 - hour) / 4, 0, 1)
    return np.stack([5 + 60 * day, 5 + 90 * day, 5 + 80 * day, *np.full((3, len(day)), 10.0)])


@pytest.mark.parametrize(
    ("begins", "left", "drop"),
    [
        (0, 5.0, False),  # a holiday: as on its Sunday, from the morning on
        (0, 0.3, True),  # fewer than on a Sunday
        (150, 5.0, True),  # as on a Sunday, from noon on
    ],
    ids=["holiday", "less than on a day off", "at once"],
)
def test_a_day_off_of_an_office_is_no_drop(begins: int, left: float, drop: bool) -> None:
    rate = fleet_rate()
    rate[0, 4 * 288 : 5 * 288] = 5.0  # its Sunday, on which its siblings are used as ever
    rate[0, TODAY + begins : TODAY + 240] = left
    assert bool(opened(rate)) is drop


@pytest.mark.parametrize(
    ("until", "drop"),
    [(34, False), (0, True)],  # bins after it began, of 40
    ids=["half an hour sooner", "stays away"],
)
def test_a_job_that_is_over_sooner_is_no_drop(until: int, drop: bool) -> None:
    rate = fleet_rate()
    for day in range(DAYS):
        rate[0, day * 288 + 3 : day * 288 + (43 if day < DAYS - 1 else 3 + until)] = 60
    found = opened(rate)
    assert bool(found) is drop and (not drop or found[0] < 43)


@pytest.mark.parametrize(
    ("off", "left", "drop"),
    [(0, 0.0, True), (2, 0.0, False), (0, 2.0, False)],
    ids=["every day", "not two days ago", "a tenth of it came"],
)
def test_a_job_that_came_every_day_is_gone_though_nothing_was_expected_of_the_hour_before(
    off: int, left: float, drop: bool
) -> None:
    """An endpoint alone behind its upstream: no sibling tells of it."""
    rate = fleet_rate()
    rate[0] = 0
    for day in range(DAYS):
        rate[0, day * 288 + 30 : day * 288 + 42] = left if day == DAYS - 1 else 20.0
    if off:
        rate[0, TODAY - off * 288 : TODAY - (off - 1) * 288] = 0
    found = opened(rate, {number: f"svc-{number}" for number in range(6)})
    assert bool(found) is drop and (not drop or 36 <= found[0] <= 42)
