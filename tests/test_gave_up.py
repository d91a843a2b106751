"""Clients that do not wait for an answer: news, unless a crowd makes the answers slow."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest

from apilens.detect.counting import ABORTS
from test_detect import FAULT, busiest, during, failing, overlapping, quiet_world, scan

MINUTES = 20
HERE = pl.col("route") == busiest(quiet_world(1))


def crowded(calls: pl.DataFrame, where: pl.Expr, times: int) -> pl.DataFrame:
    """The calls, those `where` so many times, a second apart."""
    more = [calls.filter(where).with_columns(pl.col("start_time") + timedelta(seconds=at)) for at in range(1, times)]
    return pl.concat([calls, *more]).sort("start_time")


def aborted(code: int, *, times: int, slower: float) -> list[str]:
    """Titles of what is raised where 8 % of the calls of the busiest endpoint end with a client's abort for twenty minutes: with so many times
    the calls, that take so many times as long."""
    here = during(MINUTES) & HERE
    calls = crowded(quiet_world(1), here, times)
    calls = calls.with_columns(duration_ms=pl.when(here).then(pl.col("duration_ms") * slower).otherwise("duration_ms"))
    return list(overlapping(scan(failing(calls, here, code, 0.08)), MINUTES)["title"])


@pytest.mark.parametrize("code", ABORTS)
def test_a_crowd_that_makes_answers_slow_and_clients_leave_is_no_candidate_of_aborts(code: int) -> None:
    assert not [title for title in aborted(code, times=6, slower=2.0) if str(code) in title]


def test_a_crowd_that_is_answered_as_fast_as_ever_does_not_explain_them() -> None:
    assert [title for title in aborted(499, times=6, slower=1.0) if "499" in title]


def test_slowness_without_a_crowd_does_not_either() -> None:
    assert [title for title in aborted(499, times=1, slower=2.0) if "499" in title]


def test_slowness_that_the_crowd_does_not_explain_is_told_with_them() -> None:
    """Less than twice the calls, but four times the latency: latency opens as well, and all is one ticket."""
    (title,) = aborted(499, times=3, slower=4.0)
    assert "499" in title


def test_nor_does_a_crowd_explain_what_servers_fail_at() -> None:
    assert [title for title in aborted(500, times=6, slower=2.0) if "500" in title]


def test_aborts_are_raised_when_the_five_minutes_are_over() -> None:
    """How slow the answers were is known by then."""
    calls = failing(quiet_world(1), during(60, FAULT + timedelta(minutes=1)) & HERE, 499, 0.9)
    assert [at.minute % 5 for at in overlapping(scan(calls), 60)["detected_at"]] == [0]


def test_a_crowd_on_the_other_endpoints_behind_the_upstream_counts() -> None:
    upstream = quiet_world(1).filter(HERE)["upstream_name"][0]
    here, beside = during(MINUTES) & HERE, during(MINUTES) & (pl.col("upstream_name") == upstream) & ~HERE
    calls = crowded(quiet_world(1), beside, 10)
    calls = calls.with_columns(
        duration_ms=pl.when(here | beside).then(pl.col("duration_ms") * 2.5).otherwise("duration_ms")
    )
    assert not [
        title for title in overlapping(scan(failing(calls, here, 499, 0.08)), MINUTES)["title"] if "499" in title
    ]
