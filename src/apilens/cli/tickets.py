"""`apilens tickets`: file each problem once."""

from __future__ import annotations

import json

import click

from apilens.cli.commandline import command_line, lake_given
from apilens.cli.options import config_option, lake_option, moment, now_option, output_option, state_option
from apilens.errors import Exit

_tracker_option = click.option(
    "--tracker", "tracker", required=True, metavar="KIND:WHERE", help="Where tickets go, for example folder:tickets."
)
_include_ended_option = click.option(
    "--include-ended", is_flag=True, help="Also candidates that are over; without it only open ones are filed."
)


@click.group()
def tickets() -> None:
    """Plan and file tickets, each problem once.

    \b
    apilens tickets plan  --tracker folder:tickets
    apilens tickets apply --tracker folder:tickets
    """


@tickets.command("plan")
@_tracker_option
@_include_ended_option
@config_option
@output_option("table", "json")
@lake_option
@state_option
def plan(tracker: str, include_ended: bool, config: str | None, output: str, lake: str, state: str | None) -> int:
    """Print what `apply` would do, and the hash of it. Changes nothing.

    \b
    apilens tickets plan --tracker folder:tickets
    apilens tickets plan --tracker folder:tickets --include-ended --output json
    """
    from apilens.pipeline import tickets
    from apilens.reports.ndjson import records
    from apilens.reports.terminal import several_environments, table

    made, digest = tickets.plan_tickets(
        lake=lake, state=state, tracker=tracker, include_ended=include_ended, config=config
    )
    creates = made.filter(made["action"] == "create").height
    if output == "json":
        click.echo(json.dumps({"schema_version": 1, "hash": digest, "create": creates, "plan": records(made)}))
        return Exit.DONE
    if made.height:
        apart = ["environment"] if several_environments(made) else []
        columns = ["action", "priority", "severity", *apart, "start", "title", "ticket"]
        shown = made.with_columns(made["start"].dt.strftime("%Y-%m-%d %H:%MZ"))
        table("", columns, shown.select(columns).rows())
    click.echo(f"{creates:,} to create, {made.height - creates:,} filed already; plan {digest}")
    if creates:
        again = {"--tracker": tracker, "--plan": digest, "--config": config, **lake_given(lake)}
        ended = ["--include-ended"] if include_ended else []
        click.echo(f"next: {command_line('tickets', 'apply', *ended, given=again)}", err=True)
    return Exit.DONE


@tickets.command("apply")
@_tracker_option
@_include_ended_option
@click.option("--plan", "expected", metavar="HASH", help="Only if the plan is still the one with this hash.")
@now_option
@config_option
@output_option("table", "json")
@lake_option
@state_option
def apply(
    tracker: str,
    include_ended: bool,
    expected: str | None,
    now: str | None,
    config: str | None,
    output: str,
    lake: str,
    state: str | None,
) -> int:
    """File a ticket for each open candidate that has none. Again, or from several machines, adds nothing.

    Writes to the tracker and the state database. A ticket somebody deleted in the tracker is not filed again. Exit 5
    when a ticket could not be delivered; it waits for the next run.

    \b
    apilens tickets apply --tracker folder:tickets
    apilens tickets apply --tracker folder:tickets --plan 1f0c2a9b77de
    """
    from apilens.pipeline import tickets
    from apilens.reports.terminal import safe, table

    done = tickets.apply_tickets(
        lake=lake,
        state=state,
        tracker=tracker,
        include_ended=include_ended,
        expected=expected,
        now=moment(now),
        config=config,
    )
    failed = done.outcomes.filter(done.outcomes["outcome"] == "failed")
    for error in failed["error"]:
        click.echo(safe(error), err=True)
    created, adopted = ((done.outcomes["outcome"] == name).sum() for name in ("created", "adopted"))
    if output == "json":
        facts = {
            "schema_version": 1,
            "tracker": done.tracker,
            "created": created,
            "adopted": adopted,
            "failed": failed.height,
            "outcomes": done.outcomes.to_dicts(),
        }
        click.echo(json.dumps(facts, ensure_ascii=False))
    else:
        if done.outcomes.height:
            table("", ["outcome", "ticket", "reference"], done.outcomes.select("outcome", "ticket", "reference").rows())
        click.echo(f"{created:,} created, {adopted:,} adopted, {failed.height:,} failed in {safe(done.tracker)}")
    return Exit.OUTBOUND if failed.height else Exit.DONE
