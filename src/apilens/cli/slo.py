"""`apilens slo`: error budgets."""

from __future__ import annotations

import json
import math

import click

from apilens.cli.options import config_option, lake_option, moment, now_option, output_option
from apilens.errors import Exit, worst


@click.command()
@click.option("--slo", "files", multiple=True, metavar="FILE", help="OpenSLO or Sloth document; once per file.")
@click.option(
    "--fail-on", type=click.Choice(["page", "ticket"]), help="Exit 1 when an objective burns at least so fast."
)
@now_option
@lake_option
@config_option
@output_option("table", "json", "ndjson")
def slo(
    files: tuple[str, ...], fail_on: str | None, now: str | None, lake: str, config: str | None, output: str
) -> int:
    """What is left of each error budget, how fast it burns over 1 h, 6 h, 1 d and 3 d, and when it will be spent.

    Objectives come from [[slo]] of apilens.toml and from --slo. Coverage is the share of the period that was measured at
    all: the rest is unknown, not up. Reads the rollups of the longest period.

    \b
    apilens slo
    apilens slo --slo slo.yaml --fail-on page --output json
    """
    from datetime import UTC, datetime

    from apilens.config import load_config
    from apilens.lens import Lens, load_slos
    from apilens.measure.slo import burning, silent
    from apilens.reports.ndjson import ndjson_text, records
    from apilens.reports.terminal import Column, table
    from apilens.reports.units import count, percent

    settings = load_config(config)
    lens = Lens(lake, settings)
    wanted = load_slos(settings, files)
    found = lens.budgets(wanted, now=moment(now) or lens.data_end or datetime.now(UTC))
    if output == "ndjson":
        click.echo(ndjson_text(found), nl=False)
    elif output == "json":
        click.echo(json.dumps({"schema_version": 1, "objectives": records(found)}, ensure_ascii=False))
    else:
        headings = [
            "objective",
            "good",
            "calls",
            "measured",
            "budget left",
            "burn 1 h",
            "6 h",
            "1 d",
            "3 d",
            "hours left",
        ]
        table(
            "",
            ["alert", "name", *(Column(name, "right") for name in headings)],
            (
                (
                    row["alert"] or "",
                    row["name"],
                    f"{100 * row['objective']:g} %",
                    _good(row["good_ratio"]),
                    count(row["calls"]),
                    percent(row["coverage"]),
                    None if row["budget_left"] is None else f"{100 * row['budget_left']:.0f} %",
                    *(
                        None if row[f"burn_{span}"] is None else f"{row[f'burn_{span}']:.2g}"
                        for span in ("1h", "6h", "1d", "3d")
                    ),
                    None if row["hours_left"] is None else f"{row['hours_left']:,.0f}",
                )
                for row in found.iter_rows(named=True)
            ),
        )
    unmeasured = silent(found, wanted)
    for one in unmeasured:
        about = f"service {one.service!r}" if one.service is not None else f"endpoints {one.endpoints!r}"
        click.echo(
            f"{one.name!r} has no call of {about} in its {one.days} day{'s' if one.days > 1 else ''}: nothing is measured, and nothing can be said;"
            " what the calls name: apilens endpoints --output json",
            err=True,
        )
    loud = burning(found, fail_on) if fail_on is not None else found.clear()
    if unmeasured and loud.height:
        names = ", ".join(f"{row['name']!r} ({row['alert']})" for row in loud.iter_rows(named=True))
        click.echo(f"exit code 4 stands before the 1 of what burns: {names}", err=True)
    return worst(Exit.PARTIAL if unmeasured else Exit.DONE, Exit.FINDINGS if loud.height else Exit.DONE)


def _good(ratio: float | None) -> str | None:
    """To the hundredth of a per cent, as an objective of 95 % beside 95 % says nothing; 100 % only where no call is bad."""
    return None if ratio is None else f"{math.floor(1e4 * ratio + 1e-6) / 100:.2f}".removesuffix(".00") + " %"
