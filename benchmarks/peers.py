"""`python benchmarks/peers.py`: recall of the detector against others, on the same worlds at the same false rate, in one run.

Usage: python benchmarks/peers.py [PROFILE:SEED …] [--work DIR] [--endpoints 40] [--days 14] [--false-rate 0.05] [--fleet LAKE]
Each peer sees 15-minute series per endpoint (error ratio, log latency, calls) of the same rollups; what it marks within an hour of
the last mark on the same endpoint is one ticket. In its favour the labels choose, per signal, its threshold, how many marks in a
row make a ticket (1, 2, 4) and from how many calls on a step counts (0, 10, 30), so that it finds most at no more than --false-rate
false tickets per endpoint-week. apilens is scored as it is. Peers that are not installed
(statsmodels; adtk) are said to be missing.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from detection import candidates, world_folder
from scoring import Score

from apilens.detect import baseline, find_candidates
from apilens.lens import Lens
from apilens.schema import BIN_S

STEP_S = 900
DAY = 86_400 // STEP_S
WARM_UP = 4 * DAY
#: Marks per series that are looked at when the threshold is chosen; more than any tolerable false rate needs.
QUANTILES = 1 - np.logspace(-4.5, -1.2, 14)
SIGNALS = ("errors", "latency", "traffic")
Series = dict[str, np.ndarray]  # signal → (endpoints, steps); nan: no calls


def series_of(folder: Path) -> tuple[Series, np.ndarray, list[str], float]:
    """Error ratio, mean log ms and log calls per 15 minutes; calls; endpoint names; start of the first step."""
    rollups = Lens(str(folder / "lake")).rollups().filter(pl.col("synthetic_type").is_null()).collect()
    catalog = json.loads((folder / "catalog.json").read_text())
    names = [f"{one['method']} {one['path']}" for one in catalog["endpoints"]]
    steps = catalog["minutes"] * 60 // STEP_S
    rows = rollups.with_columns(
        endpoint=pl.concat_str("method", pl.lit(" "), "route"),
        step=(pl.col("bin_start").dt.epoch("s") - catalog["t0"]) // STEP_S,
    ).filter(pl.col("endpoint").is_in(names) & pl.col("step").is_between(0, steps - 1))
    sums = rows.group_by("endpoint", "step").agg(
        pl.col("calls").sum(),
        errors=pl.col("calls").filter(pl.col("status_code") >= 400).sum(),
        timed=pl.col("durations").filter(pl.col("status_code") < 400).sum(),
        log=pl.col("log_duration_sum").filter(pl.col("status_code") < 400).sum(),
    )
    place = {name: number for number, name in enumerate(names)}
    at = (np.array([place[name] for name in sums["endpoint"]]), sums["step"].to_numpy())
    grid = {name: np.zeros((len(names), steps)) for name in ("calls", "errors", "timed", "log")}
    for name, matrix in grid.items():
        matrix[at] = sums[name].to_numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        found = {
            "errors": np.where(grid["calls"] > 0, grid["errors"] / grid["calls"], np.nan),
            "latency": np.where(grid["timed"] > 0, grid["log"] / grid["timed"], np.nan),
            "traffic": np.log1p(grid["calls"]),
        }
    return found, grid["calls"], names, float(catalog["t0"])


def hour_of_day(series: Series, calls: np.ndarray) -> Series:
    """Robust z against the same quarter of an hour on the seven days before (median and MAD)."""
    found = {}
    for signal, matrix in series.items():
        past = np.stack([np.roll(matrix, lag * DAY, axis=1) for lag in range(1, 8)])
        for lag in range(1, 8):
            past[lag - 1, :, : lag * DAY] = np.nan
        middle = np.nanmedian(past, axis=0)
        spread = 1.4826 * np.nanmedian(np.abs(past - middle), axis=0)
        floor = np.nanmedian(spread, axis=1, keepdims=True)
        z = (matrix - middle) / np.maximum(spread, np.maximum(floor, 1e-3))
        found[signal] = np.abs(z) if signal == "traffic" else z
    return found


def burn_rate(series: Series, calls: np.ndarray) -> Series:
    """Multi-window burn rate of a 99.9 % objective on all errors: the lower of long and short window, per pair."""
    errors = np.nan_to_num(series["errors"]) * calls

    def burn(steps: int) -> np.ndarray:
        def window(matrix: np.ndarray) -> np.ndarray:
            total = np.concatenate([np.zeros((len(matrix), 1)), np.cumsum(matrix, axis=1)], axis=1)
            end = np.arange(1, matrix.shape[1] + 1)
            return total[:, end] - total[:, np.maximum(end - steps, 0)]

        return window(errors) / np.maximum(window(calls), 1) / 0.001

    pairs = ((4, 1, 14.4), (24, 2, 6.0), (96, 8, 3.0), (288, 24, 1.0))
    return {"errors": np.max([np.minimum(burn(long), burn(short)) / factor for long, short, factor in pairs], axis=0)}


def isolation_forest(series: Series, calls: np.ndarray) -> Series:
    """One forest over all endpoints' windows, each feature standardised by its endpoint's warm-up; fitted on the warm-up."""
    from sklearn.ensemble import IsolationForest

    features = []
    for matrix in series.values():
        first = matrix[:, :WARM_UP]
        features.append(
            np.nan_to_num(
                (matrix - np.nanmean(first, axis=1, keepdims=True)) / (np.nanstd(first, axis=1, keepdims=True) + 1e-3)
            )
        )
    steps = features[0].shape[1]
    for wave in (np.sin, np.cos):
        features.append(np.tile(wave(np.arange(steps) / DAY * 2 * np.pi), (len(calls), 1)))
    table = np.stack(features, axis=-1)
    forest = IsolationForest(n_estimators=100, random_state=0).fit(table[:, :WARM_UP].reshape(-1, table.shape[-1]))
    score = -forest.score_samples(table.reshape(-1, table.shape[-1])).reshape(table.shape[:2])
    main = np.argmax(np.abs(table[..., :3]), axis=-1)
    return {signal: np.where(main == number, score, -np.inf) for number, signal in enumerate(series)}


def stl_mad(series: Series, calls: np.ndarray) -> Series:
    """Robust z of what a seasonal decomposition by LOESS leaves (the whole series: it even sees the future)."""
    from statsmodels.tsa.seasonal import STL

    found = {}
    for signal, matrix in series.items():
        rest = np.full_like(matrix, np.nan)
        for number, row in enumerate(matrix):
            if np.isnan(row).all():
                continue
            filled = np.interp(np.arange(len(row)), np.flatnonzero(~np.isnan(row)), row[~np.isnan(row)])
            rest[number] = STL(filled, period=DAY, robust=False).fit().resid
        z = rest / (1.4826 * np.nanmedian(np.abs(rest), axis=1, keepdims=True) + 1e-3)
        found[signal] = np.abs(z) if signal == "traffic" else z
    return found


def adtk_seasonal(series: Series, calls: np.ndarray, day: int = DAY) -> Series:
    """adtk's classic seasonal decomposition, and how many interquartile ranges off what it leaves is. day: steps of one."""
    import pandas as pd
    from adtk.transformer import ClassicSeasonalDecomposition

    found = {}
    for signal, matrix in series.items():
        score = np.full_like(matrix, np.nan)
        for number, row in enumerate(matrix):
            if np.isnan(row).all():
                continue
            index = pd.date_range("2026-03-02", periods=len(row), freq=f"{86_400 // day}s")
            filled = pd.Series(row, index=index).interpolate(limit_direction="both")
            rest = ClassicSeasonalDecomposition(freq=day).fit_transform(filled).to_numpy()
            low, high = np.nanquantile(rest, [0.25, 0.75])
            score[number] = np.maximum(rest - high, (low - rest) if signal == "traffic" else -np.inf) / (
                high - low + 1e-3
            )
        found[signal] = score
    return found


