"""`make demo`: the main job on sample_logs/, from logs to the report, compared with what was planted in them."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from apilens.config import load_config
from apilens.errors import ApilensError, Exit
from apilens.ingest.run import Request
from apilens.lens import Lens
from apilens.pipeline import incidents, intake, logs, people, reporting
from apilens.reports.terminal import Column, lines_equation, records_equation, safe, table
from apilens.reports.units import count, milliseconds, percent, size
from apilens.reports.verdict import verdict
from apilens.triage import surprise

HERE = Path(os.path.relpath(Path(__file__).parent))
OUT = HERE.parent / "out"
LAKE = str(OUT / "demo-lake")
CONFIG = str(HERE / "apilens.toml")
CONTEXT = str(HERE / "context.toml")


def main() -> int:
    """Run the five steps; 1 when the report could not be made or the books do not balance, else 0."""
    began = time.monotonic()
    truth = json.loads((HERE / "TRUTH.json").read_text(encoding="utf-8"))
    shutil.rmtree(LAKE, ignore_errors=True)
    OUT.mkdir(exist_ok=True)

    balanced = _ingest()
    lens = Lens(LAKE, load_config(CONFIG))
    _endpoints(lens, datetime.fromisoformat(truth["go_live"]))
    candidates = _scan()
    _feedback()
    ranked = people.queue(lake=LAKE, state=None, context=CONTEXT, now=None)
    _queue(ranked)

    verdict_line = verdict(ranked, calls=lens.endpoints()["calls"].sum())
    print(f"VERDICT  {verdict_line.headline}. {verdict_line.reach}")
    print(f"         {_compare(candidates, truth['faults'])}")
    page = reporting.report(lake=LAKE, state=None, config=CONFIG, context=CONTEXT)
    report = OUT / "report.html"
    report.write_text(page, encoding="utf-8")
    print(f"report   {report} ({size(len(page.encode()))}, offline){' ' * 20}{time.monotonic() - began:.0f} s")
    print("yours    .venv/bin/apilens look /var/log/nginx/access.log*")
    return 0 if balanced else 1


def _ingest() -> bool:
    result = logs.ingest(LAKE, Request([str(HERE)]), CONFIG)
    formats = sorted({report.format for report in result.reports if report.format})
    totals = result.totals
    print(f"[1/5] ingest sample_logs/   {len(result.reports)} inputs, {', '.join(formats)}")
    equation = records_equation(
        read=totals.read, stored=totals.stored, rejected=totals.rejected,
        filtered=totals.filtered, duplicate=totals.duplicate,
    )  # fmt: skip
    print(f"      {equation}")
    print(f"      {lines_equation(lines=totals.lines, records=totals.read, header=totals.header, blank=totals.blank)}")
    for report in result.reports:
        if report.problem is not None:
            print(f"      {safe(report.problem)}")
    again = logs.ingest(LAKE, Request([str(HERE)]), CONFIG).totals
    print(f"      the same again: {again.stored} added, {count(again.duplicate)} recognised")
    return totals.balanced() and again.stored == 0


def _endpoints(lens: Lens, go_live: datetime) -> None:
    raw = lens.sql("SELECT count(DISTINCT path) AS paths, count(DISTINCT route) AS routes FROM calls").row(0)
    coverage = lens.quality().identity_coverage
    print(
        f"[2/5] endpoints  {count(raw[1])} routes from {count(raw[0])} paths; go-live {go_live:%m-%d %H:%M}Z;"
        f" consumer known for {percent(coverage)} of calls"
    )
    before = lens.endpoints(until=go_live).select("service", "method", "route", old="error_ratio")
    since = lens.endpoints(since=go_live).join(
        before, on=["service", "method", "route"], how="left", nulls_equal=True, maintain_order="left"
    )
    worst = since.filter(pl.col("calls") >= 200).sort("error_ratio", descending=True).head(4)
    table(
        "",
        ["      endpoint since go-live", *(Column(name, "right") for name in ("calls", "5xx", "before", "p50", "p99"))],
        (
            (
                f"      {row['method']} {row['route']}",
                count(row["calls"]),
                percent(row["error_ratio"]),
                percent(row["old"]),
                milliseconds(row["p50_ms"]),
                milliseconds(row["p99_ms"]),
            )
            for row in worst.iter_rows(named=True)
        ),
    )


def _scan() -> pl.DataFrame:
    result = incidents.scan(LAKE, None)
    print(f"[3/5] scan  {result.summary()}, as a scan every minute would have raised them")
    return result.candidates


def _feedback() -> None:
    imported = intake.import_feedback(
        [str(HERE / "feedback")], lake=LAKE, state=None, channel=None, tz=None, now=datetime.fromisoformat("2026-03-16T00:00:00Z")
    )  # fmt: skip
    counts = people.triage(lake=LAKE, state=None, context=CONTEXT, now=None).counts()
    print(
        f"[4/5] feedback  {imported.stored} items: {counts['merged']} merged, {counts['linked']} linked,"
        f" {counts['to_confirm']} to confirm, {counts['no_trace']} no trace ({counts['questions']} questions)"
    )


def _queue(ranked: pl.DataFrame) -> None:
    print(f"[5/5] queue  {ranked.height} problems, best first")
    table(
        "",
        [
            Column("     #", "right"), "P", "severity", Column("hit", "right"), Column("told", "right"),
            Column("silent", "right"), "problem",
        ],
        (
            (
                row["rank"], row["priority"], row["severity"], row["hit"], row["told"], row["silent"],
                f"{_short(row['title'])}{', OPEN since ' + format(row['start'], '%m-%d %H:%MZ') if row['state'] == 'open' and row['kind'] == 'candidate' else ''}",
            )
            for row in ranked.head(8).iter_rows(named=True)
        ),
    )  # fmt: skip
    print(f"      why 1 first: {safe(ranked['why'][0])}")
    unexpected = surprise(ranked)
    if unexpected is not None:
        print(f"      {safe(unexpected)}")


def _short(title: str, width: int = 80) -> str:
    """A title on one line of a terminal, without the expected value; what is left out at its end shows as …"""
    observed = title.partition(", expected")[0]
    return observed if len(observed) <= width else observed[:width].rsplit(" ", 1)[0] + " …"


def _compare(candidates: pl.DataFrame, faults: Sequence[dict[str, object]]) -> str:
    """How the candidates compare with the planted faults: same signal, a shared endpoint, overlapping time."""
    missed, explained = [], set()
    for fault in faults:
        start = datetime.fromisoformat(str(fault["start"])) - timedelta(hours=1)
        end = datetime.fromisoformat(str(fault["end"])) + timedelta(hours=1)
        places = {str(place) for key in ("endpoints", "side_effects") for place in fault.get(key, [])}  # type: ignore[attr-defined]  # lists in the JSON
        hits = [
            row["id"]
            for row in candidates.iter_rows(named=True)
            if row["start"] < end and row["end"] > start and places & set(row["endpoints"])
        ]
        same = candidates.filter(pl.col("id").is_in(hits) & (pl.col("signal") == fault["signal"]))
        explained.update(hits)
        if same.is_empty():
            missed.append(f"{fault['title']} ({fault['grade']})")
    # One archive was cut short on purpose: the hole it leaves is none of the faults, and no false alarm.
    explained.update(candidates.filter(pl.col("signal") == "log_gap")["id"].to_list()[:1])
    false = candidates.height - len(explained)
    words = f"planted faults: {len(faults)}, found {len(faults) - len(missed)}, false {false}"
    return words + (f"; missed: {', '.join(missed)}" if missed else "")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ApilensError as error:
        print(f"demo: {error}", file=sys.stderr)
        sys.exit(Exit.INTERNAL)
