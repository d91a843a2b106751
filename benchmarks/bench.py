"""`make bench`: ingest + endpoints of generated logs against peers in the same run; prints ratios, not seconds.

Usage: python benchmarks/bench.py [--lines 1000000] [--runs 3] [--chdb-python PYTHON]
Peers that are not installed are said to be missing. Each pair of runs follows one another; the table shows the median of the
paired ratios, and the median CPU seconds (user + system) of each side. chdb may live in a virtual environment of its own.
GoAccess runs with every panel off but the requests table it cannot do without, its best case.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from make_logs import LOG_FORMAT

APILENS = str(Path(sys.executable).with_name("apilens"))
PANELS = [
    "VISITORS",
    "REQUESTS_STATIC",
    "NOT_FOUND",
    "HOSTS",
    "OS",
    "BROWSERS",
    "VISIT_TIMES",
    "VIRTUAL_HOSTS",
    "REFERRERS",
    "REFERRING_SITES",
    "KEYPHRASES",
    "STATUS_CODES",
    "REMOTE_USER",
    "CACHE_STATUS",
    "GEO_LOCATION",
    "MIME_TYPE",
    "TLS_TYPE",
    "REQUESTS",
]
#: Error ratio and p99 per endpoint the obvious way: what a colleague writes in ten minutes.
NAIVE = r"""
import re, sys, collections
line = re.compile(r'(\S+) - (\S+) \[([^\]]+)\] "(\S+) (\S+) [^"]*" (\d{3}) (\d+) "([^"]*)" "([^"]*)" (\S+) (.+)')
number = re.compile(r'/\d+|/[0-9a-f-]{16,}')
times, errors = collections.defaultdict(list), collections.Counter()
for text in open(sys.argv[1], encoding="utf-8", errors="replace"):
    m = line.match(text)
    if m:
        endpoint = (m[4], number.sub("/{id}", m[5].split("?")[0]))
        times[endpoint].append(float(m[10])); errors[endpoint] += m[6] >= "500"
for endpoint, values in times.items():
    values.sort(); print(endpoint, errors[endpoint] / len(values), values[int(len(values) * .99) - 1])
"""

#: ClickHouse in process: fields into Parquet, no queries, no templates, no masking.
CHDB = r"""
import sys, chdb
log, out, form = sys.argv[1:]
text = r'^(\S+) - (\S+) \[([^\]]+)\] "(\S+) (\S+) [^"]*" (\d{3}) (\d+) "([^"]*)" "([^"]*)" (\S+) (.+)$'
record = "Tuple(started_at Int64, client_ip String, upstream_status String, latencies Tuple(request Float64, proxy Float64, kong Float64), request Tuple(method String, uri String, size Int64, id String, headers Tuple(`user-agent` String, host String)), response Tuple(status Int16, size Int64), service Tuple(name String), route Tuple(name String), consumer Tuple(username String))"
parsed = {
    "nginx": "SELECT arrayJoin([extractGroups(line, '%s')]) AS g FROM file('%s', LineAsString, 'line String')" % (text.replace("\\", "\\\\"), log),
    "kong": "SELECT JSONExtract(line, '%s') AS g FROM file('%s', LineAsString, 'line String')" % (record, log),
}[form]
columns = {
    "nginx": "g[1], g[2], parseDateTimeOrNull(g[3], '%d/%b/%Y:%H:%i:%s +0000'), g[4], g[5], toInt16OrNull(g[6]), toInt64OrNull(g[7]), g[8], g[9], toFloat64OrNull(g[10]), g[11]",
    "kong": "untuple(g)",
}[form]
chdb.query("INSERT INTO FUNCTION file('%s', Parquet) SELECT %s FROM (%s) SETTINGS output_format_parquet_compression_method = 'zstd'" % (out, columns, parsed))
"""


@dataclass(frozen=True)
class Cost:
    """What one or more commands took together."""

    wall_s: float
    cpu_s: float
    peak_mib: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.wall_s + other.wall_s, self.cpu_s + other.cpu_s, max(self.peak_mib, other.peak_mib))


def measure(*command: str) -> Cost:
    """Cost of a whole process, from start to exit. Raises when it fails."""
    began = time.monotonic()
    # As installed: an environment that forbids compiled modules has Python compile all of ours in each run, a second of CPU.
    installed = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=installed)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)[:200]} failed with {process.returncode}")
    return Cost(time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def ours(log: Path, folder: Path, *options: str) -> Cost:
    """`ingest` into a fresh lake, then `endpoints`."""
    lake = folder / "lake"
    shutil.rmtree(lake, ignore_errors=True)
    return measure(APILENS, "ingest", str(log), "--lake", str(lake), *options) + measure(
        APILENS, "endpoints", "--lake", str(lake), "--output", "json"
    )


def goaccess(log: Path, folder: Path) -> Cost:
    """GoAccess over the same file into JSON."""
    layout = '%h - %e [%d:%t %^] "%r" %s %b "%R" "%u" %T %^'
    panels = [f"--ignore-panel={panel}" for panel in PANELS]
    return measure(
        "goaccess", str(log), f"--log-format={layout}", "--date-format=%d/%b/%Y", "--time-format=%T", "--no-progress",
        "-o", str(folder / "goaccess.json"), *panels,
    )  # fmt: skip


def report(name: str, pairs: Sequence[tuple[Cost, Cost]]) -> None:
    """One line of the table: ours, the peer's, medians of paired ratios, peaks."""
    wall = statistics.median(a.wall_s / b.wall_s for a, b in pairs)
    cpu = statistics.median(a.cpu_s / b.cpu_s for a, b in pairs)
    ours_s, peer_s = (statistics.median(pair[i].cpu_s for pair in pairs) for i in (0, 1))
    ours_mib, peer_mib = (max(pair[i].peak_mib for pair in pairs) for i in (0, 1))
    print(f"{name:44s} {ours_s:8.1f} {peer_s:8.1f} {wall:8.3f} {cpu:8.3f} {ours_mib:8.0f} {peer_mib:8.0f}", flush=True)


