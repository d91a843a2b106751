"""`make bench`: ingest + endpoints of generated logs against peers in the same run; prints ratios, not seconds.

Usage: python benchmarks/bench.py [--lines 1000000] [--runs 3] [--only nginx,kong]
Peers that are not installed are left out and named. Each pair of runs follows one another; the table shows medians.
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
from collections.abc import Sequence
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
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
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


def report(name: str, mine: Sequence[Cost], peer: Sequence[Cost]) -> None:
    """One line of the table: ours over the peer's, medians of paired ratios."""
    wall = statistics.median(a.wall_s / b.wall_s for a, b in zip(mine, peer, strict=True))
    cpu = statistics.median(a.cpu_s / b.cpu_s for a, b in zip(mine, peer, strict=True))
    peak = max(cost.peak_mib for cost in mine)
    print(f"{name:44s} {wall:8.3f} {cpu:8.3f} {peak:9.0f} MiB {max(cost.peak_mib for cost in peer):9.0f} MiB")


def main() -> None:
    """Generate, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory(prefix="apilens-bench-") as name:
        folder = Path(name)
        log, zipped = folder / "access.log", folder / "access.log.gz"
        maker = str(Path(__file__).with_name("make_logs.py"))
        subprocess.run([sys.executable, maker, str(log), "--lines", str(options.lines)], check=True)
        subprocess.run(f"gzip -6 -c {log} > {zipped}", shell=True, check=True)
        naive = folder / "naive.py"
        naive.write_text(NAIVE)
        print(f"{options.lines:,} lines, {log.stat().st_size >> 20} MiB, {options.runs} runs; LOG_FORMAT {LOG_FORMAT}")
        print(f"{'ingest + endpoints, ours / peer':44s} {'wall':>8s} {'CPU':>8s} {'our peak':>13s} {'its peak':>13s}")
        peers = {
            "naive Python loop": lambda: measure(sys.executable, str(naive), str(log)),
            "wc -l": lambda: measure("wc", "-l", str(log)),
        }
        if shutil.which("goaccess"):
            version = subprocess.run(["goaccess", "--version"], capture_output=True, text=True).stdout.split()[2]
            peers = {f"GoAccess {version} all panels off": lambda: goaccess(log, folder)} | peers
        else:
            print("GoAccess is not installed: left out")
        for title, peer in peers.items():
            pairs = [(ours(log, folder), peer()) for _ in range(options.runs)]
            report(title, [a for a, _ in pairs], [b for _, b in pairs])
        pairs = [(ours(zipped, folder), ours(log, folder)) for _ in range(options.runs)]
        report(".gz of the same / plain", [a for a, _ in pairs], [b for _, b in pairs])
        again = [
            (measure(APILENS, "ingest", str(log), "--lake", str(folder / "lake")), ours(log, folder)) for _ in (1,)
        ]
        report("ingest again, nothing new / first time", [a for a, _ in again], [b for _, b in again])


if __name__ == "__main__":
    main()
