"""Moments: in common log format, ISO 8601, since 1970, or in any layout of strftime."""

from __future__ import annotations

import re
from dataclasses import replace

import polars as pl

from apilens.formats.fields.field import Columns, Field, filled
from apilens.schema import TIMESTAMP

_ISO = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?: ?(?:Z|[+-]\d\d:?\d\d))?"


def clf_time(kind: str) -> Field:
    """02/Mar/2026:00:00:00 +0000, without the brackets; kind: start or end."""

    def read(raw: pl.Expr) -> Columns:
        return {"timestamp": raw.str.to_datetime("%d/%b/%Y:%H:%M:%S %z", time_unit="us", strict=False, cache=True)}

    return Field(
        read, read, accept=filled("timestamp"), accept_careful=filled("timestamp"), pattern=r"\d\d/[A-Za-z]{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}", rank=2,
        mandatory=True, timestamp_kind=kind, expected="a time like 09/Mar/2026:14:00:00 +0000",
    )  # fmt: skip


def iso_time(kind: str, tz: str = "UTC") -> Field:
    """ISO 8601 with an offset; where it has none, tz is its zone. Times in a DST gap do not exist and are refused."""

    def zoned(raw: pl.Expr) -> pl.Expr:
        return raw.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%z", time_unit="us", strict=False, cache=True)

    def quick(raw: pl.Expr) -> Columns:
        return {"timestamp": zoned(raw)}

    def careful(raw: pl.Expr) -> Columns:
        even = raw.str.replace(" ", "T", literal=True).str.replace(",", ".", literal=True).str.replace(r" ?Z$", "+0000")
        local = even.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False, cache=True)
        placed = local.dt.replace_time_zone(tz, ambiguous="earliest", non_existent="null").dt.convert_time_zone("UTC")
        return {"timestamp": pl.coalesce(zoned(even), placed)}

    return Field(
        quick,
        careful,
        accept=filled("timestamp"),
        accept_careful=filled("timestamp"),
        pattern=_ISO,
        rank=1,
        mandatory=True,
        timestamp_kind=kind,
        expected="a time like 2026-03-09T14:00:00Z that exists in its zone",
    )


_EPOCHS = {1e6: "seconds", 1e3: "milliseconds", 1.0: "microseconds", 1e-3: "nanoseconds"}


def utc_time(kind: str) -> Field:
    """ISO 8601 as most gateways write it: in UTC, with a Z. Other forms are read carefully."""

    def quick(raw: pl.Expr) -> Columns:
        moment = raw.str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", strict=False, cache=True)
        return {"timestamp": moment.dt.replace_time_zone("UTC")}

    return replace(iso_time(kind), quick=quick)


def epoch_time(kind: str, us_per_unit: float, *, rank: int = 0) -> Field:
    """Time since 1970-01-01 UTC as a decimal number; us_per_unit: microseconds in one unit. rank as in Field."""

    def read(raw: pl.Expr) -> Columns:
        # float64 holds microseconds of this epoch exactly (2^53 us reaches the year 2255).
        us = (raw.cast(pl.Float64, strict=False) * us_per_unit).round()
        plausible = us.is_between(0, 2**52)
        return {"timestamp": pl.when(plausible).then(us).cast(pl.Int64).cast(TIMESTAMP)}

    return Field(
        read,
        read,
        accept=filled("timestamp"),
        accept_careful=filled("timestamp"),
        pattern=r"\d+(?:\.\d+)?",
        rank=rank,
        mandatory=True,
        timestamp_kind=kind,
        expected=f"a time as {_EPOCHS.get(us_per_unit, 'a number')} since 1970",
    )


def written_time(kind: str, tz: str = "UTC", *, rank: int = 0) -> Field:
    """The time of a gateway that has several encoders: RFC 3339, `2006/01/02 15:04:05`, CLF, or a number since 1970.

    A number is in s, ms, us or ns: 30 years of one unit lie clear of those of the next. rank as in Field.
    """
    iso, clf = iso_time(kind, tz), clf_time(kind)

    def read(raw: pl.Expr) -> Columns:
        number = raw.str.contains(r"^\d+(?:\.\d+)?(?:[eE]\+?\d+)?$")
        # Each is read of its own kind only: what is null costs nothing.
        digits, words = pl.when(number).then(raw), pl.when(~number).then(raw)
        since = digits.cast(pl.Float64, strict=False)
        unit = pl.when(since < 1e11).then(1e6).when(since < 1e14).then(1e3).when(since < 1e17).then(1.0).otherwise(1e-3)
        # float64 does not hold the ns of this epoch, but an integer does.
        us = pl.coalesce(
            digits.cast(pl.Int64, strict=False) // pl.when(since >= 1e17).then(1000), (since * unit).round()
        )
        us = us.cast(pl.Int64, strict=False)
        text = words.str.replace(r"^(\d{4})/(\d\d)/(\d\d) ", "${1}-${2}-${3} ").str.replace(r"^\[(.*)\]$", "${1}")
        times = [iso.careful(text)["timestamp"], clf.careful(text)["timestamp"]]
        return {
            "timestamp": pl.when(number & us.is_between(0, 2**52))
            .then(us.cast(TIMESTAMP))
            .otherwise(pl.coalesce(times))
        }

    return Field(
        utc_time(kind).quick,
        read,
        accept=filled("timestamp"),
        accept_careful=filled("timestamp"),
        rank=rank,
        mandatory=True,
        timestamp_kind=kind,
        expected="a time like 2026-03-09T14:00:00Z, or seconds since 1970",
    )


_STRFTIME = {"Y": r"\d{4}", "b": "[A-Za-z]{3}", "z": r"[+-]\d{4}", "T": r"\d\d:\d\d:\d\d", "F": r"\d{4}-\d\d-\d\d"}
_STRFTIME |= dict.fromkeys("mdHMSyI", r"\d\d") | {"e": r"[ \d]\d", ":z": r"[+-]\d\d:\d\d", "s": r"\d+"}
_STRFTIME |= {f"{digits}f": rf"\d{{{digits}}}" for digits in "369"} | {".f": r"(?:\.\d+)?"}


def _strftime_pattern(layout: str) -> str:
    """What a strftime layout writes, as a regex; a directive we do not know may write anything."""
    pieces = re.split(r"%([.:]?\d?.)", layout)
    return "".join(_STRFTIME.get(piece, ".+?") if i % 2 else re.escape(piece) for i, piece in enumerate(pieces))


def strftime_time(kind: str, layout: str, tz: str = "UTC") -> Field:
    """A time in a strftime layout, in zone tz unless the layout has %z."""

    def read(raw: pl.Expr) -> Columns:
        zoned = "%z" in layout
        moment = raw.str.to_datetime(layout, time_unit="us", strict=False, cache=True)
        if not zoned:
            moment = moment.dt.replace_time_zone(tz, ambiguous="earliest", non_existent="null")
        return {"timestamp": moment.dt.convert_time_zone("UTC")}

    return Field(
        read,
        read,
        accept=filled("timestamp"),
        accept_careful=filled("timestamp"),
        pattern=_strftime_pattern(layout),
        rank=2,
        mandatory=True,
        timestamp_kind=kind,
        expected=f"a time in the layout {layout}",
    )
