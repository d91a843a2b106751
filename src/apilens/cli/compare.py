"""`apilens compare`: before and after."""

from __future__ import annotations

import json
from datetime import datetime

import click

from apilens.cli.options import lake_option, moment, now_option, output_option
from apilens.errors import Exit, UsageError
from apilens.window import Window, parse_time


@click.command()
@click.option("--before", "before", required=True, metavar="START..END", help="First window, for example 2d..1d.")
@click.option("--after", "after", required=True, metavar="START..END", help="Second window, for example 1d..now.")
@click.option("--fail-on", type=click.Choice(["worse"]), help="Exit 1 when an endpoint is worse beyond doubt.")
@now_option
@lake_option
@output_option("table", "json", "ndjson")
def compare(before: str, after: str, fail_on: str | None, now: str | None, lake: str, output: str) -> int:
    """Compare error ratio and latency of two windows per endpoint, with 95 % intervals: a deployment, week over week.

    Errors are 4xx and 5xx; latency is the geometric mean of the others. "worse" and "better" are corrected for the
    number of endpoints (one in twenty of them may be wrong), and say nothing about less than 0.5 points or 10 %.
    Windows are cut to whole five minutes; relative times count back from --now, default the end of the data.

    \b
    apilens compare --before 2026-03-04..2026-03-05 --after 2026-03-05..2026-03-06
    apilens compare --before 8d..7d --after 1d..now --fail-on worse --output json
    """
    from datetime import UTC

    from apilens.lens import Lens
    from apilens.reports.ndjson import ndjson_text, records
    from apilens.reports.terminal import Column, endpoint_names, table
    from apilens.reports.units import count, times

    lens = Lens(lake)
    clock = moment(now) or lens.data_end or datetime.now(UTC)
    first, second = _window(before, clock, "--before"), _window(after, clock, "--after")
    found = lens.compare(first, second)
    worse = found.filter(found["verdict"] == "worse").height
    if output == "ndjson":
        click.echo(ndjson_text(found), nl=False)
    elif output == "json":
        click.echo(json.dumps({"schema_version": 1, "endpoints": records(found), "worse": worse}, ensure_ascii=False))
    else:
        headings = ["errors before", "after", "difference [95 %]", "latency", "calls before", "after"]
        table(
            "",
            ["verdict", "endpoint", *(Column(name, "right") for name in headings)],
            (
                (
                    row["verdict"],
                    endpoint,
                    _points(row["error_ratio_before"]),
                    _points(row["error_ratio_after"]),
                    None
                    if row["error_low"] is None
                    else f"{100 * row['error_difference']:+.2f} [{100 * row['error_low']:+.2f}, {100 * row['error_high']:+.2f}]",
                    times(row["latency_factor"], row["latency_low"], row["latency_high"]),
                    count(row["calls_before"]),
                    count(row["calls_after"]),
                )
                for endpoint, row in zip(endpoint_names(found), found.iter_rows(named=True), strict=True)
            ),
        )
    click.echo(f"{found.height} endpoints: {worse} worse", err=True)
    silent = [
        option
        for option, column in (("--before", "calls_before"), ("--after", "calls_after"))
        if not found[column].sum()
    ]
    if not silent and found.height and found["error_low"].null_count() == found.height:
        click.echo(
            "no endpoint has calls in more than one five minutes of either window: how much these differ by themselves is not"
            " known; windows of half an hour or more tell it",
            err=True,
        )
    for option in silent:
        known = f"the lake ends {lens.data_end:%Y-%m-%d %H:%MZ}" if lens.data_end else "the lake is empty"
        click.echo(f"no call in {option}: nothing is measured there, and nothing can be said; {known}", err=True)
    if not silent and _before(second.start, first.start):
        click.echo("--after lies before --before: worse and better are said the other way round", err=True)
    if _before(second.start, first.end) and _before(first.start, second.end):
        click.echo("the windows overlap: the calls of both are held against themselves", err=True)
    if silent:
        return Exit.PARTIAL
    return Exit.FINDINGS if fail_on and worse else Exit.DONE


def _before(one: datetime | None, other: datetime | None) -> bool:
    return one is not None and other is not None and one < other


def _window(text: str, now: datetime, option: str) -> Window:
    start, dots, end = text.partition("..")
    if not dots or not start or not end:
        raise UsageError(
            f"{option} {text!r} is no window; expected START..END, for example 2d..1d or 2026-03-04..2026-03-05"
        )
    return Window(parse_time(start, now=now), parse_time(end, now=now))


def _points(ratio: float | None) -> str | None:
    return None if ratio is None else f"{100 * ratio:.2f} %"
