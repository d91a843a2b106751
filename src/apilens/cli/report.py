"""`apilens report`: the HTML report."""

from __future__ import annotations

import os
from pathlib import Path

import click

from apilens.cli.options import (
    config_option,
    context_option,
    lake_option,
    moment,
    now_option,
    openapi_option,
    since_option,
    state_option,
    until_option,
)
from apilens.errors import Exit, UsageError


@click.command()
@click.option(
    "--out", "out", default="report.html", show_default=True, metavar="FILE", help="Where to write; - is stdout."
)
@since_option
@until_option
@context_option
@config_option
@openapi_option
@now_option
@lake_option
@state_option
def report(
    out: str,
    since: str | None,
    until: str | None,
    context: str | None,
    config: str | None,
    openapi: str | None,
    now: str | None,
    lake: str,
    state: str | None,
) -> int:
    """Write one HTML file with the verdict, the ranked queue, endpoints, charts and what became of the data.

    Reads the lake's rollups and the state database, changes neither. The file is at most 2.5 MB, needs no network and
    runs no script but its own; the same lake and --now give the same bytes. Prints its path and size.

    \b
    apilens report --out report.html
    apilens report --since 7d --context context.toml --out week.html
    """
    from apilens.pipeline import reporting
    from apilens.reports.terminal import safe
    from apilens.reports.units import size

    page = reporting.report(
        lake=lake,
        state=state,
        config=config,
        context=context,
        now=moment(now),
        since=since,
        until=until,
        openapi=openapi,
    )
    if out == "-":
        click.echo(page, nl=False)
        return Exit.DONE
    _write(Path(out), page.encode())
    click.echo(f"{safe(out)} ({size(len(page.encode()))}, offline)")
    return Exit.DONE


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all: who opens the file during a run sees the old report. A device or a pipe is written to, not replaced."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(content)
            return
        new.write_bytes(content)
        new.replace(path)
    except OSError as wrong:
        new.unlink(missing_ok=True)
        raise UsageError(
            f"--out {path}: cannot be written ({wrong.strerror}); expected a file in a folder that exists, "
            "for example --out report.html"
        ) from wrong
