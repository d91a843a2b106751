"""`apilens formats`: what can be read, and what a file is."""

from __future__ import annotations

import click

from apilens.cli.options import output_option, tz_option
from apilens.errors import Exit


@click.command()
@click.option("--detect", "file", metavar="FILE", help="Say which format FILE has, why, and what came close.")
@tz_option
@output_option("table", "json")
def formats(file: str | None, tz: str | None, output: str) -> int:
    """List the formats apilens recognises, or explain which one a file has.

    \b
    apilens formats
    apilens formats --detect access.log
    """
    import json

    from apilens.cli.inputs import parse_options
    from apilens.formats import FORMATS
    from apilens.pipeline import logs
    from apilens.reports.terminal import safe, table

    if file is None:
        if output == "json":
            click.echo(
                json.dumps({f.name: {"description": f.description, "example": f.example} for f in FORMATS.values()})
            )
        else:
            table("", ["format", "what", "layout"], [(f.name, f.description, f.example) for f in FORMATS.values()])
        return Exit.DONE
    found = logs.recognise_format(file, parse_options(None, None, (), tz))
    near = [trial for trial in found.runners_up if trial.layouts]
    if output == "json":
        others = {
            trial.format: {"fits": trial.fits, "of": trial.records, "first_reject": trial.first_reject}
            for trial in near
        }
        layout = found.layout
        click.echo(json.dumps({"format": found.format, "layout": layout, "why": found.why, "runners_up": others}))
        return Exit.DONE
    click.echo(f"{safe(file)}: {found.format}: {found.why}")
    if found.layout:
        click.echo(f"layout  {safe(found.layout)}")
    for trial in near[:5]:
        reason = f"; {safe(reject)}" if (reject := trial.first_reject) else ""
        click.echo(f"  {trial.format}: fits {trial.fits} of {trial.records}{reason}")
    return Exit.DONE
