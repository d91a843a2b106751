"""What to work on first: the business side of a problem, every part of it shown."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import polars as pl

from apilens.triage.severity import CUTS

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
#: Points a weight has to pass a cut by before the impact follows: a priority that flips with every call is none.
_HYSTERESIS = 5.0
#: RICE's impact (Intercom's scale: massive 3, high 2, medium 1, low 0.5); confidence in what telemetry shows and in what is
#: only said; effort, in person-weeks, is what a person set, else 1. Confidence picked.
_RICE_IMPACT = {"critical": 3.0, "high": 2.0, "medium": 1.0, "low": 0.5}
_CONFIDENCE = {"candidate": 1.0, "feedback": 0.5}
MOSCOW = ("must", "should", "could", "wont")
PRIORITIES = ("P1", "P2", "P3", "P4", "P5")

#: What a triage leaves for the next one: one row per problem.
RANKING = pl.Schema(
    [
        ("id", pl.String),
        ("weight", pl.Float64),
        ("impact", pl.Int64),  # 1 is the greatest
        ("priority", pl.String),
        ("hit", pl.Int64),
        ("told", pl.Int64),
        ("points", pl.List(pl.Struct({"name": pl.String, "points": pl.Float64}))),
    ]
)
#: One row per problem of which people set the priority or the effort: subject (fingerprint, or channel:id), kind (priority |
#: effort), verdict, who, why, until.
OVERRIDES = pl.Schema(
    [
        ("subject", pl.String),
        ("kind", pl.String),
        ("verdict", pl.String),
        ("who", pl.String),
        ("why", pl.String),
        ("until", pl.Datetime("us", "UTC")),
    ]
)


def prioritise(problems: pl.DataFrame, before: pl.DataFrame, overrides: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """The problems with priority (P1..P5), weight W (0..100), parts, why, moved, override, rice and moscow (schema.QUEUE).

    problems: one row per problem with a column 0..1 for each of SHARES, state (open | ended | resolved), kind, label (of its
    severity), id, fingerprint, category, hit, told and core. before: RANKING of the triage before. overrides: OVERRIDES.
    W = 100 · sum(share · value) / sum(share) over the parts that are known; null: not known, and left out.
    points of a part: what it adds to W; the points of a row sum to its weight. The impact of a problem known before follows
    its weight only 5 points beyond a cut. An override stands until `until`; what would have been is not lost: W shows it.
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
    # A remark that no log shows and that calls nothing bad can wait as long as what is over.
    remark = (pl.col("kind") == "feedback") & (pl.col("severity") < CUTS["medium"])
    can_wait = (pl.col("state") != "open") | remark
    urgency = pl.when(can_wait).then(3).when(pl.col("severity") >= CUTS["high"]).then(1).otherwise(2)
    computed = (
        weighed.join(before.select("id", was=pl.col("impact")), on="id", how="left", maintain_order="left")
        .with_columns(impact=_impact(), why=largest)
        .with_columns(
            priority=(pl.col("impact") * 10 + urgency).replace_strict(
                {10 * high + soon: name for (high, soon), name in _MATRIX.items()}, return_dtype=pl.String
            )
        )
    )
    return computed.pipe(_overridden, overrides, now).with_columns(_moscow().alias("moscow")).pipe(_moves, before)


def _impact() -> pl.Expr:
    """1 (great) to 3: by the cuts, and for what had one before (`was`) by cuts 5 points further off."""

    def level(shift: float) -> pl.Expr:
        great, some = (cut + shift for cut in _IMPACT)
        return pl.when(pl.col("weight") >= great).then(1).when(pl.col("weight") >= some).then(2).otherwise(3)

    up, down = level(_HYSTERESIS), level(-_HYSTERESIS)
    return (
        pl.when(pl.col("was").is_null())
        .then(level(0.0))
        .when(up < pl.col("was"))
        .then(up)
        .when(down > pl.col("was"))
        .then(down)
        .otherwise("was")
    )


