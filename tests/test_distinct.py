"""A column as its distinct values says of every row what the row itself would."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from apilens.distinct import distinct

VALUES = st.lists(st.one_of(st.none(), st.sampled_from(["", "a", "/v1/ä", "\0", "x" * 40]), st.text(max_size=3)))


@given(VALUES, st.integers(1, 9))
def test_spread_brings_every_value_back_to_its_rows(values: list[str | None], times: int) -> None:
    column = pl.Series("path", values * times, dtype=pl.String)
    found = distinct(column)
    assert found.spread(found.values).to_list() == column.to_list()
    assert found.map(lambda each: each.str.len_bytes()).to_list() == column.str.len_bytes().to_list()


def test_values_that_come_often_stand_once() -> None:
    found = distinct(pl.Series(["b", None, "a", "b"] * 50))
    assert sorted(found.values.to_list()) == ["a", "b"]


def test_columns_told_apart_one_after_the_other_share_no_numbers() -> None:
    first, second = (distinct(pl.Series([f"{letter}{i % 3}" for i in range(60)])) for letter in "ab")
    assert first.values.len() == second.values.len() == 3
    assert second.spread(second.values)[4] == "b1"
