"""404 on a path that never answered is a stranger looking around; on one that did, it is a candidate."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest

from test_detect import FAULT, quiet_world, scan


@pytest.mark.parametrize(("before", "candidates"), [(False, 0), (True, 1)], ids=["never answered", "answered once"])
def test_404_where_nothing_ever_answered_is_no_candidate(before: bool, candidates: int) -> None:
    calls = quiet_world(1, endpoints=6)
    path = (
        calls.filter(pl.col("start_time") > FAULT)
        .head(150)
        .with_columns(
            start_time=pl.lit(FAULT) + pl.duration(seconds=40 * pl.int_range(150)),
            route=pl.lit("/old/{id}/pods"),
            consumer=None,
        )
    )
    path = path.with_columns(status_code=pl.lit(404, pl.Int16))
    known = path.head(9).with_columns(
        status_code=pl.lit(200 if before else 403, pl.Int16), start_time=pl.col("start_time") - timedelta(days=3)
    )
    calls = pl.concat([calls, *(part.cast(dict(calls.schema)) for part in (known, path))]).sort("start_time")
    found = scan(calls)
    assert found.filter(pl.col("endpoints").list.contains("GET /old/{id}/pods")).height == candidates
