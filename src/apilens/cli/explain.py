"""`apilens explain`: what carries a candidate."""

from __future__ import annotations

import json
import shlex
from typing import Any

import click

from apilens.cli.options import lake_option, output_option, state_option
from apilens.errors import Exit


@click.command()
@click.argument("candidate")
@click.option("--top", "top", type=click.IntRange(1, 1000), default=15, show_default=True, help="Values to show.")
@lake_option
@state_option
@output_option("table", "json", "ndjson")
def explain(candidate: str, top: int, lake: str, state: str | None, output: str) -> int:
    """Why a candidate was raised: its numbers, and which consumer, node, upstream, client, version carries the change,
    against the day before, with the chance of that by accident, corrected for all values that were tested.

    CANDIDATE: an id of `apilens scan`, or its beginning. Reads the calls of the candidate's endpoints.

    \b
    apilens explain 1361c5c5d0
    apilens explain 1361c5c5d0 --output json
    """
    from apilens.pipeline import incidents
    from apilens.reports.ndjson import ndjson_text, records
    from apilens.reports.terminal import Column, safe, table
    from apilens.reports.units import count, evidence, percent

    row, found = incidents.explain(lake, state, candidate)
    if output == "ndjson":
        click.echo(ndjson_text(found), nl=False)
    elif output == "json":
        body = {"schema_version": 1, "id": row["id"], "title": row["title"], "explanation": row["explanation"]}
        click.echo(
            json.dumps(
                {
                    **body,
                    "carriers": records(found),
                    "evidence": row["evidence"] or [],
                    "request_ids": row["request_ids"],
                },
                ensure_ascii=False,
            )
        )
    else:
        click.echo(f"{safe(row['title'])}\n{safe(row['explanation'])}\n")
        unit = {"latency": "ms", "traffic": "calls an hour"}.get(row["signal"], "share")
        shown = (lambda value: None if value is None else f"{value:,.1f}") if unit != "share" else percent
        headings = ["calls before", f"{unit} before", "calls", unit, "of the excess", "of the calls", "by chance"]
        if found.height:
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
                    for one in found.head(top).iter_rows(named=True)
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
        if row["request_ids"]:
            click.echo("first request ids: " + safe(", ".join(row["request_ids"][:5])))
        # Calls that did not come have no address, and a machine, a gap or a clock has no calls.
        if row["consumers_hit"] is None and row["endpoints"] and row["signal"] != "traffic":
            statement = _addresses(row)
            # Its own quotes are single ones; readable in double ones where the shell finds nothing in it to expand.
            quoted = shlex.quote(statement) if set(statement) & set('"$`\\!') else f'"{statement}"'
            asked = f"apilens sql {quoted} --lake {shlex.quote(lake)}"
            click.echo("the calls name no consumer; the addresses they came from:\n  " + safe(asked))
    return Exit.DONE


def _addresses(candidate: dict[str, Any]) -> str:
    """The statement that counts a candidate's calls by client address."""
    names = ", ".join("'" + name.replace("'", "''") + "'" for name in candidate["endpoints"][:10])
    status = (candidate["hint"] or {}).get("status")
    return (
        "SELECT client_ip, count(*) AS calls FROM calls"
        f" WHERE start_time >= '{candidate['start']:%Y-%m-%d %H:%M}' AND start_time < '{candidate['end']:%Y-%m-%d %H:%M}'"
        f" AND method || ' ' || route IN ({names})"
        + (f" AND status_code = {status}" if status and status.isdecimal() else "")
        + " GROUP BY 1 ORDER BY 2 DESC LIMIT 20"
    )