def _overridden(problems: pl.DataFrame, overrides: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """With the priority people set, who set it, and RICE by the effort they set."""
    stands = overrides.filter(pl.col("until").is_null() | (pl.col("until") > now))
    told = pl.concat_str(
        "who",
        pl.format(" until {}", pl.col("until").dt.strftime("%Y-%m-%d %H:%MZ")).fill_null(""),
        pl.format(": {}", "why").fill_null(""),
    )
    priority = stands.filter(pl.col("kind") == "priority", pl.col("verdict").is_in(PRIORITIES)).select(
        "subject", given="verdict", override=told
    )
    effort = stands.filter(pl.col("kind") == "effort").select(
        "subject", effort=pl.col("verdict").cast(pl.Float64, strict=False)
    )
    reach = pl.max_horizontal("hit", "told").fill_null(0).cast(pl.Float64)
    impact = pl.col("label").replace_strict(_RICE_IMPACT, default=0.5, return_dtype=pl.Float64)
    confidence = pl.col("kind").replace_strict(_CONFIDENCE, return_dtype=pl.Float64)
    return (
        problems.with_columns(subject=pl.coalesce("fingerprint", "id"))
        .join(priority, on="subject", how="left", maintain_order="left")
        .join(effort, on="subject", how="left", maintain_order="left")
        .with_columns(
            pl.coalesce("given", "priority").alias("priority"),
            rice=reach * impact * confidence / pl.col("effort").fill_null(1.0),
        )
    )


def _moscow() -> pl.Expr:
    """Must: P1, a matter of compliance, a blocked core function. Should: P2, or W >= 50. Won't: a wish below W 20."""
    blocked = pl.col("core").fill_null(False) & (pl.col("label") == "critical")
    running = pl.col("state") == "open"
    return (
        pl.when((pl.col("priority") == "P1") | (running & (blocked | (pl.col("compliance") >= 1.0).fill_null(False))))
        .then(pl.lit("must"))
        .when((pl.col("priority") == "P2") | (pl.col("weight") >= 50))
        .then(pl.lit("should"))
        .when((pl.col("category") == "enhancement") & (pl.col("weight") < 20))
        .then(pl.lit("wont"))
        .otherwise(pl.lit("could"))
    )


def ranking(ranked: pl.DataFrame) -> pl.DataFrame:
    """RANKING of prioritised problems."""
    points = pl.col("parts").list.eval(
        pl.struct(pl.element().struct.field("name"), pl.element().struct.field("points"))
    )
    return ranked.select(points.alias("points") if name == "points" else name for name in RANKING)


def _moves(ranked: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """With what moved each problem since the triage before, in words."""
    earlier = {row["id"]: row for row in before.to_dicts()}
    moved = [
        _moved(earlier[row["id"]], row) if row["id"] in earlier else None
        for row in ranked.select("id", "weight", "priority", "hit", "told", "parts", "override").to_dicts()
    ]
    return ranked.with_columns(moved=pl.Series(moved, dtype=pl.String))


def _moved(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    by = new["weight"] - old["weight"]
    changed = [f"{old['priority']}→{new['priority']}"] if old["priority"] != new["priority"] else []
    if abs(by) < 0.5 and not changed:
        return None
    points = {part["name"]: part["points"] for part in new["parts"]}
    for part in old["points"]:
        points[part["name"]] = points.get(part["name"], 0.0) - part["points"]
    largest = sorted(points.items(), key=lambda entry: (-abs(entry[1]), entry[0]))
    counts = [
        f"{name} {old[name]}→{new[name]}"
        for name in ("hit", "told")
        if old[name] is not None and old[name] != new[name]
    ]
    why = [f"{name} {value:+.0f}" for name, value in largest[:3] if abs(value) >= 0.5]
    set_by = [f"set by {new['override']}"] if new["override"] and changed else []
    return f"{by:+.0f}: " + ", ".join([*changed, *set_by, *counts, *why])
