"""`apilens lake`: what the lake consists of, and keeping it small and quick."""

from __future__ import annotations

from datetime import datetime

import click

from apilens.cli.options import lake_option, moment, now_option, output_option, state_option
from apilens.errors import Exit


@click.group(name="lake")
def lake() -> None:
    """Look after the lake: sizes, compaction, deletion.

    \b
    apilens lake info
    apilens lake compact && apilens lake vacuum
    """


@lake.command()
@lake_option
@output_option("table", "json")
def info(lake: str, output: str) -> int:
    """What each table consists of: files, rows, bytes; reads the tables' logs only.

    \b
    apilens lake info
    apilens lake info --output json
    """
    import json

    from apilens.pipeline import upkeep
    from apilens.reports.terminal import Column, table

    found = upkeep.info(lake)
    forgotten = found["forgotten"]
    assert isinstance(forgotten, dict)
    if forgotten["unfinished"]:
        click.echo(
            "a lake forget died before its end, so rollups may lack what calls still have: run the same once more"
            " (what an ingest finds in this state it ends, but not what feedback and candidates hold)",
            err=True,
        )
    if output == "json":
        click.echo(json.dumps({"schema_version": 1, **found}, default=str))
        return Exit.DONE
    columns = ["version", "files", "small_files", "rows", "bytes"]
    tables = found["tables"]
    assert isinstance(tables, dict)
    rows = [(name, *(f"{part[column]:,}" for column in columns)) for name, part in tables.items()]
    table("", ["table", *(Column(column.replace("_", " "), "right") for column in columns)], rows)
    units, last = found["units"], found["last_ingest"]
    committed = f", the last one committed {last:%Y-%m-%d %H:%M:%S}Z" if isinstance(last, datetime) else ""
    click.echo(f"{units:,} unit{'' if units == 1 else 's'}{committed}", err=True)
    if found["decided_bytes"]:
        click.echo(f"{found['decided_bytes']:,} bytes of what scans have decided, in _apilens/decided.bin", err=True)
    return Exit.DONE


@lake.command()
@lake_option
def compact(lake: str) -> int:
    """Merge small files into large ones, sorted by endpoint. Rows stay; readers and writers may go on meanwhile.

    Reads and writes every small file once, at most half a million calls at a time in memory.

    \b
    apilens lake compact
    apilens lake compact --lake /srv/apilens
    """
    from apilens.pipeline import upkeep

    for name, (gone, came) in upkeep.compact(lake).items():
        click.echo(f"{name}: {gone:,} small files became {came:,}" if gone else f"{name}: nothing to merge")
    return Exit.DONE


@lake.command()
@lake_option
@click.option(
    "--retention-hours", type=int, default=168, show_default=True, help="Keep what a reader of this long ago may need."
)
def vacuum(lake: str, retention_hours: int) -> int:
    """Delete files that no version younger than the retention needs, and what killed runs left.

    With --retention-hours 0 a reader or ingest that runs at this moment may lose its files.

    \b
    apilens lake vacuum
    apilens lake vacuum --retention-hours 24
    """
    from apilens.pipeline import upkeep

    click.echo(f"{upkeep.vacuum(lake, retention_hours=retention_hours):,} files deleted")
    return Exit.DONE


@lake.command()
@lake_option
@click.option("--before", metavar="TIME", help="Forget calls that started earlier: 2026-01-01, 90d.")
@click.option("--consumer", "consumers", multiple=True, metavar="NAME", help="Forget all calls of this consumer.")
@now_option
@click.option("--dry-run", is_flag=True, help="Only count.")
@state_option
def forget(
    lake: str, before: str | None, consumers: tuple[str, ...], now: str | None, dry_run: bool, state: str | None
) -> int:
    """Take calls out of the lake for good: off the disk, out of older versions, and kept out when met again.

    With --consumer also what it reported, and its name in candidates, out of the state database. Tickets that were filed are
    the tracker's. Rewrites the files that hold them. Nobody else should use the lake meanwhile.

    \b
    apilens lake forget --before 90d --dry-run
    apilens lake forget --consumer app-17
    """
    from datetime import UTC, datetime

    from apilens.pipeline import upkeep
    from apilens.window import parse_time

    time = None if before is None else parse_time(before, now=moment(now) or datetime.now(UTC))
    gone = upkeep.forget(lake, state=state, before=time, consumers=consumers, dry_run=dry_run)
    verb = "would go" if dry_run else "forgotten"
    click.echo(f"{gone.calls:,} calls and {gone.rejects:,} rejected lines {verb}; {gone.files:,} files deleted")
    if gone.items or gone.candidates:
        click.echo(f"{gone.items:,} feedback items {verb}, {gone.candidates:,} candidates without these names")
    if gone.state_unknown:
        click.echo(
            "feedback and candidates were not looked for, which a bucket has no place for: give --state URL", err=True
        )
    return Exit.DONE
