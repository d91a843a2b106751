"""What a team says about detection: how much proof it asks for, when problems are meant, which ones wait."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

import polars as pl

from apilens import schema
from apilens.config import About, Detect, Maintenance, Mute

#: log10 of how much less (more) probable by accident a window must be to open.
LEVELS = {"low": -3.0, "normal": 0.0, "high": 1.5}
#: log10 of the chance at which windows open, by signal; others as anomalies.OPEN_LOG10_P.
_OPENS = {"errors": -5.5, "auth": -5.5, "rate_limit": -5.5}
#: A problem that goes on for so long after the maintenance is one.
AFTERMATH = timedelta(minutes=30)


def sensitised(found: pl.DataFrame, endpoints: pl.DataFrame, settings: Detect, opens: float) -> pl.DataFrame:
    """Anomalies (detect.anomalies.ANOMALIES) whose windows open by the sensitivity asked for.

    endpoints: Fleet.endpoints. opens: log10 of the chance at which windows open where nothing else is said.
    """
    if settings.sensitivity == "normal" and not settings.endpoints:
        return found
    named = {
        row["endpoint"]: (f"{row['method'] or '-'} {row['route'] or '-'}", row["service"])
        for row in endpoints.iter_rows(named=True)
    }
    pairs = found.select("endpoint", "signal").unique()
    levels = [
        _level(settings, *named[endpoint], signal)
        for endpoint, signal in pairs.select("endpoint", "signal").iter_rows()
    ]
    limit = pl.col("signal").replace_strict(_OPENS, default=opens, return_dtype=pl.Float64)
    return (
        found.join(pairs.with_columns(level=pl.Series(levels, dtype=pl.String)), on=["endpoint", "signal"], how="left")
        .filter(pl.col("level") != "off")
        .with_columns(
            opens=pl.when(pl.col("level") == "low")
            .then(pl.col("opens") & (pl.col("log10_p") <= limit + LEVELS["low"]))
            .when(pl.col("level") == "high")
            .then(pl.col("opens") | (pl.col("log10_p") <= limit + LEVELS["high"]))
            .otherwise("opens")
        )
        .drop("level")
    )


def anyway(settings: Detect | None, opens: float) -> float:
    """log10 of the chance at which a window opens by the sensitivity asked for somewhere, whatever its rule says. opens: see sensitised."""
    asked = [] if settings is None else [settings.sensitivity, *(one.sensitivity for one in settings.endpoints)]
    return opens + LEVELS["high"] if "high" in asked else -math.inf


def _level(settings: Detect, endpoint: str, service: str | None, signal: str) -> str:
    return next(
        (one.sensitivity for one in settings.endpoints if _fits(one, endpoint, service, signal)), settings.sensitivity
    )


def _fits(about: About, endpoint: str, service: str | None, signal: str) -> bool:
    return (
        fnmatchcase(endpoint, about.endpoints)
        and about.service in (None, service)
        and (not about.signals or signal in about.signals)
    )


def is_about(about: About, candidate: dict[str, Any]) -> bool:
    """Whether a setting is about a candidate: all of its endpoints fit, and those that have none where any endpoint is meant."""
    if not candidate["endpoints"]:
        return about.endpoints == "*" and _fits(about, "", candidate["service"], candidate["signal"])
    return all(_fits(about, one, candidate["service"], candidate["signal"]) for one in candidate["endpoints"])


def wanted(found: pl.DataFrame, settings: Detect, *, now: datetime) -> pl.DataFrame:
    """Candidates without those of endpoints that are off, and those that are over with the maintenance they began in.

    What lasts half an hour beyond its maintenance is raised then, and says so.
    """
    rows = []
    for row in found.to_dicts():
        if any(one.sensitivity == "off" and is_about(one, row) for one in settings.endpoints):
            continue
        meant = next(
            (one for one in settings.maintenance if one.start <= row["start"] < one.end and is_about(one, row)), None
        )
        if meant is not None:
            late = meant.end + AFTERMATH
            if row["end"] < late or now < late:
                continue
            row["detected_at"] = max(row["detected_at"], late)
            row["explanation"] += f" It began in {_named(meant)} and went on after it."
        rows.append(row)
    return pl.DataFrame(rows, schema=schema.CANDIDATES)


def _named(one: Maintenance) -> str:
    return f"{one.label} ({one.start:%Y-%m-%d %H:%M} to {one.end:%Y-%m-%d %H:%M} UTC)"


def muted(found: pl.DataFrame, mutes: Sequence[Mute], *, now: datetime) -> pl.DataFrame:
    """Candidates, those that are open and muted as of `now` in state muted."""
    standing = [one for one in mutes if one.until > now]
    rows = found.to_dicts()
    for row in rows:
        if row["state"] == "open" and any(mutes_it(one, row) for one in standing):
            row["state"] = "muted"
    return pl.DataFrame(rows, schema=schema.CANDIDATES)


def mutes_it(one: Mute, candidate: dict[str, Any]) -> bool:
    """Whether a mute, standing or over, is about a candidate."""
    return one.fingerprint in (None, candidate["fingerprint"]) and is_about(one, candidate)
