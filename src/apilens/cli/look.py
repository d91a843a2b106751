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

    from apilens.cli.endpoints import print_endpoints
    from apilens.cli.ingest import print_summary
    from apilens.cli.inputs import parse_options
    from apilens.cli.scan import print_candidates
    from apilens.ingest.run import Request
    from apilens.lens import Lens
    from apilens.pipeline import incidents, logs
    from apilens.reports.progress import progress_bar
    from apilens.reports.terminal import safe, safe_lines

    with tempfile.TemporaryDirectory(prefix="apilens-look-") as lake:
        request = Request(paths, parse_options(format_, log_format, columns, tz, log_format_from), final=True)
        with progress_bar() as progress:
            result = logs.ingest(lake, request, config, progress=progress)
        print_summary(result, "why lines were rejected: apilens parse FILE > /dev/null")
        for report in result.reports:
            for text in (*report.doubts, *([report.problem] if report.problem else [])):
                click.echo(f"apilens: {safe_lines(text)}", err=True)
        lens = Lens(lake)
        period = lens.period
        if period is not None:
            click.echo(f"\nendpoints {period[0]:%Y-%m-%d %H:%M} to {period[1]:%Y-%m-%d %H:%M} UTC")
            print_endpoints(lens.endpoints(), "table", first=top)
            found = incidents.scan(lake, None).candidates
            click.echo(f"\n{found.height} candidate tickets" if found.height else "\nnothing abnormal found")
            if found.height:
                print_candidates(found)
            flags = {"--config": config, "--format": format_, "--log-format": log_format, "--tz": tz}
            flags["--log-format-from"] = log_format_from
            given = [part for flag, value in flags.items() if value is not None for part in (flag, value)]
            again = shlex.join(["apilens", "ingest", *paths, *given, *(f"--columns={text}" for text in columns)])
            click.echo(
                f"\nkeep it and go on:  {safe(again)}\n                    apilens scan && apilens report --out report.html"
            )
    return result.exit_code