PEERS: dict[str, Callable[[Series, np.ndarray], Series]] = {
    "hour-of-day robust z": hour_of_day,
    "SRE burn rate": burn_rate,
    "IsolationForest": isolation_forest,
    "STL + MAD": stl_mad,
    "adtk seasonal": adtk_seasonal,
}


def tickets(signal: str, marked: np.ndarray, least: int, names: list[str], t0: float) -> list[dict[str, Any]]:
    """One ticket per endpoint while its marks are no further apart than an hour, raised at the `least`th of them."""
    found = []
    hint = dict.fromkeys(("status", "upstream", "consumer", "node"))
    for number, name in enumerate(names):
        marks = np.flatnonzero(marked[number])
        for run in np.split(marks, np.flatnonzero(np.diff(marks) > 4) + 1):
            if len(run) >= least:
                raised, end = (
                    datetime.fromtimestamp(t0 + (step + 1) * STEP_S, UTC) for step in (run[least - 1], run[-1])
                )
                found.append({"detected_at": raised, "end": end, "endpoints": [name], "signal": signal, "hint": hint, "score": float(len(run)), "title": ""})  # fmt: skip
    return found


def best(worlds: list[tuple[Path, Series, np.ndarray]], false_rate: float) -> tuple[float, float]:
    """Recall and false rate of the settings, chosen per signal with the labels, that find most within the false rate."""
    known = [
        (*(json.loads((folder / file).read_text()) for file in ("labels.json", "catalog.json")), scores, calls)
        for folder, scores, calls in worlds
    ]
    curves = []
    for signal in worlds[0][1]:
        # false tickets → the most faults that this signal finds with so many
        curve: dict[int, frozenset[tuple[int, str]]] = {0: frozenset()}
        for least_calls in (0, 10, 30):
            values = [np.where(calls >= least_calls, scores[signal], np.nan) for _, _, scores, calls in known]
            pool = np.concatenate([one[:, WARM_UP:][np.isfinite(one[:, WARM_UP:])] for one in values])
            for limit in np.quantile(pool, QUANTILES):
                for least in (1, 2, 4):
                    score = Score()
                    for (labels, catalog, _, _), one in zip(known, values, strict=True):
                        names = [f"{each['method']} {each['path']}" for each in catalog["endpoints"]]
                        marked = np.nan_to_num(one, nan=-np.inf) > limit
                        score.add(labels, catalog, tickets(signal, marked, least, names, catalog["t0"]))
                    weeks, planted = score.endpoint_weeks, sum(score.planted.values())
                    if len(score.false) <= false_rate * weeks:
                        kept = curve.get(len(score.false), frozenset())
                        curve[len(score.false)] = max(kept, frozenset(score.hits), key=len)
        curves.append(curve)
    together = {0: frozenset[tuple[int, str]]()}
    for curve in curves:
        merged: dict[int, frozenset[tuple[int, str]]] = {}
        for false, hits in together.items():
            for more, others in curve.items():
                if false + more <= false_rate * weeks:
                    merged[false + more] = max(merged.get(false + more, frozenset()), hits | others, key=len)
        together = merged
    false, hits = max(together.items(), key=lambda one: (len(one[1]), -one[0]))
    return len(hits) / planted, false / weeks


