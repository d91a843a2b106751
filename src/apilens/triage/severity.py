"""How bad a problem is technically, whoever it hits: severity, which is not priority."""

from __future__ import annotations

import polars as pl

from apilens.schema import SIGNALS

#: Lower cut of each severity on 0..1.
CUTS = {"critical": 0.75, "high": 0.50, "medium": 0.25, "low": 0.0}
_Z = 1.96  # 95 %
#: Words of a report → how bad they say it is. The highest that is said counts.
_SAID = (
    (
        1.0,
        r"(?i)\b(data loss|lost (data|orders|money)|nobody can|no one can|all (our )?(customers|users)|complete(ly)? "
        r"(outage|down)|production is down|security|breach|leak(ed|s)?|charged (twice|two times)|double charge)\b",
    ),
    (
        0.75,
        r"(?i)\b(urgent\w*|asap|blocked|blocker|critical|outage|is down|cannot work|legally|deadline|refund|money|"
        r"dringend|vite)\b",
    ),
    (
        0.5,
        r"(?i)\b(errors?|fail\w*|broken|crash\w*|cannot|can'?t|can not|could not|time[ds]? ?-?outs?|5\d\d|fehler\w*|"
        r"erreurs?|rejected|frozen|not accepted)\b",
    ),
    (0.35, r"(?i)\b(slow\w*|sluggish|annoying|forever|langsam|dauert|inconvenient|sometimes)\b"),
    (0.1, r"(?i)\b(cosmetic|typo|colou?r|font|alignment|misaligned|icon|wording|spelling|dark mode|logo)\b"),
)


def severity(candidates: pl.DataFrame) -> pl.DataFrame:
    """One row per candidate: id and severity_score, 0..1 as the logs show it.

    candidates: schema.CANDIDATES. The maximum of the rule for the unit and the lower cut of the severity its
    detector gave: error ratios min(1, (Wilson lower bound - expected) / 0.20); latency clip(log2(observed /
    expected) / 3); missing calls the share that is missing (surplus calls are judged by the detector alone).
    Source: the design's figures; Wilson 1927 for the bound.
    """
    n, p = pl.col("n").cast(pl.Float64), pl.col("observed").clip(0.0, 1.0)
    wilson = (p + _Z**2 / (2 * n) - _Z * (p * (1 - p) / n + _Z**2 / (4 * n**2)).sqrt()) / (1 + _Z**2 / n)
    by_unit = (
        pl.when((pl.col("unit") == "ratio") & (n > 0))
        .then((wilson - pl.col("expected").fill_null(0.0)) / 0.20)
        .when((pl.col("unit") == "ms") & (pl.col("expected") > 0) & (pl.col("observed") > 0))
        .then((pl.col("observed") / pl.col("expected")).log(2.0) / 3)
        .when((pl.col("unit") == "calls") & (pl.col("expected") > 0))
        .then(1 - pl.col("observed") / pl.col("expected"))
        .clip(0.0, 1.0)
    )
    given = pl.col("severity").replace_strict(CUTS, default=0.0, return_dtype=pl.Float64)
    # A share of retries, a full disk or calls missing in the log are no failures: their detectors say how bad that is.
    by_unit = pl.when(pl.col("signal").is_in(SIGNALS)).then(by_unit)
    return candidates.select("id", severity_score=pl.max_horizontal(by_unit.fill_null(0.0), given.fill_null(0.0)))


def said_severity(items: pl.DataFrame) -> pl.DataFrame:
    """One row per item: channel, id and said, 0..1: how bad its words make it; 0.2 when they do not say.

    items: schema.ITEMS.
    """
    text = pl.concat_str(["title", "body"], separator="\n", ignore_nulls=True).fill_null("")
    said = pl.coalesce([pl.when(text.str.contains(pattern)).then(value) for value, pattern in _SAID])
    return items.select("channel", "id", said=said.fill_null(0.2).cast(pl.Float64))


def label(score: pl.Expr) -> pl.Expr:
    """The severity (schema.SEVERITIES) of a score 0..1."""
    return pl.coalesce([pl.when(score >= cut).then(pl.lit(name)) for name, cut in CUTS.items()])
