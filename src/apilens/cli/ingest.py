"""`apilens ingest`: logs into the lake."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from apilens.cli.commandline import command_line, lake_given
from apilens.cli.options import config_option, lake_option, log_format_from_option, now_option, tz_option
from apilens.errors import ApilensError, Exit, LockedError, UsageError
from apilens.reports.terminal import lines_equation, records_equation, safe, safe_lines

if TYPE_CHECKING:
    from apilens.ingest.unit import Counts
    from apilens.pipeline.logs import IngestResult


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@lake_option
@config_option
@click.option("--source", metavar="NAME", help="Host or gateway the logs come from; part of their identity.")
@click.option("--environment", metavar="NAME", help="prod, test, …; part of every fingerprint.")
@click.option("--format", "format_", metavar="NAME", help="Read as this format instead of detecting it.")
@click.option("--log-format", metavar="LAYOUT", help="The gateway's own log_format or LogFormat, pasted as it is.")
@log_format_from_option
@click.option("--columns", multiple=True, metavar="COLUMN=NAME[:UNIT]", help="Mapping of a table's columns.")
@tz_option
@click.option("--final", is_flag=True, help="Take a last line without line end; by default it waits for the next run.")
@click.option("--replace", is_flag=True, help="Parse what is known once more and replace it, e.g. with another layout.")
@click.option(
    "--lookback", metavar="TIME", help="Leave out inputs unchanged since this long before the last complete run."
)
@click.option(
    "--scheduler", metavar="ADDRESS", help="Parse on a Dask cluster (tcp://HOST:PORT), or in local:N processes here."
)
@now_option
@click.option("--metrics", metavar="FILE", help="Write the run's figures for Prometheus (textfile collector).")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
def ingest(
    paths: tuple[str, ...],
    lake: str,
    config: str | None,
    source: str | None,
    environment: str | None,
    format_: str | None,
    log_format: str | None,
    log_format_from: str | None,
    columns: tuple[str, ...],
    tz: str | None,
    final: bool,
    replace: bool,
    lookback: str | None,
    scheduler: str | None,
    now: str | None,
    metrics: str | None,
    as_json: bool,
) -> int:
    """Read logs (files, folders, quoted globs, - for standard input) into the lake.

    Formats are recognised; gzip, zstd, bzip2 and xz are seen through. What is in the lake already (a copy, a rotated or
    compressed file, the known part of a file that grew) is recognised by content and not added again. Memory stays below
    700 MiB whatever the input's size. A second run over the same paths, while the first goes on, ends at once (exit 75).

    \b
    apilens ingest /var/log/nginx/access.log*
    apilens ingest api.log --log-format '$remote_addr [$time_local] "$request" $status $request_time'
    """
    from apilens.cli.inputs import parse_options
    from apilens.cli.options import moment
    from apilens.ingest.run import Request
    from apilens.ingest.unit import Counts
    from apilens.pipeline import logs
    from apilens.reports.progress import progress_bar
    from apilens.reports.prometheus import write_ingest_metrics
    from apilens.window import parse_duration

    options = parse_options(format_, log_format, columns, tz, log_format_from)
    request = Request(
        paths, options, source, environment, final, replace, None if lookback is None else parse_duration(lookback)
    )

    def leave_metrics(totals: Counts, seconds: float, code: Exit) -> None:
        if metrics is not None:
            write_ingest_metrics(
                metrics,
                records={name: getattr(totals, name) for name in ("stored", "rejected", "filtered", "duplicate")},
                lines=totals.lines,
                bytes=totals.bytes,
                seconds=seconds,
                exit_code=code,
                now=moment(now) or datetime.now(UTC),
            )

    began = time.monotonic()
    try:
        with progress_bar() as progress:
            result = logs.ingest(lake, request, config, now=moment(now), progress=progress, scheduler=scheduler)
    except LockedError:
        raise  # the other run leaves them
    except ApilensError as error:
        with suppress(UsageError):  # what ended the run is told first
            leave_metrics(Counts(), time.monotonic() - began, error.exit_code)
        raise
    if as_json:
        click.echo(json.dumps(summary(result)))
    else:
        print_summary(result, f"rejected lines are kept: {command_line('rejects', given=lake_given(lake))}")
    print_problems(result)
    leave_metrics(result.totals, result.seconds, result.exit_code)
    return result.exit_code


def summary(result: IngestResult) -> dict[str, object]:
    """What one run did, as one JSON object; counts as in ingest.unit.Counts."""
    return {
        "schema_version": 1,
        **asdict(result.totals),
        "seconds": round(result.seconds, 3),
        "exit_code": int(result.exit_code),
        "unchanged_inputs": result.unchanged,
        "inputs": [
            {
                "input": report.name,
                "format": report.format,
                "formats": dict(report.formats.most_common()),
                "why": report.why,
                "log_format": report.log_format,
                "compression": report.compression,
                "form": report.form,
                **asdict(report.counts),
                "waiting_bytes": report.waiting_bytes,
                "problem": report.problem,
            }
            for report in result.reports
        ],
    }


def mostly_rejected(counts: Counts) -> bool:
    """Whether what was understood of some new records is the lesser part: no figures can be trusted."""
    return counts.rejected > counts.stored + counts.filtered


def print_problems(result: IngestResult) -> None:
    """Doubts and problems of the inputs to stderr; what to type for a layout that is not known is said once."""
    from apilens.formats import ADVICE

    advised = False
    for report in result.reports:
        for text in (*report.doubts, *([report.problem] if report.problem else [])):
            said, advice, _ = text.partition(f"\n{ADVICE}")
            click.echo(f"apilens: {safe_lines(said if advised else text)}", err=True)
            advised |= bool(advice)


def print_summary(result: IngestResult, rejects: str) -> None:
    """The same for people: a line per input, then the equations of the whole run; rejects: where the rejected lines are."""
    for report in result.reports:
        if not report.usable:
            continue
        if report.counts.lines == 0 and not report.waiting_bytes:
            click.echo(f"{safe(report.name)}: {'empty' if report.problem is None else 'nothing could be read'}")
            continue
        counts = report.counts
        kinds = [kind for kind in (report.compression, report.form) if kind]
        kind = f" ({', '.join(kinds)})" if kinds else ""
        parts = [f"{counts.stored:,} stored"]
        parts += [f"{n:,} {word}" for word, n in (
            ("rejected", counts.rejected), ("filtered", counts.filtered), ("duplicate", counts.duplicate)) if n]  # fmt: skip
        form = report.format or ("blank lines only" if counts.lines else "nothing whole yet")
        if len(report.formats) > 1:
            form = ", ".join(f"{name} {n:,}" for name, n in report.formats.most_common())
        click.echo(f"{safe(report.name)}{kind}: {form}: {', '.join(parts)}")
        if report.waiting_bytes:
            # What a broken archive ends with is no line that could be taken.
            rest = "are the beginning of a line" if report.problem else "wait for the next run; --final takes them"
            click.echo(f"  {report.waiting_bytes:,} bytes without line end {rest}")
        if mostly_rejected(counts):
            click.echo(
                "  most of its records have another layout; name the gateway's configuration that has it"
                " (--log-format-from /etc/nginx/nginx.conf), or paste it (--log-format)"
            )
    if result.unchanged:
        click.echo(f"{result.unchanged:,} inputs left out: unchanged since before the last complete run (--lookback)")
    totals = result.totals
    click.echo(
        records_equation(
            read=totals.read, stored=totals.stored, rejected=totals.rejected,
            filtered=totals.filtered, duplicate=totals.duplicate,
        )
    )  # fmt: skip
    click.echo(
        lines_equation(lines=totals.lines, records=totals.record_lines, header=totals.header, blank=totals.blank)
    )
    if totals.rejected:
        click.echo(rejects)
