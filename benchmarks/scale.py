"""Questions to a large lake, and what a cluster costs: prints ratios, each with the figures it is made of.

Usage: python benchmarks/scale.py [--rows 10000000] [--runs 3] [--chdb-python PYTHON] [--lines 1000000] [--commits 1000]
The lake holds --rows calls of 120 endpoints over 30 days, written and compacted as ingest and `lake compact` do. Every question is
asked by a process of its own; the table shows medians of the wall and CPU seconds of the question alone (opening the tables included, imports
not), and of the process's CPU seconds and peak memory. On a machine that others use too, go by the CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import numpy as np
import polars as pl

from apilens.ingest.rollup import roll_up
from apilens.lake import Unit, open_lake
from apilens.lake.upkeep import compact
from apilens.schema import CALLS, INGESTS

START = datetime(2026, 3, 1, tzinfo=UTC)
DAYS, ENDPOINTS, UNIT_ROWS = 30, 120, 50_000
ROUTE = "/api/v1/resource7/{id}"

#: name -> Python that answers the question; `lens` is open, what it prints is compared.
QUESTIONS = {
    "exact": "found = lens.endpoints(exact=True).sort('route'); answer = found.select('route', 'p50_ms', 'p99_ms').rows()",
    "rollups": "found = lens.endpoints().sort('route'); answer = found.select('route', 'p50_ms', 'p99_ms').rows()",
    "30 days that begin at noon": "found = lens.endpoints('2026-03-01T12:00Z', '2026-03-30T12:00Z'); answer = found.height",
    "one endpoint, one hour": f"""
from datetime import datetime, timedelta, UTC
window = lens.window(datetime(2026, 3, 17, 14, tzinfo=UTC), datetime(2026, 3, 17, 15, tzinfo=UTC))
with lens.connect(window, ["calls"]) as connection:
    answer = connection.sql(
        "SELECT count(*), quantile_disc(duration_ms, [0.5, 0.99, 0.999]) FROM calls WHERE route = '{ROUTE}'"
        " AND start_time >= TIMESTAMPTZ '2026-03-17 14:00Z' AND start_time < TIMESTAMPTZ '2026-03-17 15:00Z'").fetchall()""",
    "the same by apilens sql": f"""
answer = lens.sql("SELECT count(*) AS n, quantile_disc(duration_ms, [0.5, 0.99, 0.999]) AS q FROM calls WHERE route = '{ROUTE}'"
    " AND start_time >= TIMESTAMPTZ '2026-03-17 14:00Z' AND start_time < TIMESTAMPTZ '2026-03-17 15:00Z'").rows()""",
    "one endpoint, 30 days": f"""
with lens.connect(views=["calls"]) as connection:
    answer = connection.sql(
        "SELECT count(*), quantile_disc(duration_ms, [0.5, 0.99, 0.999]) FROM calls WHERE route = '{ROUTE}'").fetchall()""",
    "full scan": """
