"""What the user asked for: a format by its name, a layout pasted, the layouts of a configuration."""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches

import polars as pl

from apilens.errors import UsageError
from apilens.formats import nginx
from apilens.formats.format import Format, FoundLayout, Options
from apilens.formats.layout import nearest
from apilens.formats.registry import FORMATS

#: A head without a line: what a format is opened with to see what it makes of options.
NOTHING = pl.DataFrame(schema={"row": pl.UInt32, "line": pl.String})


def check_options(options: Options) -> None:
    """Raises UsageError for what no input can be read with: an unknown format, a layout without a time.

    Of the layouts of a configuration one must be readable; what is wrong with the others is said when none fits.
    """
    if options.layouts:
        usable, unusable = compiled(options)
        if not usable:
            raise UsageError("\n".join(unusable))
        return
    name = named_format(options)
    if name is not None:
        (FORMATS.get(name) or _unknown(name)).open(NOTHING, options)


def doubts(options: Options) -> list[str]:
    """What in the layouts given may be a slip of the pen, one text each."""
    asked = [one for one, _ in compiled(options)[0]] if options.layouts else [options]
    named = [(one, named_format(one)) for one in asked]
    opened = [FORMATS[name].open(NOTHING, one) for one, name in named if one.log_format is not None and name in FORMATS]
    return list(dict.fromkeys(doubt for layouts in opened for layout in layouts for doubt in layout.doubts))


def compiled(options: Options) -> tuple[list[tuple[Options, FoundLayout]], list[str]]:
    """The layouts of a configuration, each as the options that ask for it alone; and what is wrong with the others."""
    usable: list[tuple[Options, FoundLayout]] = []
    unusable = []
    for found in options.layouts:
        try:
            one = replace(options, format=_format_of(found), log_format=found.text, layouts=())
            FORMATS[str(one.format)].open(NOTHING, one)
            usable.append((one, found))
        except UsageError as error:
            unusable.append(f"{found}: {error}")
    return usable, unusable


def _format_of(found: FoundLayout) -> str:
    """The format whose layouts look like this one. Raises UsageError when there is none."""
    takers = [
        (name, format.pasted) for name, format in FORMATS.items() if format.pasted and name.startswith(found.gateway)
    ]
    if not takers and found.gateway in FORMATS:
        return found.gateway  # reads objects by the names of their fields, whichever of them a layout asks for
    if not takers:
        raise UsageError(
            f"a layout of {found.gateway}, of which no pasted layouts are read; its usual ones are recognised"
        )
    told = (name for name, pasted in takers if pasted.search(found.text))
    name = next(told, None)
    if name is None:
        raise UsageError(f"{found.text[:60]!r} has no variable of {found.gateway or 'any gateway'}")
    return name


def named_format(options: Options) -> str | None:
    """The format that the options name; None: they leave it to detection."""
    if options.log_format is None or options.format is not None:
        return options.format
    told = (name for name, format in FORMATS.items() if format.pasted and format.pasted.search(options.log_format))
    return next(told, nginx.PASTED_FORMAT.name)  # which says what it misses


def _unknown(name: str) -> Format:
    near = (
        [known for known in FORMATS if name.lower() in known]
        or _of_gateway(name.lower())
        or get_close_matches(name, FORMATS, n=1)
    )
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise UsageError(f"--format {name!r} is not known; {hint}known: {', '.join(FORMATS)}")


def _of_gateway(name: str) -> list[str]:
    """The formats of a gateway whose name is spelt nearly so: all names begin with it, and are much longer than it."""
    words = {word for known in FORMATS for word in known.split("_")}
    gateway = nearest(name, words) or next(iter(get_close_matches(name, words, n=1, cutoff=0.75)), None)
    return [known for known in FORMATS if gateway in known.split("_")]
