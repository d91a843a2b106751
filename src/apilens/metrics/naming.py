"""What a series is, told by its name: kind, unit, and whether it is a counter. What the user says about it goes before.

Names follow Prometheus' conventions ("Metric and label naming": base units as suffix, _total for counters) where they can.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import polars as pl

from apilens.schema import METRIC_SERIES, METRICS

_KINDS = (
    (
        "database",
        r"(?i)database|(^|_)db(_|$)|sql|postgres|(^|_)pg_|mongo|redis|oracle|(^|_)query|connection_?pool|hikari",
    ),
    ("memory", r"(?i)mem(ory)?(_|$|\b|used|free)|heap|(^|_)rss|swap|(^|_)ram(_|$)"),
    ("disk", r"(?i)disk|filesystem|(^|_)fs_|iops|iowait|(^|_)io(_|$)|volume|storage"),
    ("network", r"(?i)net(work)?(_|$|\b)|bandwidth|receive|transmit|(^|_)tcp|packet|(^|_)rtt|ping"),
    ("cpu", r"(?i)cpu|processor|(^|_)load\d*(_|$)|^%(usr|user|sys|system|idle)$"),
)
_PERCENT = r"(?i)percent|(^|_)pct(_|$)|%"
_RATIO = r"(?i)ratio"
_SHARE = r"(?i)utili[sz]ation|usage|(^|_)used(_|$)|busy|saturation|free|avail|idle|^(cpu|memory|mem|disk)$|(^|_)(cpu|memory|mem|disk)(_|$)"
_SECONDS = r"(?i)seconds|(^|_)secs?(_|$)"
_MILLIS = r"(?i)(^|_)ms(_|$)|milliseconds|millis"
_BYTES = r"(?i)bytes"
_COUNTER = r"(?i)_(total|bucket)$"
#: Of a histogram or summary, whose name has a unit; connections, threads and files are counted under such names as well, and fall.
_SUMMED = r"(?i)_(count|sum)$"
_SIZED = r"(?i)_(seconds|millis(econds)?|ms|bytes|duration|latency|time|size)_(count|sum)$"
#: A counter falls when its process starts anew: once in an export, or with one sample in so many.
RESTARTS = 20
#: Unit a user names -> unit of schema.METRICS and factor.
UNITS = {
    "ratio": ("ratio", 1.0),
    "percent": ("ratio", 0.01),
    "ms": ("ms", 1.0),
    "s": ("ms", 1e3),
    "bytes": ("bytes", 1.0),
}


@dataclass(frozen=True)
class Rule:
    """What is said about the series whose name matches: see config.MetricRule."""

    match: str
    kind: str | None = None
    unit: str | None = None
    above: float | None = None
    below: float | None = None
    minutes: int = 15

    def fits(self, metric: str) -> bool:
        """Whether the rule is about this metric."""
        return fnmatchcase(metric, self.match)


def describe(raw: pl.DataFrame, rules: tuple[Rule, ...], known: pl.DataFrame | None) -> pl.DataFrame:
    """schema.METRICS without source_file and import_id, from samples.RAW; see read_metrics."""
    keys = list(METRIC_SERIES)
    series = raw.group_by(keys, maintain_order=True).agg(
        said=pl.col("unit").drop_nulls().first(),
        low=pl.col("value").min(),
        high=pl.col("value").max(),
        samples=pl.len(),
        falls=(pl.col("value").sort_by("timestamp").diff() < 0).sum(),
    )
    said = [_describe(row, rules) for row in series.iter_rows(named=True)]
    facts = pl.DataFrame(
        said,
        schema={"kind": pl.String, "unit": pl.String, "scale": pl.Float64, "counter": pl.Boolean},
        orient="row",
    )
    series = pl.concat([series.select(keys), facts], how="horizontal")
    if known is not None and known.height:
        series = series.join(
            known.select(*keys, *facts.columns), on=keys, how="left", nulls_equal=True, suffix="_known"
        )
        # The scale was told by the first export's numbers: a quiet hour of a metric in percent must not look like ratios.
        series = series.with_columns(
            kind=pl.coalesce("kind_known", "kind"),
            unit=pl.coalesce("unit_known", "unit"),
            scale=pl.coalesce("scale_known", "scale"),
            counter=pl.coalesce("counter_known", "counter"),
        )
    names = [name for name in METRICS.names() if name not in ("source_file", "import_id")]
    return (
        raw.drop("unit")
        .join(series.select(*keys, *facts.columns), on=keys, how="left", nulls_equal=True, maintain_order="left")
        .with_columns(value=pl.col("value") * pl.col("scale"))
        .select(names)
    )


def _describe(row: dict[str, Any], rules: tuple[Rule, ...]) -> tuple[str, str, float, bool]:
    name = str(row["metric"])
    fitting = [rule for rule in rules if rule.fits(name)]
    kind = next((rule.kind for rule in fitting if rule.kind), None)
    kind = kind or next((kind for kind, pattern in _KINDS if re.search(pattern, name)), "other")
    limited = any(rule.above is not None or rule.below is not None for rule in fitting)
    counter = row["said"] is None and _only_grows(name, limited, row["samples"], row["falls"])
    asked = next((rule.unit for rule in fitting if rule.unit), None)
    if asked is not None:
        return kind, *UNITS[asked], counter
    if row["said"] is not None:
        return kind, str(row["said"]), 1.0, False  # the reader has brought it to its unit
    low = float(row["low"]) if isinstance(row["low"], float) else 0.0
    high = float(row["high"]) if isinstance(row["high"], float) else 0.0
    if re.search(_PERCENT, name):
        return kind, "ratio", 0.01, counter
    if re.search(_RATIO, name):
        return kind, "ratio", 1.0, counter
    if re.search(_BYTES, name):
        return kind, "bytes", 1.0, counter
    if counter:
        return kind, "", 1.0, True
    if re.search(_SECONDS, name):
        return kind, "ms", 1e3, False
    if re.search(_MILLIS, name):
        return kind, "ms", 1.0, False
    if kind != "network" and re.search(_SHARE, name) and low >= 0 and high <= 100:
        # A full CPU is measured as 1.02 now and then; a metric in percent that never leaves 1.5 is rarer.
        return kind, "ratio", 1.0 if high <= 1.5 else 0.01, False
    return kind, "", 1.0, False


def _only_grows(name: str, limited: bool, samples: int, falls: int) -> bool:
    """Whether a series is a counter: by its name, else, where that says "a count" alone, unless its values fall or the user has set
    a limit to them, as to the connections of pg_stat_activity_count."""
    if re.search(_COUNTER, name) or re.search(_SIZED, name):
        return True
    return re.search(_SUMMED, name) is not None and not limited and falls <= max(1, samples // RESTARTS)
