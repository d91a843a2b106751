"""`apilens look`: a first impression of some logs."""

from __future__ import annotations

import click

from apilens.cli.options import config_option, log_format_from_option, tz_option


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@config_option
@click.option("--format", "format_", metavar="NAME", help="Read as this format instead of detecting it.")
@click.option("--log-format", metavar="LAYOUT", help="The gateway's own log_format or LogFormat, pasted as it is.")
@log_format_from_option
@click.option("--columns", multiple=True, metavar="COLUMN=NAME[:UNIT]", help="Mapping of a table's columns.")
@tz_option
@click.option("--top", default=20, show_default=True, help="Endpoints to show.")
def look(
    paths: tuple[str, ...],
    config: str | None,
    format_: str | None,
    log_format: str | None,
    log_format_from: str | None,
    columns: tuple[str, ...],
    tz: str | None,
    top: int,
) -> int:
    """Ingest some logs into a temporary lake, then show their endpoints and what became abnormal. Leaves nothing behind.

    \b
    apilens look /var/log/nginx/access.log*
    kubectl logs deploy/gateway | apilens look -
    """
    import shlex
    import tempfile
    from datetime import timedelta

    from apilens.cli.endpoints import print_endpoints, print_set_apart
    from apilens.cli.ingest import print_problems, print_summary
    from apilens.cli.inputs import parse_options
    from apilens.cli.scan import print_candidates
    from apilens.ingest.run import Request
    from apilens.lens import Lens
    from apilens.pipeline import incidents, logs
    from apilens.reports.progress import progress_bar
    from apilens.reports.terminal import safe

    with tempfile.TemporaryDirectory(prefix="apilens-look-") as lake:
        request = Request(paths, parse_options(format_, log_format, columns, tz, log_format_from), final=True)
        with progress_bar() as progress:
            result = logs.ingest(lake, request, config, progress=progress)
        flags = {"--config": config, "--format": format_, "--log-format": log_format, "--tz": tz}
        flags["--log-format-from"] = log_format_from
        given = [part for flag, value in flags.items() if value is not None for part in (flag, value)]
        given += [f"--columns={text}" for text in columns]
        refusing = next((report.name for report in result.reports if report.counts.rejected), "FILE")
        why = shlex.join(["apilens", "parse", refusing, *given])
        print_summary(result, f"why lines were rejected: {safe(why)} > /dev/null")
        print_problems(result)
        lens = Lens(lake)
        period = lens.period
        if period is not None:
            click.echo(f"\nendpoints {period[0]:%Y-%m-%d %H:%M} to {period[1]:%Y-%m-%d %H:%M} UTC")
            measured, apart = lens.endpoints_and_apart()
            print_endpoints(measured, "table", first=top)
            print_set_apart(apart)
            found = incidents.scan(lake, None).candidates
            if found.height:
                click.echo(f"\n{found.height} candidate ticket{'s' if found.height > 1 else ''}")
                print_candidates(found)
            else:
                # Each endpoint is compared with its own past: a short log has none, and is not therefore in order.
                short = period[1] - period[0] < timedelta(days=1)
                click.echo(
                    "\nnothing abnormal found"
                    + ("; with less than a day of logs little can be: add the older ones" if short else "")
                )
            again = shlex.join(["apilens", "ingest", *paths, *given])
            click.echo(
                f"\nkeep it and go on:  {safe(again)}\n                    apilens scan && apilens report --out report.html"
            )
    return result.exit_code