def has_chdb(python: str) -> bool:
    """Whether this interpreter can import chdb."""
    return subprocess.run([python, "-c", "import chdb"], capture_output=True).returncode == 0


def main() -> None:
    """Generate, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--chdb-python", default=sys.executable)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory(prefix="apilens-bench-") as name:
        folder = Path(name)
        log, records = folder / "access.log", folder / "kong.log"
        maker = [sys.executable, str(Path(__file__).with_name("make_logs.py"))]
        subprocess.run([*maker, str(log), "--lines", str(options.lines)], check=True)
        subprocess.run([*maker, str(records), "--lines", str(options.lines // 4), "--format", "kong"], check=True)
        subprocess.run(f"gzip -6 -k {log}", shell=True, check=True)
        (folder / "naive.py").write_text(NAIVE)
        (folder / "chdb.query.py").write_text(CHDB)
        print(f"{options.lines:,} lines, {log.stat().st_size >> 20} MiB, {options.runs} runs; LOG_FORMAT {LOG_FORMAT}")
        print(f"{'':44s} {'CPU s':>17s} {'ratio':>17s} {'peak MiB':>17s}")
        print(f"{'ingest + endpoints / peer':44s}{' ours     peer':>18s}{' wall      CPU':>18s}{' ours     peer':>18s}")

        def compare(title: str, mine: Callable[[], Cost], peer: Callable[[], Cost] | None) -> None:
            if peer is None:
                print(f"{title:44s} missing: not installed")
                return
            report(title, [(mine(), peer()) for _ in range(options.runs)])

        def chdb(path: Path, form: str) -> Callable[[], Cost] | None:
            out = folder / "chdb.parquet"

            def run() -> Cost:
                out.unlink(missing_ok=True)
                return measure(options.chdb_python, str(folder / "chdb.query.py"), str(path), str(out), form)

            return run if found else None

        found = has_chdb(options.chdb_python)
        version = "?"
        if shutil.which("goaccess"):
            version = (
                subprocess.run(["goaccess", "--version"], capture_output=True, text=True).stdout.split()[2].strip(".")
            )
        plain = lambda: ours(log, folder)  # noqa: E731
        compare(
            f"GoAccess {version}, all panels off", plain, (lambda: goaccess(log, folder)) if version != "?" else None
        )
        compare("chdb, extractGroups to Parquet only", plain, chdb(log, "nginx"))
        compare("naive Python loop", plain, lambda: measure(sys.executable, str(folder / "naive.py"), str(log)))
        compare("wc -l", plain, lambda: measure("wc", "-l", str(log)))
        compare("Kong JSON lines: chdb to Parquet only", lambda: ours(records, folder), chdb(records, "kong"))
        compare(".gz of the same / plain", lambda: ours(Path(f"{log}.gz"), folder), plain)
        # The lake is that of the plain run before, so nothing is new.
        again = measure(APILENS, "ingest", str(log), "--lake", str(folder / "lake"))
        report("ingest again, nothing new / first time", [(again, plain())])


if __name__ == "__main__":
    main()
