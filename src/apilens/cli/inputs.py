"""Options that say how an input is to be read."""

from __future__ import annotations

from collections.abc import Sequence

from apilens.cli.options import zone
from apilens.errors import UsageError
from apilens.formats import Options, check_options


def parse_options(format_: str | None, log_format: str | None, columns: Sequence[str], tz: str | None) -> Options:
    """The formats.Options of a command line. Raises UsageError for a --columns that is no COLUMN=NAME."""
    mapping = {}
    for text in columns:
        column, equals, name = text.partition("=")
        if not equals or not column or not name:
            raise UsageError(f"--columns {text!r}; expected COLUMN=NAME or COLUMN=NAME:UNIT, e.g. duration_ms=took:s")
        mapping[column] = name
    options = Options(format_, log_format, zone(tz).key, mapping)
    check_options(options)
    return options