with lens.connect(views=["calls"]) as connection:
    answer = connection.sql("SELECT route, count(*), max(duration_ms) FROM calls GROUP BY route ORDER BY route").fetchall()""",
}
ASK = """
import sys, time, json, resource
{imports}
began, used = time.monotonic(), time.process_time()
{question}
took, cpu = time.monotonic() - began, time.process_time() - used
mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({{"wall": took, "cpu": cpu, "process": time.process_time(), "mib": mib, "answer": answer}}, default=str))
"""
OURS = "import apilens, apilens.lens\nlens = apilens.open(sys.argv[1])"
#: By route alone, and as apilens tells endpoints apart. The files lack the kind of caller, which apilens asks for too.
CHDB = """
keys = {keys!r}
answer = len(str(chdb.query("SELECT " + keys + ", quantilesTDigest(0.5, 0.9, 0.95, 0.99, 0.999)(duration_ms) FROM file('" + sys.argv[1]
    + "/calls/*/merged-*.parquet', Parquet) GROUP BY " + keys, "CSV")))"""
PEERS = {"chdb TDigest": "route", "the same by four names": "environment, service, method, route"}


def fill(path: str, rows: int) -> None:
    """A lake of `rows` calls in units as ingest makes them, then compacted."""
    lake, rng = open_lake(path, create=True), np.random.default_rng(1)
    width = timedelta(days=DAYS) / (rows / UNIT_ROWS)
    units: list[Unit] = []
    for n in range(rows // UNIT_ROWS):
        unit_id = sha256(str(n).encode()).hexdigest()
        endpoint = rng.zipf(1.3, UNIT_ROWS) % ENDPOINTS
        calls = pl.DataFrame(
            {
                "start_time": pl.Series(np.sort(rng.integers(0, int(width.total_seconds() * 1e6), UNIT_ROWS))).cast(pl.Duration("us")) + (START + n * width),
                "endpoint": endpoint,
                "status_code": rng.choice([200, 201, 404, 500], UNIT_ROWS, p=[0.9, 0.05, 0.04, 0.01]),
                # Whole microseconds around a usual time per endpoint, as gateways log them.
                "duration_ms": np.round(rng.lognormal(3 + endpoint % 7 / 3, 0.8), 3),
                "response_bytes": rng.integers(100, 50_000, UNIT_ROWS),
                "number": rng.integers(0, 1_000_000, UNIT_ROWS),
            }
        ).with_columns(
            method=pl.lit("GET"), environment=pl.lit("default"), service=pl.lit("shop"), parse_status=pl.lit("ok"),
            route=pl.concat_str(pl.lit("/api/v1/resource"), "endpoint", pl.lit("/{id}")),
            path=pl.concat_str(pl.lit("/api/v1/resource"), "endpoint", pl.lit("/"), "number"),
            client_ip=pl.concat_str(pl.lit("10.0."), pl.col("number") % 250, pl.lit("."), pl.col("number") // 250 % 250),
            unit_id=pl.lit(unit_id),
        )  # fmt: skip
        missing = [pl.lit(None, dtype).alias(name) for name, dtype in CALLS.items() if name not in calls.columns]
        calls = calls.with_columns(missing).select(pl.col(name).cast(dtype) for name, dtype in CALLS.items())
        entry = dict.fromkeys(INGESTS.names()) | {
            "unit_id": unit_id, "attempt": 1, "source": "", "environment": "default", "input": "made", "format": "made", "head_sha256": unit_id,
            "offset": 0, "bytes": 0, "lines": UNIT_ROWS, "header": 0, "blank": 0, "record_lines": UNIT_ROWS, "read": UNIT_ROWS, "stored": UNIT_ROWS, "rejected": 0, "filtered": 0,
            "first_start_time": calls["start_time"].min(), "last_start_time": calls["start_time"].max(), "ingested_at": START, "apilens_version": "bench",
        }  # fmt: skip
        units.append(
            Unit(
                entry,
                lake.write("calls", calls, unit_id, 1),
                lake.write("rollups", roll_up(calls, unit_id), unit_id, 1),
            )
        )
        if len(units) == 64 or n == rows // UNIT_ROWS - 1:
            lake.ledger()
            lake.commit(units)
            units = []
    compact(lake)


def ask(python: str, program: str, lake: str, runs: int) -> dict[str, object]:
    """Medians over some processes that run a program."""
    found = [json.loads(subprocess.run([python, "-c", program, lake], capture_output=True, text=True, check=True).stdout) for _ in range(runs)]  # fmt: skip
    return {key: statistics.median(one[key] for one in found) for key in ("wall", "cpu", "process", "mib")} | {"answer": found[0]["answer"]}  # fmt: skip


def ingest_cpu(log: Path, folder: Path, *options: str) -> float:
    """CPU seconds of one ingest, all its processes together."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory(dir=folder) as lake:
        command = [str(Path(sys.executable).with_name("apilens")), "ingest", str(log), "--lake", lake, *options]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def cluster(folder: Path, lines: int, runs: int) -> None:
    """What a unit more costs on two worker processes, against threads of one process."""
    logs = []
    for part in (lines // 4, lines):
        logs.append(folder / f"{part}.log")
        maker = [sys.executable, str(Path(__file__).with_name("make_logs.py")), str(logs[-1]), "--lines", str(part)]
        subprocess.run(maker, check=True)
    margins = []
    for _ in range(runs):
        one, many = (
            ingest_cpu(logs[1], folder, *options) - ingest_cpu(logs[0], folder, *options)
            for options in ((), ("--scheduler", "local:2"))
        )
        margins.append(many / one)
        print(
            f"  margin of {lines * 3 // 4:,} lines: {one:.1f} CPU s in one process, {many:.1f} on local:2: {many / one:.2f}",
            flush=True,
        )
    print(f"cluster / one process at the margin: {statistics.median(margins):.2f} (at most 1.1)")


def commits(folder: Path, count: int) -> None:
    """What a run with one small new file costs on a lake of ten commits and on one of many that nothing was compacted between."""
    from apilens.config import load_config
    from apilens.formats import Options
    from apilens.ingest.run import IngestRun, Request

    config = load_config(None)

    def commit(lake: str, number: int) -> float:
        """CPU seconds of one run."""
        log = folder / "small.log"
        lines = ((START + timedelta(minutes=5 * number, seconds=i), i) for i in range(50))
        log.write_text(
            "".join(
                f'10.0.0.{i} - - [{at:%d/%b/%Y:%H:%M:%S +0000}] "GET /api/orders/{number}{i} HTTP/1.1" 200 {i} "-" "curl/8.0"\n'
                for at, i in lines
            )
        )
        request = Request([str(log)], Options(format="nginx_combined"), final=True)
        began = time.process_time()
        IngestRun(open_lake(str(folder / lake), create=True), request, config, now=START).run()
        return time.process_time() - began

    for number in range(count):
        if number == 10:
            shutil.copytree(folder / "many", folder / "ten")
        commit("many", number)
    pairs = [(commit("ten", count + i), commit("many", count + i)) for i in range(15)]
    ten, many = (statistics.median(pair[i] for pair in pairs) for i in (0, 1))
    print(f"commit {count} of 50 lines / commit 10: {many / ten:.2f} ({many * 1e3:.0f} and {ten * 1e3:.0f} CPU ms)")


def main() -> None:
    """Fill, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--chdb-python", default=sys.executable)
    parser.add_argument("--commits", type=int, default=1000)
    parser.add_argument("--lake", help="Keep the lake here, or take the one that is here.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="apilens-scale-") as name:
        lake = options.lake or f"{name}/lake"
        if not os.path.isdir(lake):  # noqa: PTH112
            fill(lake, options.rows)
        found = {}
        for title, question in QUESTIONS.items():
            found[title] = ask(sys.executable, ASK.format(imports=OURS, question=question), lake, options.runs)
        if subprocess.run([options.chdb_python, "-c", "import chdb"], capture_output=True).returncode == 0:
            for title, keys in PEERS.items():
                program = ASK.format(imports="import chdb", question=CHDB.format(keys=keys))
                found[title] = ask(options.chdb_python, program, lake, options.runs)
        for title, one in found.items():
            print(
                f"{title:28s} query {one['wall']:7.3f} s {one['cpu']:7.3f} CPU s   process {one['process']:6.2f} CPU s {one['mib']:5.0f} MiB"
            )
        exact, rollups = found["exact"], found["rollups"]
        errors = [
            abs(ours / right - 1)
            for (_, *mine), (_, *true) in zip(rollups["answer"], exact["answer"], strict=True)
            for ours, right in zip(mine, true, strict=True)
        ]
        for title in PEERS.keys() & found.keys():
            print(
                f"exact / {title}: wall {exact['wall'] / found[title]['wall']:.2f}, CPU {exact['cpu'] / found[title]['cpu']:.2f} (at most 0.5),"
                f" {exact['mib']:.0f} MiB (at most 256)"
            )
        print(
            f"30 days from rollups / exact: wall {rollups['wall'] / exact['wall']:.2f}, CPU {rollups['cpu'] / exact['cpu']:.2f} (at most 0.12),"
            f" error {max(errors):.2%} (at most 1 %)"
        )
        for title in ("one endpoint, one hour", "the same by apilens sql"):
            one, whole = found[title], found["full scan"]
            print(
                f"{title}: {one['wall']:.2f} s (at most 0.3), full scan {whole['wall'] / one['wall']:.0f} times, CPU {whole['cpu'] / one['cpu']:.0f} times (at least 10)"
            )
        if options.commits:
            commits(Path(name), options.commits)
        if options.lines:
            cluster(Path(name), options.lines, options.runs)


if __name__ == "__main__":
    main()
