"""What of some documented routes was called, and what was called that nobody documented."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from apilens.routes.openapi import Conflict, OpenApi


@dataclass(frozen=True)
class Coverage:
    """matched: method, path, operation_id, calls of documented operations. other_method: method, route, calls where the document
    has the path, but not with this method. unmatched: service, method, route, calls of routes no document has.
    never_called: method, path, operation_id. Most called first; never_called in the documents' order.
    """

    matched: pl.DataFrame
    other_method: pl.DataFrame
    unmatched: pl.DataFrame
    never_called: pl.DataFrame
    conflicts: list[Conflict]


def coverage(api: OpenApi, routes: pl.DataFrame) -> Coverage:
    """Coverage of a document by calls. routes: service, method, route (as ingest stored it; null: malformed), calls."""
    mapping = api.mapping(routes)
    seen = routes.join(mapping, on=["service", "route"], how="left", nulls_equal=True)
    known = api.ids.rename({"route": "merged_route"})
    calls = pl.col("calls").sum()
    documented = seen.drop_nulls("merged_route").group_by("method", "merged_route").agg(calls)
    matched = documented.join(known, on=["method", "merged_route"], how="inner")
    elsewhere = documented.join(known, on=["method", "merged_route"], how="anti").rename({"merged_route": "route"})
    unmatched = seen.filter(pl.col("merged_route").is_null()).group_by("service", "method", "route").agg(calls)
    called = set(matched.select("method", "merged_route").rows())
    # A path is called whether or not the gateway logs its base path.
    idle = [
        (one.method, one.path, one.id)
        for one in api.operations
        if not called & {(one.method, one.route), (one.method, one.bare_route)}
    ]
    return Coverage(
        _most_called(matched.select("method", "path", "operation_id", "calls"), "path"),
        _most_called(elsewhere.select("method", "route", "calls"), "route"),
        _most_called(unmatched.select("service", "method", "route", "calls"), "route"),
        pl.DataFrame(idle, schema={"method": pl.String, "path": pl.String, "operation_id": pl.String}, orient="row"),
        api.conflicts,
    )


def _most_called(rows: pl.DataFrame, then: str) -> pl.DataFrame:
    return rows.sort("calls", then, "method", descending=[True, False, False], nulls_last=True)
