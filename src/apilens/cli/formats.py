"""`apilens formats`: what can be read, and what a file is."""

from __future__ import annotations

import click

from apilens.cli.options import log_format_from_option, output_option, tz_option
from apilens.errors import Exit


@click.command()
@click.option("--detect", "file", metavar="FILE", help="Say which format FILE has, why, and what came close.")
@log_format_from_option
@tz_option
@output_option("table", "json")
def formats(file: str | None, log_format_from: str | None, tz: str | None, output: str) -> int:
    """List the formats apilens recognises, each with an example, or explain which one a file has.

    --detect names the format and layout, the wrappers around its lines, and the formats that came next with the first
    line that each of them refuses. With --log-format-from only that configuration's layouts are tried.

    \b
    apilens formats
    apilens formats --detect access.log
    """
    import json

    from apilens.cli.inputs import parse_options
    from apilens.formats import FORMATS
    from apilens.pipeline import logs
    from apilens.reports.terminal import safe, table

    options = parse_options(None, None, (), tz, log_format_from)
    if file is None:
        if output == "json":
            click.echo(
                json.dumps({f.name: {"description": f.description, "example": f.example} for f in FORMATS.values()})
            )
        else:
            table("", ["format", "what", "example"], [(f.name, f.description, f.example) for f in FORMATS.values()])
        return Exit.DONE
    found = logs.recognise_format(file, options)
    near = sorted(found.runners_up, key=lambda trial: (-trial.fits, -trial.nearness))
    wrappers = [wrapper.name for wrapper in found.reader.wrappers]
    if output == "json":
        others = {
            trial.format: {"fits": trial.fits, "of": trial.records, "first_reject": trial.first_reject}
            for trial in reversed(near)  # of one format with several layouts the best one stays
        }
        chosen = {
            "format": found.format,
            "layout": found.layout,
            "why": found.why,
            "wrappers": wrappers,
            "doubts": found.doubts,
        }
        click.echo(json.dumps(chosen | {"runners_up": dict(reversed(others.items()))}))
        return Exit.DONE
    click.echo(f"{safe(file)}: {found.format}: {found.why}")
    if found.layout:
        click.echo(f"layout    {safe(found.layout)}")
    if wrappers:
        click.echo(f"wrappers  {', '.join(wrappers)} (the outermost first)")
    for doubt in found.doubts:
        click.echo(f"doubt     {safe(doubt)}")
    for trial in near[:5]:
        reason = f"; refuses {safe(reject)}" if (reject := trial.first_reject) else ""
        click.echo(f"  {trial.format}: fits {trial.fits} of {trial.records}{reason}")
    return Exit.DONE
