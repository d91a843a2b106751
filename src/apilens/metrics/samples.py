"""Samples as a reader collects them, a series at a time, before anybody asks what they mean."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from apilens.schema import TIMESTAMP, table

#: Before 1990 and from 2100 on nothing was measured: a clock or a unit is wrong.
_FIRST_US, _END_US = 631_152_000_000_000, 4_102_444_800_000_000
#: Above it a change of unit or a mean would overflow.
_MOST = 1e290
#: Labels that name the machine, the first one counts.
NODE = ("node", "host", "hostname", "nodename", "instance", "server", "machine", "pod", "container")
_ENVIRONMENT = ("environment", "env")
#: One row per sample; names and units as exported.
RAW = table(
    {
        "timestamp": TIMESTAMP,
        "metric": pl.String,
        "node": pl.String,
        "environment": pl.String,
        "labels": pl.String,
        "value": pl.Float64,
        "unit": pl.String,  # as the export says; null: it does not
    }
)


@dataclass
class Samples:
    """parts: RAW with a null metric where the export has none; rejects: where, reason; empty: samples without a value."""

    parts: list[pl.DataFrame] = field(default_factory=list)
    rejects: list[tuple[str, str]] = field(default_factory=list)
    empty: int = 0

    def add(
        self,
        labels: Mapping[str, str],
        where: Sequence[str],
        times_us: Sequence[int | None],
        values: Sequence[float | None],
        shown: Sequence[str],
        unit: str | None = None,
    ) -> None:
        """One series. labels: with the metric's name as __name__. where, shown: place and text of each sample, for rejects.

        times_us: epoch microseconds, None: no time. values: None: no number, NaN: nothing was measured.
        """
        good_times, good_values = [], []
        for at, value, place, text in zip(times_us, values, where, shown, strict=True):
            if at is None or not _FIRST_US <= at < _END_US:
                self.rejects.append((place, f"{text[:60]!r} has no time between 1990 and 2099"))
            elif value is None:
                self.rejects.append((place, f"value is {text[:60]!r}, expected a number"))
            elif not math.isfinite(value):
                self.empty += 1
            elif abs(value) > _MOST:
                self.rejects.append((place, f"value is {text[:60]!r}, which nothing measures"))
            else:
                good_times.append(at)
                good_values.append(value)
        rest = {key: text for key, text in sorted(labels.items()) if key != "__name__"}
        spelled = {key.lower(): text for key, text in rest.items()}
        self.parts.append(
            pl.DataFrame(
                {"timestamp": good_times, "value": good_values}, schema={"timestamp": pl.Int64, "value": pl.Float64}
            )
            .with_columns(
                pl.col("timestamp").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
                metric=pl.lit(labels.get("__name__") or None, pl.String),
                node=pl.lit(next((_host(spelled[name]) for name in NODE if spelled.get(name)), None), pl.String),
                environment=pl.lit(
                    next((spelled[name] for name in _ENVIRONMENT if spelled.get(name)), None), pl.String
                ),
                labels=pl.lit(json.dumps(rest, ensure_ascii=False), pl.String),
                unit=pl.lit(unit, pl.String),
            )
            .select(pl.col(name).cast(dtype) for name, dtype in RAW.items())
        )

    def frame(self, stem: str) -> pl.DataFrame:
        """RAW, series without a name called `stem`."""
        return pl.concat([RAW.to_frame(), *self.parts]).with_columns(pl.col("metric").fill_null(stem))


def _host(instance: str) -> str:
    """`gw-1:9100` is measured on gw-1, `[::1]:9100` on [::1]."""
    host, _, port = instance.rpartition(":")
    alone = host and port.isdecimal() and (":" not in host or host.endswith("]"))
    return host if alone else instance
