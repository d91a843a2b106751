"""One failing call that its client tries again with growing pauses is one moment, not many."""

from __future__ import annotations

import pytest

from apilens.detect.retries import moments
from apilens.detect.runs import Profile

#: After 10, 30, 90 and 270 s more; after 1, 2, 4, … s until ten minutes; three calls at once that go on as the first does.
BACKOFF = [(4, 2), (5, 1), (6, 1), (12, 1)]
DOUBLED = [(0, 6), (1, 1), (2, 1), (4, 1), (8, 1)]
THREE = [(4, 6), (5, 3), (6, 3), (12, 3)]
STEADY = [(0, 3), (3, 1), (4, 1), (6, 1), (8, 1)]


def of(minutes: list[tuple[int, int]], who: str | None = "payer") -> list[tuple[int, str | None, int]]:
    return [(minute, who, calls) for minute, calls in minutes]


@pytest.mark.parametrize("tried", [BACKOFF, DOUBLED, THREE])
def test_what_is_tried_again_with_growing_pauses_is_one_moment(tried: list[tuple[int, int]]) -> None:
    assert moments(of(tried), 503) == 1


@pytest.mark.parametrize(
    ("failed", "status", "expected"),
    [
        (of(STEADY), 503, 4),  # goes on evenly: only the first of these is a pause that grew
        (of([(0, 3), (30, 1)]), 503, 2),  # half an hour later is no pause of seconds that grew
        (of([(0, 1), (3, 1), (9, 1)]), 503, 3),  # nothing came at once
        (of([(0, 3), (4, 2)]), 503, 2),  # more of them than of one that is tried again
        (of(BACKOFF), 422, 3),  # nobody tries a wrong call again so
        (of(BACKOFF, None), 503, 3),  # may be several clients
        (sorted([*of(BACKOFF), *of(BACKOFF, "other")]), 503, 2),
    ],
)
def test_other_failures_are_moments_of_their_own(
    failed: list[tuple[int, str | None, int]], status: int, expected: int
) -> None:
    assert moments(failed, status) == expected


def test_who_calls_at_a_time_that_had_no_calls_the_day_before_makes_the_surge() -> None:
    profile = Profile()
    profile.calls["consumer"], profile.excess["consumer"] = {"job": 0.0, "app": 0.0}, {"job": 95.0, "app": 5.0}
    assert profile.top("consumer") == ("job", 0.95, 0.0)
