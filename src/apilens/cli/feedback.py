"""`apilens feedback`: what people reported."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from apilens.cli.options import (
    config_option,
    decision_options,
    lake_option,
    moment,
    now_option,
    output_option,
    state_option,
    tz_option,
    zone,
)
from apilens.errors import Exit, InputError, UsageError

#: As in apilens.schema, whose import costs Polars.
_CATEGORIES = ("bug", "configuration", "training_gap", "capacity", "dependency", "question", "enhancement")
_SEVERITIES = ("critical", "high", "medium", "low")

if TYPE_CHECKING:
    from apilens.pipeline.intake import Imported

_SHOWN = 20  # rejects written to stderr; --output json has them all


@click.group()
def feedback() -> None:
    """Import and list what people reported.

    \b
    apilens feedback import tickets.ndjson survey.csv
    apilens feedback list --output ndjson
    """


@feedback.command("import")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--channel", metavar="NAME", help="Channel of records that name none; default: the kind of export.")
@click.option("--mapping", metavar="FILE", help='What the columns of a table mean (TOML: [fields] title = "Summary").')
@tz_option
@now_option
@config_option
@output_option("table", "json")
@lake_option
@state_option
def import_(
    paths: tuple[str, ...],
    channel: str | None,
    mapping: str | None,
    tz: str | None,
    now: str | None,
    config: str | None,
    output: str,
    lake: str,
    state: str | None,
) -> int:
    """Store the items in PATH... (files, folders, globs or -), compressed or not; the kind is told by the content.

    Exports of Jira, ServiceNow, Zendesk, GitHub, GitLab, Slack (zip), Teams, Alertmanager, PagerDuty; mbox, .eml, Maildir;
    surveys (CSV, XLSX); notes in Markdown. Else CSV, XLSX, Parquet, NDJSON or JSON with columns id, channel, created_at, and
    reporter, account, title, body, status, resolved_at, updated_at where known; any other becomes an attribute. An item is
    known by channel and id: importing it again updates it. Secrets in texts are masked, attachments named and not stored.
    Exit 4 when an input could not be used, or more records were set aside than max_reject_ratio allows.

    \b
    apilens feedback import jira.csv mails.mbox slack-export.zip
    apilens feedback import --mapping helpdesk.toml --tz Europe/Berlin helpdesk.xlsx
    """
    from apilens.pipeline import intake

    done = intake.import_feedback(
        paths,
        lake=lake,
        state=state,
        channel=channel,
        tz=zone(tz),
        now=moment(now) or datetime.now(UTC),
        config=config,
        mapping=mapping,
    )
    return _said(done, output)


@feedback.command()
@click.argument("names", nargs=-1, metavar="[NAME...]")
@tz_option
@now_option
@config_option
@output_option("table", "json")
@lake_option
@state_option
def pull(
    names: tuple[str, ...],
    tz: str | None,
    now: str | None,
    config: str | None,
    output: str,
    lake: str,
    state: str | None,
) -> int:
    """Ask the interfaces of apilens.toml ([pulls.NAME]; all of them, or those named) for what is new, and store it.

    Jira, ServiceNow, Zendesk, GitHub, GitLab, Slack, IMAP; only reads there. Goes on where the last pull ended. Secrets come
    from the environment. Exit 3 when none could be read, 4 when some could not.

    \b
    apilens feedback pull
    apilens feedback pull shop-jira --output json
    """
    from apilens.pipeline import intake

    done = intake.pull_feedback(
        names, lake=lake, state=state, tz=zone(tz), now=moment(now) or datetime.now(UTC), config=config
    )
    return _said(done, output)


def _said(done: Imported, output: str) -> int:
    """What an import or pull did, and its exit code."""
    from apilens.reports.terminal import safe

    for line in (*done.remarks, *done.failures):
        click.echo(safe(line), err=True)
    for name, number, reason in done.rejects.head(_SHOWN).rows():
        click.echo(f"{safe(name)}:{number}: {safe(reason)}; set aside", err=True)
    if done.rejected > _SHOWN:
        click.echo(f"and {done.rejected - _SHOWN} more; all of them: --output json", err=True)
    if output == "json":
        facts = {
            "schema_version": 1,
            "read": done.read,
            "stored": done.stored,
            "new": done.new,
            "updated": done.updated,
            "rejected": done.rejected,
            "duplicate": done.duplicate,
            "inputs": done.inputs,
            "rejects": done.rejects.to_dicts(),
            "remarks": done.remarks,
            "failures": done.failures,
        }
        click.echo(json.dumps(facts, ensure_ascii=False))
    else:
        click.echo(
            f"read {done.read:,} = stored {done.stored:,} ({done.new:,} new, {done.updated:,} updated)"
            f" + rejected {done.rejected:,} + duplicate {done.duplicate:,}"
        )
    return done.exit_code


@feedback.command("list")
@config_option
@output_option("table", "json", "ndjson")
@lake_option
@state_option
def list_(config: str | None, output: str, lake: str, state: str | None) -> int:
    """List all items with category and what the report lacks.

    Reads the state database, changes nothing.

    \b
    apilens feedback list
    apilens feedback list --output ndjson | jq 'select(.missing != [])'
    """
    from apilens.pipeline import people
    from apilens.reports.ndjson import for_machines
    from apilens.reports.terminal import table

    items = people.reported(lake=lake, state=state, config=config)
    if (text := for_machines(items, output, "items")) is not None:
        click.echo(text, nl=False)
    else:
        table(
            f"{items.height:,} items",
            ["item", "created (UTC)", "reporter", "category", "status", "lacks", "title"],
            (
                (
                    f"{row['channel']}:{row['id']}",
                    f"{row['created_at']:%Y-%m-%d %H:%M}",
                    row["reporter"],
                    row["category"],
                    row["status"],
                    ", ".join(row["missing"]),
                    row["title"] or (row["body"] or "")[:80],
                )
                for row in items.to_dicts()
            ),
        )
    return Exit.DONE


@feedback.command("show")
@click.argument("item", metavar="CHANNEL:ID")
@config_option
@output_option("table", "json")
@lake_option
@state_option
def show(item: str, config: str | None, output: str, lake: str, state: str | None) -> int:
    """Show one item in full, with the questions to send back.

    Reads the state database, changes nothing.

    \b
    apilens feedback show mail:MAIL-304
    apilens feedback show ticket:SHOP-101 --output json
    """
    import polars as pl

    from apilens.pipeline import people
    from apilens.reports.ndjson import records
    from apilens.reports.terminal import safe

    found = people.reported(lake=lake, state=state, config=config).filter(pl.format("{}:{}", "channel", "id") == item)
    if found.is_empty():
        raise InputError(f"{item}: no such item; list them with: apilens feedback list")
    if output == "json":
        click.echo(json.dumps({"schema_version": 1, **records(found)[0]}))
        return Exit.DONE

    def lines(text: str) -> str:
        """Its lines stay lines, set in so that none can be taken for a field."""
        return "\n  ".join(safe(line) for line in text.split("\n"))

    row = found.row(0, named=True)
    for name, value in row.items():
        if name == "attributes":
            for key, text in (value or {}).items():
                click.echo(f"{safe(key)}: {lines(text)}")
        elif isinstance(value, list):
            for entry in value:
                click.echo(f"{name}: {safe(str(entry))}")
        elif value is not None:
            click.echo(f"{name}: {lines(str(value))}")
    return Exit.DONE


@feedback.command("set")
@click.argument("item", metavar="CHANNEL:ID")
@click.option("--category", type=click.Choice(_CATEGORIES), help="What kind of thing it is.")
@click.option("--severity", type=click.Choice(_SEVERITIES), help="How bad it is.")
@click.option("--module", metavar="NAME", help="Part of the product.")
@click.option("--owner", metavar="TEAM", help="Team that answers for it.")
@decision_options
@lake_option
@state_option
def set_(
    item: str,
    category: str | None,
    severity: str | None,
    module: str | None,
    owner: str | None,
    who: str,
    why: str | None,
    now: datetime,
    lake: str,
    state: str | None,
) -> int:
    """Say what an item is; rules and the model do not change it again, and `feedback train` learns from it.

    \b
    apilens feedback set ticket:T-1 --category bug --severity high --who kim --why "reproduced"
    apilens feedback set chat:CHAT-3 --owner payments
    """
    from apilens.pipeline import people

    given = {"category": category, "severity": severity, "module": module, "owner": owner}
    values = {name: value for name, value in given.items() if value is not None}
    if not values:
        raise UsageError("nothing to set: give --category, --severity, --module or --owner")
    people.set_item(item, values, lake=lake, state=state, who=who, why=why, now=now)
    return Exit.DONE


@feedback.command()
@lake_option
@state_option
def train(lake: str, state: str | None) -> int:
    """Train the model of categories on what people set and on the types their trackers gave, and keep it in the state.

    Prints its macro-F1 in five-fold validation, an abstention counted as wrong. It is asked after the rules of apilens.toml.

    \b
    apilens feedback train
    apilens feedback train --state sqlite:///team.db
    """
    from apilens.pipeline import people

    examples, quality = people.train_categories(lake=lake, state=state)
    click.echo(f"trained on {examples:,} labelled items; macro-F1 {quality:.2f} in five-fold validation")
    return Exit.DONE


@feedback.command()
@click.argument("tracker", type=click.Choice(["jira", "github", "servicenow"]))
def template(tracker: str) -> int:
    """Print a form for a tracker that asks for steps, exact error, environment, expected and actual result.

    \b
    apilens feedback template github > .github/ISSUE_TEMPLATE/problem.yml
    apilens feedback template jira
    """
    from apilens.feedback.template import template as form

    click.echo(form(tracker), nl=False)
    return Exit.DONE


@feedback.command("escalate")
@config_option
@output_option("table", "json", "ndjson")
@lake_option
@state_option
def escalate(config: str | None, output: str, lake: str, state: str | None) -> int:
    """List what only chat, mail and surveys are about and should be a ticket: why, who wrote, and whether it is widespread.

    Three people, severe words or a rule, a VIP account, or a problem the logs show make a ticket of it. Reads the state as the
    last triage left it, changes nothing.

    \b
    apilens feedback escalate
    apilens feedback escalate --output ndjson | jq 'select(.hit > 10)'
    """
    from apilens.pipeline import people
    from apilens.reports.ndjson import for_machines
    from apilens.reports.terminal import table

    found = people.to_escalate(lake=lake, state=state, config=config)
    if (text := for_machines(found, output, "escalations")) is not None:
        click.echo(text, nl=False)
    else:
        table(
            f"{found.height:,} matters to file",
            ["item", "reporters", "widespread", "because"],
            (
                (
                    f"{row['channel']}:{row['id']}",
                    ", ".join(row["reporters"][:5]),
                    row["widespread"],
                    "; ".join(row["why"]),
                )
                for row in found.to_dicts()
            ),
        )
    return Exit.DONE
