"""`apilens trace`: one request or one consumer, in sequence."""

from __future__ import annotations

import json

import click

from apilens.cli.commandline import command_line, lake_given
from apilens.cli.options import lake_option, moment, now_option, output_option
from apilens.errors import Exit, UsageError


@click.command()
@click.argument("request_id", required=False)
@click.option(
    "--consumer",
    "consumer",
    metavar="NAME",
    help="The calls of this consumer, or of a client address where they name none, instead of one request.",
)
@click.option("--around", "around", metavar="TIME", help="Only calls near this moment.")
@click.option("--minutes", "minutes", type=click.IntRange(1, 10_080), default=30, show_default=True, help="How near.")
@now_option
@lake_option
@output_option("table", "json", "ndjson")
def trace(
    request_id: str | None,
    consumer: str | None,
    around: str | None,
    minutes: int,
    now: str | None,
    lake: str,
    output: str,
) -> int:
    """Follow a request id (or trace id), or a consumer around a moment, through all gateways, and see what failed first.

    Reads the calls of the window; without --around those of the whole lake. At most 1,000 calls are shown.

    \b
    apilens trace 4f1c2a
    apilens trace --consumer app-17 --around 2026-03-10T10:10Z
    """
    from datetime import UTC, datetime, timedelta

    from apilens.lens import Lens
    from apilens.measure.trace import MOST
    from apilens.reports.ndjson import ndjson_text, records
    from apilens.reports.terminal import Column, table
    from apilens.reports.units import milliseconds
    from apilens.window import ALWAYS, Window, parse_time

    if (request_id is None) == (consumer is None):
        raise UsageError(
            "give a request id or --consumer NAME, one of them; for example: apilens trace --consumer app-17"
        )
    window = ALWAYS
    lens = Lens(lake)
    if around is not None:
        middle = parse_time(around, now=moment(now) or lens.data_end or datetime.now(UTC))
        window = Window(middle - timedelta(minutes=minutes), middle + timedelta(minutes=minutes))
    found = lens.trace(request=request_id, consumer=consumer, window=window)
    if output == "ndjson":
        click.echo(ndjson_text(found), nl=False)
    elif output == "json":
        click.echo(json.dumps({"schema_version": 1, "calls": records(found)}, ensure_ascii=False))
    elif found.height:
        table(
            "",
            ["start (UTC)", Column("took", "right"), "status", "call", "upstream", "logged by", "request id", ""],
            (
                (
                    f"{row['start_time']:%m-%d %H:%M:%S.%f}"[:-3],
                    milliseconds(row["duration_ms"]),
                    row["status_code"],
                    f"{row['method'] or '?'} {row['path'] or row['route'] or '?'}",
                    row["upstream_name"] or row["upstream_address"],
                    row["node"] or row["gateway"],
                    row["request_id"],
                    row["note"] or "",
                )
                for row in found.iter_rows(named=True)
            ),
        )
    if found.height:
        click.echo(f"{found.height:,} call{'s' if found.height > 1 else ''}", err=True)
        if found.height == MOST:
            named = {
                "--consumer": consumer,
                "--around": f"{found['start_time'][-1]:%Y-%m-%dT%H:%M:%SZ}",
                **lake_given(lake),
            }
            again = command_line("trace", *([request_id] if request_id else []), given=named)
            click.echo(
                f"the earliest ones, there may be more behind them; a shorter time: {again} --minutes 5", err=True
            )
    else:
        what = f"consumer {consumer!r}" if request_id is None else f"request id or trace id {request_id!r}"
        where = "in the lake" if around is None else f"within {minutes} minutes of {around}"
        asked = "SELECT consumer, client_ip, request_id, path FROM calls LIMIT 5"
        click.echo(f'no call of {what} {where}; what the calls name: apilens sql "{asked}"', err=True)
    return Exit.DONE
