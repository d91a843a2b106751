"""`apilens queue`: the ranked queue."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import click

from apilens.cli.commandline import command_line, lake_given
from apilens.cli.options import (
    config_option,
    context_option,
    decision_options,
    lake_option,
    moment,
    now_option,
    output_option,
    state_option,
)
from apilens.errors import Exit, UsageError

if TYPE_CHECKING:
    import polars as pl

_NUMBERS = ("rank", "weight", "hit", "told", "silent", "rice")
_SPARE = ("weight", "id", "why", "category", "owner", "rice", "set by")
_Cells = Callable[[dict[str, Any]], Any]


def _plain(*names: str) -> dict[str, _Cells]:
    return {name: itemgetter(name) for name in names}


#: role -> heading -> what stands there: what each of the triage team decides by.
_ROLES: dict[str, dict[str, _Cells]] = {
    "analyst": {
        **_plain("rank", "priority"),
        "weight": lambda row: f"{row['weight']:.1f}",
        **_plain("severity", "hit", "told", "silent"),
        "problem": lambda row: _problem(row),
        "id": itemgetter("id"),
        "why": itemgetter("why"),
    },
    "lead": {
        **_plain("rank", "priority", "severity", "category", "owner"),
        "endpoints": lambda row: ", ".join((row["endpoints"] or [])[:3]),
        "problem": lambda row: _problem(row),
    },
    "support": {
        **_plain("rank", "priority", "state", "told", "silent"),
        "problem": lambda row: _problem(row),
        "who told": lambda row: _some([str(report["reporter"] or report["id"]) for report in row["reports"] or []]),
        "who to tell": lambda row: _to_tell(row),
    },
    "manager": {
        **_plain("rank", "priority", "moscow"),
        "rice": lambda row: f"{row['rice']:.1f}",
        "hit": itemgetter("hit"),
        "problem": lambda row: _problem(row),
        "moved": itemgetter("moved"),
        "set by": itemgetter("override"),
    },
}

#: Columns of `--silent`.
_WHOM_TO_TELL: dict[str, _Cells] = {
    **_plain("rank", "priority", "hit", "told", "silent"),
    # The share of calls whose consumer is known: behind shared addresses "hit" is no number of people.
    "known": lambda row: None if row["identity_coverage"] is None else f"{row['identity_coverage']:.0%}",
    "problem": lambda row: row["title"] or row["id"],
    "who to tell": lambda row: _to_tell(row),
}


@click.group(invoke_without_command=True)
@context_option
@now_option
@click.option(
    "--silent", is_flag=True, help="Whom to tell: problems with consumers who were hit and said nothing, most first."
)
@click.option(
    "--role",
    type=click.Choice(list(_ROLES)),
    default="analyst",
    show_default=True,
    help="Whose columns the table and Markdown have.",
)
@click.option(
    "--sort",
    "order",
    type=click.Choice(["weighted", "rice", "moscow"]),
    default="weighted",
    show_default=True,
    help="Order of the rows; rank stays that of the weighted model.",
)
@config_option
@output_option("table", "json", "ndjson", "markdown")
@lake_option
@state_option
@click.pass_context
def queue(
    ctx: click.Context,
    context: str | None,
    now: str | None,
    silent: bool,
    role: str,
    order: str,
    config: str | None,
    output: str,
    lake: str,
    state: str | None,
) -> int:
    """Rank candidates and reports together: severity, priority with its parts, and who was hit, told, stayed silent.

    Reads the state database, changes nothing. Links, context and --now are those of the last `apilens triage` unless
    given. One row per problem, heaviest first. What moved is told against the triage before the last one; a priority follows
    its weight only 5 points beyond a cut. RICE and MoSCoW are lenses on the same figures. Beside a problem stands what causes or
    blocks it (`apilens related`), and why it should be a ticket where only talk is about it (`apilens feedback escalate`).

    \b
    apilens queue
    apilens queue --role manager --sort moscow
    """
    if ctx.invoked_subcommand is not None:
        return Exit.DONE
    from apilens.pipeline import people
    from apilens.reports.markdown import markdown_table
    from apilens.reports.ndjson import for_machines
    from apilens.reports.terminal import Column, several_environments, table
    from apilens.triage import silent_first, sorted_by, surprise

    ranked = sorted_by(people.queue(lake=lake, state=state, context=context, now=moment(now), config=config), order)
    if silent:
        ranked = silent_first(ranked)
    cells = _WHOM_TO_TELL if silent else _ROLES[role]
    if several_environments(ranked):
        cells = _with_environment(cells)
    columns = [Column(name, "right" if name in _NUMBERS else "left", spare=name in _SPARE) for name in cells]
    rows = [tuple(cell(row) for cell in cells.values()) for row in ranked.to_dicts()]
    if (text := for_machines(ranked, output, "queue")) is not None:
        click.echo(text, nl=False)
    elif output == "markdown":
        click.echo(markdown_table(columns, rows), nl=False)
    elif ranked.is_empty() and not silent:
        click.echo(
            "the queue is empty: no candidates and no feedback; type: apilens scan, apilens feedback import FILE"
        )
    else:
        many = "problem" if ranked.height == 1 else "problems"
        what = f"{many} with silent consumers" if silent else f"{many}, times in UTC"
        table(f"{ranked.height:,} {what}", columns, rows)
        if order == "weighted" and not silent and (why := surprise(ranked)) is not None:
            click.echo(why)
        _advise(ranked, lake, is_triaged=people.is_triaged(lake=lake, state=state))
    return Exit.DONE


def _advise(ranked: pl.DataFrame, lake: str, *, is_triaged: bool) -> None:
    """What to type next, to stderr."""
    import polars as pl

    where = lake_given(lake)
    if not is_triaged:
        how = command_line("triage", given=where)
        click.echo(
            f"reports are not linked yet, and how many consumers there are at all is not known; next: {how}", err=True
        )
    candidates = ranked.filter(pl.col("kind") == "candidate")
    if candidates.is_empty():
        return
    first = candidates.sort(candidates["state"] != "open", maintain_order=True)["id"][0]
    file = command_line("tickets", "plan", given={"--tracker": "folder:tickets", **where})
    click.echo(f"why: {command_line('explain', first, given=where)}; file them: {file}", err=True)


@queue.command("set")
@click.argument("problem", metavar="CANDIDATE|CHANNEL:ID")
@click.option("--priority", type=click.Choice(["P1", "P2", "P3", "P4", "P5", "computed"]), help="computed: as before.")
@click.option("--effort", type=click.FloatRange(min=0, min_open=True), metavar="WEEKS", help="Person-weeks, for RICE.")
@click.option("--until", metavar="TIME", help="When it ends, for example 2026-11-22T10:00Z; default: never.")
@decision_options
@lake_option
@state_option
def set_(
    problem: str,
    priority: str | None,
    effort: float | None,
    until: str | None,
    who: str,
    why: str | None,
    now: datetime,
    lake: str,
    state: str | None,
) -> int:
    """Set the priority or the effort of a problem, whatever its weight says; who, why and until when stand beside it.

    Holds for every occurrence of a candidate.

    \b
    apilens queue set f844a470c4c54bf9d8e3-20260309T1500Z --priority P1 --why "audit" --until 2026-04-01
    apilens queue set mail:MAIL-304 --effort 0.5
    """
    from apilens.pipeline import people

    given = {"priority": priority, "effort": None if effort is None else f"{effort:g}"}
    values = {name: value for name, value in given.items() if value is not None}
    if not values:
        raise UsageError("nothing to set: give --priority or --effort")
    people.override(
        problem,
        values,
        lake=lake,
        state=state,
        who=who,
        why=why,
        until=moment(until),
        now=now,
    )
    return Exit.DONE


def _with_environment(cells: dict[str, _Cells]) -> dict[str, _Cells]:
    """Columns with the environment before the problem; what only people told of names none."""
    place = list(cells).index("problem")
    parts = list(cells.items())
    return dict([*parts[:place], ("environment", itemgetter("environment")), *parts[place:]])


def _some(names: list[str]) -> str:
    """The first few; all of them are in --output json."""
    return ", ".join(names[:12]) + (f" and {len(names) - 12:,} more" if len(names) > 12 else "")


def _to_tell(row: dict[str, Any]) -> str:
    """The silent consumers; who told without being known to speak for one may be among them, and that is said."""
    names = _some(row["silent_consumers"] or [])
    unknown = (row["told"] or 0) - ((row["hit"] or 0) - (row["silent"] or 0))
    if not names or unknown <= 0:
        return names
    one = "1 who told speaks" if unknown == 1 else f"{unknown:,} who told speak"
    return f"{names}; {one} for no consumer that is known and may be among them, see [accounts] of context.toml"


def _problem(row: dict[str, Any]) -> str:
    from apilens.reports.units import lasting

    title = row["title"] or row["id"]
    title = title if len(title) <= 120 else title[:120] + "…"
    beside = "".join(f"; {words}" for words in row["related"])
    if row["escalate"]:
        beside += f"; only talk so far, should be a ticket: {', '.join(row['escalate'])}"
    if row["kind"] == "feedback":
        return f"{row['id']}: {title} (no trace: {row['no_trace_reason']}){beside}"
    if row["state"] == "ended":
        return f"{title}, ended {row['end']:%m-%d %H:%MZ} after {lasting(row['end'] - row['start'])}{beside}"
    state = "OPEN since" if row["state"] == "open" else f"{row['state']}, began"
    return f"{title}, {state} {row['start']:%m-%d %H:%MZ}{beside}"