def cost(lake: str) -> None:
    """What a signal of one endpoint costs per five minutes in a lake of many endpoints: apilens from the lake to finished tickets,
    adtk on the ready series of a hundred of them. Each is asked for three signals: errors, latency and traffic."""
    lens = Lens(lake)
    end = (lens.data_end or datetime.now(UTC)) + timedelta(minutes=5)
    began = time.process_time()
    found = find_candidates(lens.rollups(until=end), lens, now=end)
    own = time.process_time() - began
    rollups = lens.rollups(until=end).filter(pl.col("synthetic_type").is_null()).collect()
    bin_ = rollups["bin_start"].dt.epoch("s") // BIN_S
    fleet, rows = baseline.fleet(rollups, (bin_.min(), bin_.max() + 1))  # type: ignore[arg-type,operator]
    chunk = next(iter(baseline.chunks(fleet, rows)))
    calls, errors = chunk.calls[:100], np.zeros_like(chunk.calls)
    row, at, failed = (chunk.codes[name].to_numpy() for name in ("row", "bin", "calls"))
    np.add.at(errors, (row, at), failed)
    with np.errstate(invalid="ignore", divide="ignore"):
        ready = {
            "errors": np.where(calls > 0, errors[:100] / calls, np.nan),
            "latency": np.where(chunk.timed > 0, chunk.log_sum / chunk.timed, np.nan)[:100],
            "traffic": np.log1p(calls),
        }
    began = time.process_time()
    adtk_seasonal(ready, calls, 86_400 // BIN_S)
    theirs = (time.process_time() - began) / (3 * calls.size)
    many, bins = fleet.endpoints.height, fleet.bins
    print(f"{many} endpoints, {bins} bins of five minutes, {found.height} tickets")
    per = own / (3 * many * bins)
    print(
        f"apilens {1e6 * per:.2f} µs per signal-bin, adtk {1e6 * theirs:.2f}: {theirs / per:.1f} times (at least 10 asked)"
    )


def main() -> None:
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("worlds", nargs="*", default=["calm:101", "stormy:101"])
    parser.add_argument("--work", type=Path, default=Path("/tmp/apilens-worlds"))
    parser.add_argument("--endpoints", type=int, default=40)
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument("--calls-per-minute", type=float, default=60)
    parser.add_argument("--false-rate", type=float, default=0.05)
    parser.add_argument(
        "--fleet", help="Compare the cost on this lake of many endpoints instead (incremental.py --work makes one)."
    )
    given = parser.parse_args()
    if given.fleet:
        cost(given.fleet)
        return
    folders = [
        world_folder(given.work, name, given.endpoints, given.days, given.calls_per_minute) for name in given.worlds
    ]
    seen = [series_of(folder) for folder in folders]
    bins = sum(matrix.size for series, *_ in seen for matrix in series.values())
    own, began = Score(), time.process_time()
    for folder in folders:
        labels, catalog = (json.loads((folder / file).read_text()) for file in ("labels.json", "catalog.json"))
        own.add(labels, catalog, candidates(folder))
    row("apilens", own.recall(), own.false_rate(), time.process_time() - began, 3 * bins)
    recalls = []
    for name, peer in PEERS.items():
        began = time.process_time()
        try:
            scored = [
                (folder, peer(series, calls), calls)
                for folder, (series, calls, _, _) in zip(folders, seen, strict=True)
            ]
        except ImportError as error:
            print(f"{name:<22} is not installed ({error.name})")
            continue
        spent = time.process_time() - began
        recall, false = best(scored, given.false_rate)
        row(name, recall, false, spent, bins)
        recalls.append(recall)
    print(f"apilens finds {own.recall() / max(recalls):.2f} times what the best of {len(recalls)} peers does")


def row(name: str, recall: float, false: float, seconds: float, bins: int) -> None:
    cost = f"{1e6 * seconds / bins:6.1f} µs per signal-bin"
    print(f"{name:<22} recall {recall:.3f} at {false:.4f} false per endpoint-week, {cost}", flush=True)


if __name__ == "__main__":
    main()
