"""The feedback gap on labelled worlds: consumers hit against those truly hit, who is listed as silent, and why reports have no trace.

Usage: python benchmarks/feedback/gap.py [--worlds 15] [--set train|held-out|second] [--keep FOLDER]
Candidates come from the real detector; a fault it misses has no row here. Truly hit: consumers with a call of the fault's endpoint
that ended with its status while it lasted. Truly silent: of these, whose people wrote nothing about the fault, as far as the
context names their firm: of another nobody knows whose consumer its people speak for.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from datetime import timedelta
from pathlib import Path

import polars as pl
from linking import prepared
from worlds import BEGIN, NOW, SETS, Fault, World, belongs

from apilens.pipeline import people
from apilens.store import default_state, open_store
from apilens.triage import read_context


def truly_hit(made: World, log: pl.DataFrame, fault: Fault) -> set[str]:
    """Consumers with a call that failed by the fault."""
    _, method, route, _ = made.endpoints[fault.endpoint]
    pattern = "^" + route.replace("{id}", "[0-9]+") + "$"
    at = pl.col("timestamp").str.to_datetime(time_zone="UTC")
    inside = (at >= fault.start) & (at < fault.end)
    failed = pl.col("status") == fault.status
    rows = log.filter((pl.col("method") == method) & pl.col("path").str.contains(pattern) & inside & failed)
    return set(rows["application_id"].to_list())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=15)
    parser.add_argument("--set", choices=list(SETS), default="second")
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="apilens-worlds-"))
    first = 1000 * list(SETS).index(arguments.set)
    off: list[float] = []
    listed = right = 0
    coverage: list[float] = []
    reasons: Counter[tuple[str, str]] = Counter()
    for seed in range(first, first + arguments.worlds):
        made, lake = prepared(folder, seed, arguments.set)
        log = pl.read_csv(Path(lake).parent / "log.csv", infer_schema_length=10_000)
        people.triage(lake=lake, state=None, context=str(Path(lake).parent / "context.toml"), now=NOW)
        queue = {row["id"]: row for row in people.queue(lake=lake, state=None, context=None, now=None).to_dicts()}
        with open_store(default_state(lake)) as store:
            candidates = store.candidates().to_dicts()
        wrote: dict[str, set[str]] = {}
        known = read_context((Path(lake).parent / "context.toml").read_text(encoding="utf-8"), "context.toml").accounts
        account = {f"firm{n}": name for n, name in enumerate(sorted(log["application_id"].unique()))}
        for entry in made.items:
            fault = made.truth[entry["channel"], entry["id"]]
            firm = str(entry["reporter"]).partition("@")[2].removesuffix(".example")
            if fault is not None and firm in account and firm in known:
                wrote.setdefault(fault.name, set()).add(account[firm])
        for fault in made.faults:
            if not fault.status or fault.end > BEGIN + timedelta(days=10):
                continue
            own = [row for row in candidates if belongs(row, fault, made)]
            others = [row for row in made.faults if row is not fault and row.endpoint == fault.endpoint]
            if len(own) != 1 or others:
                continue  # in several parts, or two faults at one place: nobody could say whose a consumer is
            hit, row = truly_hit(made, log, fault), queue[own[0]["id"]]
            if not hit:
                continue
            off.append(row["hit"] / len(hit) - 1)
            coverage.append(row["identity_coverage"] or 0.0)
            # Of a firm the context does not name nobody could know whose consumer its people speak for.
            listed += len(row["silent_consumers"] or [])
            right += len(set(row["silent_consumers"] or []) & (hit - wrote.get(fault.name, set())))
        for row in queue.values():
            if row["kind"] == "feedback":
                key = tuple(row["id"].split(":", 1))
                reasons[made.style[key], str(row["no_trace_reason"]).partition(" at ")[0].partition(" (")[0]] += 1  # type: ignore[index] # channel and id
    shares = pl.Series(off)
    print(
        f"{len(off)} faults: hit off by {shares.mean():+.1%} in all, {shares.abs().mean():.1%} each; within 5 %: {(shares.abs() <= 0.05).mean():.0%}"
    )
    print(
        f"silent: {listed:,} listed, precision {right / max(listed, 1):.3f}; identity coverage {min(coverage, default=0):.0%} to {max(coverage, default=0):.0%}"
    )
    for (style, reason), count in reasons.most_common(25):
        print(f"{count:5} {style:10} {reason}")


if __name__ == "__main__":
    main()
