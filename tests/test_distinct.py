"""A column as its distinct values says of every row what the row itself would."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from apilens.distinct import coded, constant, distinct

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


@given(VALUES, st.integers(1, 9))
def test_text_is_the_same_as_categories(values: list[str | None], times: int) -> None:
    column = pl.Series("path", values * times, dtype=pl.String)
    assert coded(column).cast(pl.String).equals(column, check_names=True)


def test_values_that_become_one_are_one_afterwards() -> None:
    found = distinct(pl.Series("path", ["/a", "/b", None, "/a"] * 50)).changed(
        lambda each: each.str.replace("a|b", "{id}")
    )
    assert found.values.to_list() == ["/{id}"]
    assert found.rows.to_list() == ["/{id}", "/{id}", None, "/{id}"] * 50


def test_a_column_in_which_nearly_each_row_differs_stays_text() -> None:
    assert coded(pl.Series([f"{i:08x}" for i in range(5000)])).dtype == pl.String
    assert isinstance(coded(pl.Series(["a", "b"] * 2500)).dtype, pl.Categorical)


def test_a_value_that_differs_behind_many_equal_ones_is_seen() -> None:
    assert coded(pl.Series(["a"] * 5000 + ["b"])).to_list()[-2:] == ["a", "b"]
    assert coded(pl.Series([*["a"] * 5000, None])).to_list()[-2:] == ["a", None]
    assert constant("a", 3).to_list() == ["a"] * 3
