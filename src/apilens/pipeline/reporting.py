"""From the lake and the state to the HTML report."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl

from apilens.config import Config, load_config
from apilens.lens import Lens, escalated
from apilens.measure.signals import BLOCK_H
from apilens.pipeline.metrics import rules_of as rules_of_metrics
from apilens.pipeline.people import ranked, rules_of
from apilens.reports import traces
from apilens.reports.data import Mark, Quality, ReportData
from apilens.reports.html import render
from apilens.store import open_state
from apilens.triage import related
from apilens.window import Window


def report(
    *,
    lake: str,
    state: str | None,
    config: str | None = None,
    context: str | None = None,
    now: datetime | None = None,
    since: str | None = None,
    until: str | None = None,
    openapi: str | None = None,
) -> str:
    """The HTML report of [since, until) as of `now` (None: the end of the data); changes nothing. openapi: as in Lens."""
    settings = load_config(config)
    lens = Lens(lake, settings, openapi=openapi)
    moment = now or lens.data_end or datetime.now(UTC)
    window = lens.window(since, until, now=moment)
    with open_state(lake, state, create=False) as store:
        problems, candidates, links = ranked(store, context, now, config), store.candidates(), store.links()
        pairs = related(candidates, store.decisions("caused_by", "blocks"))
        talk = escalated(store, rules_of(store, config))
    # An incident or report belongs to the period when it was alive in it.
    alive = pl.lit(True)
    if window.start is not None:
        alive &= pl.col("end") > window.start
    if window.end is not None:
        alive &= pl.col("start") < window.end
    problems, candidates = problems.filter(alive.fill_null(True)), candidates.filter(alive)
    of_period = problems.select(pl.col("reports").explode().drop_nulls()).unnest("reports")
    rollups = lens.rollups(window.start, window.end).drop("unit_id").collect()
    found = lens.endpoints(window.start, window.end)
    first, last = found.select(pl.col("first_seen").min(), pl.col("last_seen").max()).row(0)
    return render(
        ReportData(
            now=moment,
            first_call=first,
            last_call=last,
            queue=problems,
            candidates=candidates,
            links=links,
            endpoints=found,
            rollups=rollups,
            quality=_quality(lens, window),
            related=pairs,
            escalations=talk.join(
                of_period.select("channel", "id").unique(), on=["channel", "id"], how="semi", maintain_order="left"
            ),
            marks=tuple(Mark(mark.time, mark.label, mark.go_live) for mark in lens.marks),
            traces=_traces(lens, settings, problems.sort("rank").head(_TRACES), candidates, moment),
        )
    )


#: Of so many problems of the queue a metric or a log is looked up for a picture.
_TRACES = 60


def _traces(lens: Lens, config: Config, shown: pl.DataFrame, candidates: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """reports.traces.TRACES of the problems shown (schema.QUEUE)."""
    found = [traces.TRACES.to_frame()]
    wanted = candidates.filter(pl.col("signal").is_in(traces.TRACED) & pl.col("id").is_in(shown["id"].implode()))
    for candidate in wanted.to_dicts():
        first, last = traces.around(candidate, now)
        if candidate["signal"] == "system":
            samples = lens.metrics(first, last).collect()
            found.append(traces.of_metric(candidate, samples, rules_of_metrics(config), now=last))
        elif candidate["signal"] == "log_gap":
            found.append(traces.of_gap(candidate, lens.instances(first, last)))
        else:
            block = timedelta(hours=BLOCK_H)
            found.append(traces.of_skew(candidate, lens.skew(first, last), block, now))
    return pl.concat(found)


def _quality(lens: Lens, window: Window) -> Quality:
    """What became of the input: the ledger's counts. Duplicates are no units; the run that met them printed them."""
    ledger = lens.lake.ledger()
    names = ("read", "stored", "rejected", "filtered", "lines", "record_lines", "header", "blank", "bytes")
    sums = ledger.select(pl.col(name).sum() for name in names).row(0, named=True)
    inputs = ledger.group_by("input", maintain_order=True).agg(
        pl.col("format").first(),
        *(pl.col(name).sum() for name in ("read", "stored", "rejected", "filtered", "lines", "bytes")),
        pl.col("first_start_time").min(),
        pl.col("last_start_time").max(),
    )
    calls = lens.quality(window)
    return Quality(
        read=sums["read"],
        stored=sums["stored"],
        rejected=sums["rejected"],
        filtered=sums["filtered"],
        duplicate=0,
        lines=sums["lines"],
        record_lines=sums["record_lines"],
        header=sums["header"],
        blank=sums["blank"],
        inputs=inputs.sort("input"),
        identity_coverage=calls.identity_coverage,
        synthetic_share=calls.synthetic_share,
    )
