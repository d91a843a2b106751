"""`apilens triage`: link feedback with candidates."""

from __future__ import annotations

import json

import click

from apilens.cli.links import show_links
from apilens.cli.options import (
    config_option,
    context_option,
    lake_option,
    moment,
    now_option,
    output_option,
    state_option,
)
from apilens.errors import Exit


@click.command()
@context_option
@config_option
@now_option
@output_option("table", "json", "ndjson")
@lake_option
@state_option
def triage(context: str | None, config: str | None, now: str | None, output: str, lake: str, state: str | None) -> int:
    """Link what people reported with the candidates of the last scan, with reasons, and find repeats.

    Reads lake and state, replaces the links in the state database; the context and the [[rules]] of the configuration
    are kept for what reads the state later. Run it after `apilens scan` and `apilens feedback import`; running it again does the same.

    \b
    apilens triage --context context.toml
    apilens triage --output ndjson | jq 'select(.band == "suggested")'
    """
    from apilens.pipeline import people
    from apilens.reports.ndjson import ndjson_text, records

    done = people.triage(lake=lake, state=state, context=context, now=moment(now), config=config)
    counts = done.counts()
    if output == "ndjson":
        click.echo(ndjson_text(done.links), nl=False)
        return Exit.DONE
    if output == "json":
        facts = {
            "schema_version": 1,
            "now": done.now.isoformat(),
            **counts,
            "changed": done.changed,
            "links": records(done.links),
            "duplicates": records(done.duplicates),
        }
        click.echo(json.dumps(facts, ensure_ascii=False))
        return Exit.DONE
    if done.links.height:
        show_links("", done.links)
    click.echo(
        f"feedback {counts['items']:,} items: {counts['linked']:,} linked, {counts['to_confirm']:,} to confirm, "
        f"{counts['no_trace']:,} no trace ({counts['questions']:,} questions); {counts['merged']:,} merged"
    )
    return Exit.DONE
