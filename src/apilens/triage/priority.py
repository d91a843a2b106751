"""What to work on first: the business side of a problem, every part of it shown."""

from __future__ import annotations

import polars as pl

#: part of the weight -> its share. The design's figures; W orders the queue because raw RICE (reach · impact ·
#: confidence / effort) ranks a cosmetic issue of many users over a financial loss of few.
SHARES = {
    "severity": 0.25,
    "revenue": 0.25,
    "compliance": 0.15,
    "reach": 0.15,
    "trend": 0.10,
    "experience": 0.05,
    "demand": 0.05,
}
#: Impact from W, urgency from state and severity; ServiceNow's matrix of the two. Cuts picked on the sample shop.
_IMPACT = (55.0, 30.0)
_MATRIX = {(1, 1): "P1", (1, 2): "P2", (1, 3): "P3", (2, 1): "P2", (2, 2): "P3", (2, 3): "P4"}
_MATRIX |= {(3, 1): "P3", (3, 2): "P4", (3, 3): "P5"}


def prioritise(problems: pl.DataFrame) -> pl.DataFrame:
    """The problems with priority (P1..P5), weight W (0..100), parts and why (schema.QUEUE).

    problems: one row per problem with a column 0..1 for each of SHARES and state (open | ended | resolved).
    W = 100 · sum(share · value) / sum(share) over the parts that are known; null: not known, and left out.
    points of a part: what it adds to W; the points of a row sum to its weight.
    """
    known = {name: pl.col(name).is_not_null().cast(pl.Float64) * share for name, share in SHARES.items()}
    total = pl.sum_horizontal(*known.values())
    points = {name: 100 * share * pl.col(name).fill_null(0.0) / total for name, share in SHARES.items()}
    weighed = problems.with_columns(
        weight=pl.sum_horizontal(*points.values()),
        parts=pl.concat_list(
            [
                pl.when(pl.col(name).is_not_null()).then(
                    pl.struct(
                        name=pl.lit(name),
                        value=pl.col(name),
                        weight=known[name] / total,
                        points=points[name],
                    )
                )
                for name in SHARES
            ]
        ).list.drop_nulls(),
    )
    largest = (
        pl.col("parts")
        .list.eval(
            pl.format("{} +{}", pl.element().struct.field("name"), pl.element().struct.field("points").round(1))
            .filter(pl.element().struct.field("points") >= 0.5)
            .sort_by(
                pl.element().struct.field("points").filter(pl.element().struct.field("points") >= 0.5), descending=True
            )
        )
        .list.join(", ")
    )
    impact = pl.when(pl.col("weight") >= _IMPACT[0]).then(1).when(pl.col("weight") >= _IMPACT[1]).then(2).otherwise(3)
    urgency = pl.when(pl.col("state") != "open").then(3).when(pl.col("severity") >= 0.5).then(1).otherwise(2)
    return weighed.with_columns(
        priority=(impact * 10 + urgency).replace_strict(
            {10 * high + soon: name for (high, soon), name in _MATRIX.items()}, return_dtype=pl.String
        ),
        why=largest,
    )
