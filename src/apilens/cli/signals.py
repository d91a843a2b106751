"""`apilens signals`: friction that is no outage."""

from __future__ import annotations

import json

import click

from apilens.cli.options import lake_option, moment, now_option, output_option, since_option, until_option
from apilens.errors import Exit


@click.command()
@since_option
@until_option
@now_option
@lake_option
@output_option("table", "json", "ndjson")
def signals(since: str | None, until: str | None, now: str | None, lake: str, output: str) -> int:
    """What users ran into without an outage: retries, work abandoned behind an error, polling, authentication loops,
    calls that many get wrong, quotas, hang-ups and old versions. Each with its category and the consumers behind it.

    Reads the calls of the window. Bots, scanners and health checks are left out.

    \b
    apilens signals --since 7d
    apilens signals --output json
    """
    from datetime import UTC, datetime

    from apilens.lens import Lens
    from apilens.reports.ndjson import ndjson_text, records
    from apilens.reports.terminal import Column, table
    from apilens.reports.units import count

    lens = Lens(lake)
    found = lens.implicit_signals(since, until, now=moment(now) or lens.data_end or datetime.now(UTC))
    if output == "ndjson":
        click.echo(ndjson_text(found), nl=False)
    elif output == "json":
        click.echo(json.dumps({"schema_version": 1, "signals": records(found)}, ensure_ascii=False))
    elif found.is_empty():
        click.echo(
            "no signals in this window; retries and the like are told per consumer, where the log names one", err=True
        )
    else:
        table(
            "",
            [
                "signal",
                "category",
                Column("calls", "right"),
                Column("consumers", "right"),
                "top consumer",
                "what it says",
            ],
            (
                (
                    row["signal"],
                    row["category"],
                    count(row["calls"]),
                    count(row["consumers"]),
                    row["top_consumer"],
                    row["says"],
                )
                for row in found.iter_rows(named=True)
            ),
        )
    return Exit.DONE
