"""What a scan costs that finds five more minutes of data, against the first one; prints CPU seconds, wall seconds and peak memory of each.

Usage: python benchmarks/incremental.py [--endpoints 1000] [--days 14] [--calls-per-hour 15] [--work DIR]
The lake is written as ingest writes it (a unit an hour, then compacted but for the last day), with errors, slowness and
silence here and there. Every scan is a process of its own; the last one starts from nothing and must find the same.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import numpy as np
import polars as pl

from apilens.ingest.rollup import roll_up
from apilens.lake import DECIDED, Lake, Unit, open_lake
from apilens.lake.upkeep import compact
from apilens.schema import CALLS, INGESTS

START = datetime(2026, 3, 2, tzinfo=UTC)
HOUR, BIN = timedelta(hours=1), timedelta(minutes=5)
SCAN = """
import json, resource, sys, time
began = time.monotonic()
from apilens.pipeline.incidents import scan
result = scan(sys.argv[1], sys.argv[2])
usage = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"wall": time.monotonic() - began, "cpu": usage.ru_utime + usage.ru_stime, "mib": usage.ru_maxrss / 1024,
    "found": json.loads(result.candidates.write_json())}))
"""


class World:
    """Endpoints that differ in traffic, latency and usual errors, the hours of a day, and what goes wrong when."""

    def __init__(self, endpoints: int, days: int, calls_per_hour: float) -> None:
        self.rng = np.random.default_rng(1)
        self.endpoints = endpoints
        popularity = self.rng.lognormal(0, 1.3, endpoints)
        self.rate = popularity / popularity.mean() * calls_per_hour
        self.level = self.rng.normal(3.5, 1.0, endpoints)
        self.errors = np.minimum(self.rng.lognormal(np.log(0.005), 1.0, endpoints), 0.1)
        # One endpoint in twelve a week has a bad time: failing, slow, or silent.
        number = endpoints * days // 84
        self.bad = self.rng.integers(0, endpoints, number)
        self.kind = self.rng.integers(0, 3, number)
        self.begin = self.rng.uniform(96, 24 * days, number)
        self.lasts = self.rng.lognormal(0.5, 1, number)

    def calls(self, hour: float, hours: float) -> pl.DataFrame:
        """Calls of [hour, hour + hours) since START, schema.CALLS without unit."""
        rng = self.rng
        day, clock = divmod(hour, 24)
        rhythm = (0.6 + 0.5 * np.sin((clock - 8) / 24 * 2 * np.pi)) * (0.6 if day % 7 >= 5 else 1.0)
        rate, slow, failing = self.rate * rhythm * hours, np.zeros(self.endpoints), self.errors.copy()
        now = (self.begin <= hour) & (hour < self.begin + self.lasts)
        for kind, endpoint in zip(self.kind[now], self.bad[now], strict=True):
            if kind == 0:
                failing[endpoint] = 0.5
            elif kind == 1:
                slow[endpoint] = 1.0
            else:
                rate[endpoint] = 0.0
        endpoint = np.repeat(np.arange(self.endpoints), rng.poisson(rate))
        n = len(endpoint)
        calls = pl.DataFrame(
            {
                "start_time": (np.sort(rng.random(n)) * hours * 3.6e9).astype(np.int64) + int(hour * 3.6e9),
                "endpoint": endpoint[rng.permutation(n)] if n else endpoint,
            }
        )
        endpoint = calls["endpoint"].to_numpy()
        failed = rng.random(n) < failing[endpoint]
        made = calls.select(
            start_time=pl.col("start_time").cast(pl.Duration("us")) + START,
            status_code=pl.Series(np.where(failed, rng.choice([404, 500, 503], n), 200)).cast(pl.Int16),
            duration_ms=pl.Series(np.round(np.exp(self.level[endpoint] + slow[endpoint] + rng.normal(0, 0.6, n)), 3)),
            method=pl.lit("GET"), environment=pl.lit("default"), parse_status=pl.lit("ok"),
            service=pl.format("svc{}", pl.col("endpoint") % 40),
            route=pl.format("/v1/things{}/{{}}", "endpoint"),
            upstream_name=pl.format("up{}", pl.col("endpoint") % 40),
            consumer=pl.Series(rng.integers(0, 50, n)).cast(pl.String),
            node=pl.Series(rng.integers(0, 3, n)).cast(pl.String),
        )  # fmt: skip
        missing = [pl.lit(None, dtype).alias(name) for name, dtype in CALLS.items() if name not in made.columns]
        return made.with_columns(missing).select(pl.col(name).cast(dtype) for name, dtype in CALLS.items())


def unit(lake: Lake, calls: pl.DataFrame) -> Unit:
    """Calls as ingest writes them."""
    first, last = calls["start_time"].min(), calls["start_time"].max()
    unit_id = sha256(str((first, last)).encode()).hexdigest()
    calls = calls.with_columns(unit_id=pl.lit(unit_id))
    n = calls.height
    entry = dict.fromkeys(INGESTS.names()) | {
        "unit_id": unit_id, "attempt": 1, "source": "", "environment": "default", "input": "made", "format": "made", "head_sha256": unit_id,
        "offset": 0, "bytes": 0, "lines": n, "header": 0, "blank": 0, "record_lines": n, "read": n, "stored": n, "rejected": 0, "filtered": 0,
        "first_start_time": first, "last_start_time": last, "ingested_at": last, "apilens_version": "bench",
    }  # fmt: skip
    return Unit(
        entry, lake.write("calls", calls, unit_id, 1), lake.write("rollups", roll_up(calls, unit_id), unit_id, 1)
    )


def add(lake: Lake, units: list[Unit]) -> None:
    lake.ledger()
    lake.commit(units)


def fill(path: str, world: World, days: int) -> None:
    """A lake of `days` days."""
    lake = open_lake(path, create=True)
    for day in range(days):
        add(lake, [unit(lake, world.calls(24 * day + hour, 1)) for hour in range(24)])
        if day == days - 2:
            compact(lake)


def scan(lake: str, state: str) -> dict[str, object]:
    """One scan in a process of its own."""
    ran = subprocess.run([sys.executable, "-c", SCAN, lake, state], capture_output=True, text=True)
    if ran.returncode:
        raise SystemExit(ran.stderr)
    return dict(json.loads(ran.stdout))


def main() -> None:
    """Fill, scan, add five minutes, scan, scan from nothing; print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--endpoints", type=int, default=1000)
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument("--calls-per-hour", type=float, default=15)
    parser.add_argument("--work", type=Path, help="Keep the filled lake here, or take the one that is here.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="apilens-incremental-") as name:
        filled = (given.work or Path(name)) / f"{given.endpoints}-{given.days}-{given.calls_per_hour:g}"
        world = World(given.endpoints, given.days, given.calls_per_hour)
        if not filled.exists():
            partial = filled.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            fill(str(partial), world, given.days)
            partial.rename(filled)
        lake = f"{name}/lake"
        shutil.copytree(filled, lake)
        state = f"sqlite:///{name}/state.db"
        results = {"first scan": scan(lake, state)}
        opened = open_lake(lake)
        for minutes in (5, 10):
            add(opened, [unit(opened, world.calls(24 * given.days + minutes / 60 - 1 / 12, 1 / 12))])
            results[f"{minutes} minutes later"] = scan(lake, state)
        Path(lake, "_apilens", DECIDED).unlink()
        results["from nothing"] = scan(lake, f"sqlite:///{name}/other.db")
        for title, one in results.items():
            print(
                f"{title:18s} {one['cpu']:7.1f} CPU s {one['wall']:7.1f} s {one['mib']:6.0f} MiB, {len(one['found'])} candidates"
            )  # type: ignore[arg-type]
        same = results["10 minutes later"]["found"] == results["from nothing"]["found"]
        print(
            f"later / first: {results['10 minutes later']['cpu'] / results['first scan']['cpu']:.2f} (at most 0.15); the same as from nothing: {same}"
        )  # type: ignore[operator]


if __name__ == "__main__":
    main()
