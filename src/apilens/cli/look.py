"""`apilens look`: a first impression of some logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from apilens.cli.commandline import command_line
from apilens.cli.options import config_option, log_format_from_option, since_option, tz_option, until_option
from apilens.errors import INTERRUPTED

if TYPE_CHECKING:
    import polars as pl

    from apilens.lens import Lens


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@config_option
@click.option("--format", "format_", metavar="NAME", help="Read as this format instead of detecting it.")
@click.option("--log-format", metavar="LAYOUT", help="The gateway's own log_format or LogFormat, pasted as it is.")
@log_format_from_option
@click.option("--columns", multiple=True, metavar="COLUMN=NAME[:UNIT]", help="Mapping of a table's columns.")
@tz_option
@since_option
@until_option
@click.option("--top", default=20, show_default=True, help="Endpoints to show.")
def look(
    paths: tuple[str, ...],
    config: str | None,
    format_: str | None,
    log_format: str | None,
    log_format_from: str | None,
    columns: tuple[str, ...],
    tz: str | None,
    since: str | None,
    until: str | None,
    top: int,
) -> int:
    """Ingest some logs into a temporary lake, then show their endpoints and what became abnormal. Leaves nothing behind.

    --since, --until: show only this window, counted back from the end of the logs; what came before is the past to
    compare it with.

    \b
    apilens look /var/log/nginx/access.log*
    apilens look /var/log/nginx/access.log* --since 30m
    kubectl logs deploy/gateway | apilens look -
    """
    import tempfile

    from apilens.cli.ingest import mostly_rejected, print_problems, print_summary
    from apilens.cli.inputs import parse_options
    from apilens.ingest.run import Request
    from apilens.lens import Lens
    from apilens.pipeline import logs
    from apilens.reports.progress import progress_bar

    how = {"--config": config, "--format": format_, "--log-format": log_format, "--log-format-from": log_format_from}
    how["--tz"] = tz
    mapping = [f"--columns={text}" for text in columns]
    again = command_line("ingest", *paths, *mapping, given=how)
    try:
        with tempfile.TemporaryDirectory(prefix="apilens-look-") as lake:
            request = Request(paths, parse_options(format_, log_format, columns, tz, log_format_from), final=True)
            with progress_bar() as progress:
                result = logs.ingest(lake, request, config, progress=progress)
            refusing = next((report.name for report in result.reports if report.counts.rejected), "FILE")
            why = command_line("parse", refusing, *mapping, given=how)
            print_summary(result, f"why lines were rejected: {why} > /dev/null")
            print_problems(result)
            lens = Lens(lake)
            if result.totals.rejected:
                _show_reject(lens)
            if lens.data_end is not None:
                readable = not mostly_rejected(result.totals)
                if not readable:
                    click.echo(
                        f"\nwhat follows is about {result.totals.stored:,} of {result.totals.read:,} records only"
                    )
                _show(lens, since, until, top)
                if readable:
                    click.echo(
                        f"\nkeep it and go on:  {again}\n                    apilens scan && apilens report --out report.html"
                    )
    except KeyboardInterrupt:
        click.echo(f"interrupted; look keeps nothing. What is read a piece at a time stays with: {again}", err=True)
        return INTERRUPTED
    return result.exit_code


def _show_reject(lens: Lens) -> None:
    """The first line that was rejected, and why: it is gone with the lake."""
    from apilens.reports.visible import safe

    row = lens.lake.rejects().sort("source_file", "source_offset").row(0, named=True)
    click.echo(safe(f"the first one: {row['source_file']}:{row['line']}: {row['reason']} (format {row['format']})"))


def _show(lens: Lens, since: str | None, until: str | None, top: int) -> None:
    """Endpoints and candidates of a window, which counts back from the end of the logs."""
    from datetime import timedelta

    from apilens.cli.endpoints import print_endpoints, print_set_apart
    from apilens.cli.scan import print_candidates
    from apilens.pipeline import incidents

    period, end = lens.period, lens.data_end
    assert period is not None
    window = lens.window(since, until, now=end)
    shown = max(period[0], window.start or period[0]), min(period[1], window.end or period[1])
    if shown[0] > shown[1]:
        click.echo(
            f"\nno calls in this window; the logs go from {period[0]:%Y-%m-%d %H:%M} to {period[1]:%Y-%m-%d %H:%M} UTC"
        )
        return
    endpoints, apart = lens.endpoints_and_apart(since, until, now=end)
    click.echo(f"\nendpoints {shown[0]:%Y-%m-%d %H:%M} to {shown[1]:%Y-%m-%d %H:%M} UTC")
    print_endpoints(endpoints, "table", first=top)
    print_set_apart(apart)
    statuses = lens.statuses(since, until, now=end)
    _show_answers(lens.callers(3, since, until, now=end), statuses)
    found = incidents.scan(lens.lake.root, None, since=since, until=until).candidates
    if found.height:
        click.echo(f"\n{found.height} candidate ticket{'s' if found.height > 1 else ''}")
        print_candidates(found)
        return
    # Each endpoint is compared with its own past: a short log has none, and is not therefore in order.
    short = period[1] - period[0] < timedelta(days=1)
    click.echo(
        "\nnothing abnormal found"
        + ("; with less than a day of logs little can be: add the older ones" if short else "")
    )
    if failing := _failing(endpoints, statuses):
        click.echo(f"failing all the same, with 5xx: {failing}")


def _show_answers(callers: pl.DataFrame, statuses: pl.DataFrame) -> None:
    """A line with the status codes of all endpoints, and one with who calls most; nothing where nothing is known."""
    import polars as pl

    from apilens.reports.units import count, percent
    from apilens.reports.visible import safe

    codes = (
        statuses.group_by("status_code")
        .agg(pl.col("calls").sum())
        .sort("calls", "status_code", descending=[True, False])
    )
    if codes.is_empty():
        return
    total = codes["calls"].sum()
    shown = [
        f"{'none' if code is None else code} {count(n)} ({percent(n / total)})" for code, n in codes.head(8).rows()
    ]
    click.echo(f"\nanswered with:    {', '.join(shown)}{', …' if codes.height > 8 else ''}")
    named = callers.drop_nulls("caller").rows(named=True)
    if named:
        shown = [
            f"{one['caller']} {count(one['calls'])} ({percent(one['calls'] / total)} of all; {percent(one['errors'] / one['calls'])} of them 5xx)"
            for one in named
        ]
        click.echo(safe(f"busiest callers:  {', '.join(shown)}"))


#: From which share of 5xx, and of how many calls, an endpoint is named though nothing says that it is new. Picked.
_FAILING, _CALLS = 0.05, 20


def _failing(endpoints: pl.DataFrame, statuses: pl.DataFrame) -> str:
    """The endpoints that fail most, at most three, in words; empty: none does."""
    import polars as pl

    from apilens.reports.units import count, percent
    from apilens.reports.visible import safe

    keys = ["environment", "service", "method", "route"]
    codes = statuses.filter(pl.col("status_code") >= 500).group_by(keys, maintain_order=True)
    told = codes.agg(codes=pl.format("{} × {}", "calls", "status_code").head(2).str.join(", "))
    worst = endpoints.filter(pl.col("error_ratio") >= _FAILING, pl.col("calls") >= _CALLS)
    worst = worst.sort(pl.col("error_ratio") * pl.col("calls"), descending=True).head(3)
    return ", ".join(
        f"{safe(row['method'] or '?')} {safe(row['route'] or '?')}"
        f" ({percent(row['error_ratio'])} of {count(row['calls'])} calls: {row['codes']})"
        for row in worst.join(told, on=keys, how="left", nulls_equal=True, maintain_order="left").iter_rows(named=True)
    )
