"""Options that say how an input is to be read."""

from __future__ import annotations

from collections.abc import Sequence

import click

from apilens.cli.options import zone
from apilens.errors import UsageError
from apilens.formats import PROBLEMS, Options, check_options, doubts
from apilens.reports.visible import safe_lines


def parse_options(
    format_: str | None,
    log_format: str | None,
    columns: Sequence[str],
    tz: str | None,
    log_format_from: str | None = None,
) -> Options:
    """The formats.Options of a command line; what looks like a slip in them is said on stderr.

    Raises UsageError for a --columns that is no COLUMN=NAME, and for two options that name the format.
    """
    from apilens.formats.configs import is_piece_of_envoys, read_layouts
    from apilens.ingest.layout_files import layouts_from

    mapping = {}
    for text in columns:
        column, equals, name = text.partition("=")
        if not equals or not column or not name:
            raise UsageError(f"--columns {text!r}; expected COLUMN=NAME or COLUMN=NAME:UNIT, e.g. duration_ms=took:s")
        mapping[column] = name
    if log_format_from is not None and (format_ or log_format):
        other = "--log-format" if log_format else "--format"
        raise UsageError(f"--log-format-from and {other} both say how to read the input; give one of them")
    layouts = layouts_from(log_format_from) if log_format_from is not None else ()
    if log_format is not None and is_piece_of_envoys(log_format):
        layouts, log_format = read_layouts(log_format, "--log-format", lambda named, file: ()), None
    options = Options(format_, log_format, zone(tz).key, mapping, layouts)
    check_options(options)
    for text in (*PROBLEMS, *doubts(options)):
        click.echo(f"apilens: {safe_lines(text)}", err=True)
    return options
