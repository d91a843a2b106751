"""`apilens metrics`: system metrics beside the calls."""

from __future__ import annotations

import json

import click

from apilens.cli.options import config_option, lake_option, output_option, tz_option, zone
from apilens.errors import Exit


@click.group(invoke_without_command=True)
@output_option("table", "json", "ndjson")
@config_option
@lake_option
@click.pass_context
def metrics(ctx: click.Context, output: str, config: str | None, lake: str) -> int:
    """System metrics that were imported: one row per series, with its limit, the latest value and the highest.

    apilens scan raises candidates where they are beyond their limit or far from their own past, and names them in the
    evidence of other candidates that began when they moved. [[metrics]] of apilens.toml sets limits.

    \b
    apilens metrics
    apilens metrics import cpu.json memory.csv
    """
    if ctx.invoked_subcommand is not None:
        return Exit.DONE
    from apilens.config import load_config
    from apilens.detect.system import amount
    from apilens.lens import Lens
    from apilens.reports.ndjson import ndjson_text, records
    from apilens.reports.terminal import Column, table
    from apilens.reports.units import count, moment

    found = Lens(lake, load_config(config)).metric_series()
    if output == "ndjson":
        click.echo(ndjson_text(found), nl=False)
    elif output == "json":
        click.echo(json.dumps({"schema_version": 1, "series": records(found)}, ensure_ascii=False))
    elif found.is_empty():
        click.echo("no metrics yet; next: apilens metrics import FILE", err=True)
    else:
        names = ["samples", "latest", "highest", "above", "below"]
        table(
            "",
            ["kind", "metric", "node", "labels", *(Column(name, "right") for name in names), "last sample (UTC)"],
            (
                (
                    row["kind"],
                    row["metric"],
                    row["node"],
                    row["labels"],
                    count(row["samples"]),
                    # Of a counter the values are sums, its limits are for what it grows by.
                    *(
                        None if row[name] is None else amount(row[name], row["unit"]) + suffix * row["counter"]
                        for name, suffix in (
                            ("latest", " in all"),
                            ("highest", " in all"),
                            ("above", "/s"),
                            ("below", "/s"),
                        )
                    ),
                    moment(row["last_seen"]),
                )
                for row in found.iter_rows(named=True)
            ),
        )
    return Exit.DONE


@metrics.command("import")
@click.argument("paths", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--name", "name", metavar="NAME", help="Name of series without one (rate(…)); default: that of their file."
)
@tz_option
@config_option
@lake_option
@output_option("table", "json")
def import_(
    paths: tuple[str, ...], name: str | None, tz: str | None, config: str | None, lake: str, output: str
) -> int:
    """Read metrics of CPU, memory, disk, network and databases: the JSON of Prometheus range queries (also Thanos, Mimir,
    VictoriaMetrics), or CSV with a time column, as Grafana's panels export it. Importing again adds nothing.

    Writes the lake's table metrics. Kind and unit are told by the names; [[metrics]] of apilens.toml says it where they
    do not. A file is read as a whole.

    \b
    curl -s "$PROM/api/v1/query_range?query=$Q&start=$A&end=$B&step=60" | apilens metrics import - --name cpu_usage
    apilens metrics import 'exports/*.json' panel.csv
    """
    from dataclasses import asdict

    from apilens.pipeline import metrics as pipeline
    from apilens.reports.terminal import safe

    done = pipeline.import_metrics(paths, lake=lake, tz=zone(tz), name=name, config=config)
    if output == "json":
        reports = [{**asdict(report), "read": report.read} for report in done.reports]
        click.echo(json.dumps({"schema_version": 1, "files": reports}, ensure_ascii=False))
    for report in done.reports:
        if output == "table" and report.format is not None:
            click.echo(
                f"{safe(report.name)}: {report.format}, {report.series} series: read {report.read:,} = stored {report.stored:,}"
                f" + rejected {report.rejected:,} + empty {report.empty:,} + duplicate {report.duplicate:,}"
            )
        if report.problem is not None:
            click.echo(f"apilens: {safe(report.problem)}", err=True)
        for where, reason in report.rejects:
            click.echo(f"{safe(report.name)}: {safe(where)}: {safe(reason)}; set aside", err=True)
        if report.rejected > len(report.rejects):
            click.echo(f"{safe(report.name)}: and {report.rejected - len(report.rejects):,} more", err=True)
    return done.exit_code
