"""`apilens explain`: what carries a candidate."""

from __future__ import annotations

import json

import click

from apilens.cli.options import lake_option, output_option, state_option
from apilens.errors import Exit

#: What the affected calls of a signal are called.
_AFFECTED = {"latency": "answered", "traffic": "made"}


@click.command()
@click.argument("candidate")
@click.option(
    "--top", "top", type=click.IntRange(1, 1000), default=15, show_default=True, help="Values and addresses to show."
)
@lake_option
@state_option
@output_option("table", "json", "ndjson")
def explain(candidate: str, top: int, lake: str, state: str | None, output: str) -> int:
    """Why a candidate was raised: its numbers, and which consumer, node, upstream, client, version carries the change,
    against the day before, with the chance of that by accident, corrected for all values that were tested; and the client
    addresses behind the affected calls that name no consumer.

    CANDIDATE: an id of `apilens scan`, or its beginning. Reads the calls of the candidate's endpoints.

    \b
    apilens explain 1361c5c5d0
    apilens explain 1361c5c5d0 --output json
    """
    import polars as pl

    from apilens.pipeline import incidents
    from apilens.reports.ndjson import ndjson_text, records
    from apilens.reports.terminal import Column, safe, table
    from apilens.reports.units import count, evidence, percent, second
    from apilens.triage.next_steps import next_steps, where_to_look

    found = incidents.explain(lake, state, candidate, most=top)
    row, carriers = found.candidate, found.carriers
    if output == "ndjson":
        click.echo(ndjson_text(carriers), nl=False)
    elif output == "json":
        body = {"schema_version": 1, "id": row["id"], "title": row["title"], "explanation": row["explanation"]}
        first = row["first_affected_at"]
        body["first_affected_at"] = first and first.isoformat()
        click.echo(
            json.dumps(
                {
                    **body,
                    "carriers": records(carriers),
                    "addresses": records(found.addresses),
                    "evidence": row["evidence"] or [],
                    "request_ids": row["request_ids"],
                    "next_steps": next_steps(row),
                },
                ensure_ascii=False,
            )
        )
    else:
        click.echo(f"{safe(row['title'])}\n{safe(row['explanation'])}")
        if row["first_affected_at"] is not None:
            click.echo(f"The first such call: {second(row['first_affected_at'])} UTC.")
        if (advice := where_to_look(row)) is not None:
            click.echo(safe(advice))
        click.echo()
        unit = {"latency": "ms", "traffic": "calls an hour"}.get(row["signal"], "share")
        shown = (lambda value: None if value is None else f"{value:,.1f}") if unit != "share" else percent
        headings = ["calls before", f"{unit} before", "calls", unit, "of the excess", "of the calls", "by chance"]
        # A value that all calls have says nothing.
        telling = carriers.filter((pl.col("traffic_share").max() < 1).over("dimension"))
        if carriers.height and not telling["carries"].any():
            rest = " more than its share of the calls:" if telling.height else ": in all the log names they are alike."
            click.echo(f"No one value carries it{rest}")
        carriers = telling
        if carriers.height:
            table(
                "",
                [
                    "carries",
                    "dimension",
                    "value",
                    *(Column(name, "right", spare="before" in name or name == "by chance") for name in headings),
                ],
                (
                    (
                        "yes" if one["carries"] else "",
                        one["dimension"],
                        one["value"] or "(not logged)",
                        count(one["calls_before"]),
                        shown(one["measure_before"]),
                        count(one["calls"]),
                        shown(one["measure"]),
                        percent(one["excess_share"]),
                        percent(one["traffic_share"]),
                        f"{one['p']:.2g}",
                    )
                    for one in carriers.head(top).iter_rows(named=True)
                ),
            )
        beside = [one for one in row["evidence"] or [] if one["kind"] != "carrier"]
        if beside:
            table(
                "",
                ["beside it", "", Column("before", "right"), Column("during", "right")],
                (
                    (one["name"], one["value"], *(evidence(one[name], one["unit"]) for name in ("before", "during")))
                    for one in beside
                ),
            )
        if row["affected_consumers"]:
            said = f"consumers hit, most first ({row['consumers_hit']:,}): "
            click.echo(said + safe(", ".join(row["affected_consumers"][:5])))
        if row["request_ids"]:
            click.echo("first request ids: " + safe(", ".join(row["request_ids"][:5])))
        if found.addresses.height:
            table(
                "",
                [
                    "calls that name no consumer, by client address",
                    Column(_AFFECTED.get(row["signal"], "failed"), "right"),
                    Column("calls", "right"),
                    "first (UTC)",
                ],
                (
                    (
                        one["client_ip"] or "(not logged)",
                        count(one["affected"]),
                        count(one["calls"]),
                        second(one["first_affected_at"]),
                    )
                    for one in found.addresses.iter_rows(named=True)
                ),
            )
    return Exit.DONE
