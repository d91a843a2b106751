"""The formats apilens reads, and how it tells which one an input has.

A format is one file that compiles layouts, and one line in FORMATS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

import polars as pl

from apilens.errors import FormatError, UsageError
from apilens.formats import apache, apipark, kong, nginx, table
from apilens.formats.block import BLANK, Block, Layout, Parsed, parse, parse_records

__all__ = ["FORMATS", "Detection", "Format", "Options", "detect"]


@dataclass(frozen=True)
class Options:
    """What the user says about an input.

    format: name in FORMATS; None: found by detection. log_format: a pasted layout. tz: zone of times that name none.
    columns: canonical column -> `name` or `name:unit` of a table.
    """

    format: str | None = None
    log_format: str | None = None
    tz: str = "UTC"
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Format:
    """One line of the registry.

    open: (head of the input, options) -> layouts to try in order; empty: this head cannot be of that format.
    """

    name: str
    description: str
    example: str
    open: Callable[[Block, Options], Sequence[Layout]]


def _known(module_layout: Callable[[str, str, str], Layout], texts: Sequence[str], name: str) -> Format:
    def layouts(head: Block, options: Options) -> Sequence[Layout]:
        return [module_layout(text, options.tz, name) for text in texts]

    return Format(name, f"layouts of {name}", texts[0], layouts)


def _pasted(name: str, module_layout: Callable[[str, str, str], Layout], example: str) -> Format:
    def layouts(head: Block, options: Options) -> Sequence[Layout]:
        return [] if options.log_format is None else [module_layout(options.log_format, options.tz, name)]

    return Format(name, "any layout, given with --log-format", example, layouts)


def _table_csv(head: Block, options: Options) -> Sequence[Layout]:
    first = next((line for line in head.lines["line"].head(20) if line.strip()), "")
    found = table.csv_layout(first, options.columns, options.tz)
    return [] if found is None else [found]


def _table_json(head: Block, options: Options) -> Sequence[Layout]:
    first = next((line for line in head.lines["line"].head(20) if line.startswith("{")), "")
    found = table.json_layout(first, options.columns, options.tz)
    return [] if found is None else [found]


#: Narrow before wide: where two formats read a head equally well, the earlier one is taken.
FORMATS: dict[str, Format] = {
    format.name: format
    for format in (
        _known(nginx.layout, nginx.KNOWN["nginx_ingress"], "nginx_ingress"),
        _known(apache.layout, apache.KNOWN["apache_vhost_combined"], "apache_vhost_combined"),
        _known(nginx.layout, nginx.KNOWN["nginx_combined"], "nginx_combined"),
        _known(apache.layout, apache.KNOWN["apache_combined"], "apache_combined"),
        _known(apache.layout, apache.KNOWN["apache_common"], "apache_common"),
        Format("kong_json", "Kong log plugins, one object per call", "", lambda head, options: [kong.LAYOUT]),
        Format("apipark_json", "APIPark, one object per call", "", lambda head, options: [apipark.layout(options.tz)]),
        Format("table_json", "JSON lines by names or --columns", "", _table_json),
        Format("table_csv", "CSV with a header by names or --columns", "", _table_csv),
        _pasted("nginx_log_format", nginx.layout, nginx.COMBINED),
        _pasted("apache_logformat", apache.layout, apache.COMBINED),
    )
}

#: Lines of the head that detection reads.
_SAMPLE_LINES = 200


@dataclass(frozen=True)
class Trial:
    """How one format read the head: records, calls and rejects in it, and its first reject."""

    format: str
    layouts: tuple[Layout, ...]
    records: int
    calls: int
    primary: int  # calls by the first layout alone
    first_reject: str | None


@dataclass(frozen=True)
class Detection:
    """The layouts to read an input with, best first, and why; runners_up: other formats that read some of it."""

    format: str
    layouts: tuple[Layout, ...]
    why: str
    runners_up: tuple[Trial, ...] = ()


def detect(head: Block, options: Options, name: str) -> Detection:
    """The format of an input from its head; name: of the input, for messages.

    Raises UsageError for an unknown --format, FormatError when no format reads a line of it: the text says where the
    nearest ones failed first and how to give a layout.
    """
    if options.log_format is not None:
        chosen = options.format or ("apache_logformat" if "%" in options.log_format else "nginx_log_format")
        pasted = FORMATS[chosen] if chosen in FORMATS else _unknown(chosen)
        layouts = tuple(pasted.open(head, options))
        return Detection(chosen, layouts, "layout given with --log-format")
    if options.format is not None:
        chosen_format = FORMATS.get(options.format) or _unknown(options.format)
        layouts = tuple(chosen_format.open(head, options))
        if not layouts:
            raise FormatError(f"{name}: not readable as {options.format}; try: apilens formats --detect {name}")
        return Detection(options.format, _by_yield(head, layouts), "format given with --format")
    trials = [_try(format, head, options) for format in FORMATS.values()]
    ranked = sorted((trial for trial in trials if trial.layouts), key=lambda trial: -trial.calls)
    best = ranked[0]
    if best.calls == 0:
        raise FormatError(_explain_failure(name, ranked))
    layouts = _by_yield(head, best.layouts)
    # Lines which the best format refuses may be of a sister format (mixed files).
    sisters = [t for t in ranked[1:] if t.calls and not t.format.startswith("table")]
    others = [layout for trial in sisters for layout in _by_yield(head, trial.layouts)]
    if best.format.startswith(_ACCESS_LOGS):
        known = (format for format in FORMATS.values() if format.name.startswith(_ACCESS_LOGS))
        others += [layout for format in known if format.name != best.format for layout in format.open(head, options)]
    if others:
        layouts = (*layouts[:1], _OneOf(tuple(dict.fromkeys((*layouts[1:], *others)))))
    why = f"{best.calls} of the first {best.records} records fit {best.format}"
    return Detection(best.format, layouts, why, tuple(ranked[1:]))


#: Families of plain access logs, whose known layouts are all tried on a line.
_ACCESS_LOGS = ("nginx", "apache")
#: What each of their known layouts has in it. Garbage is told by this one regex instead of by forty.
_ACCESS_LINE = r'\[\d\d/[A-Za-z]{3}/\d{4}:[^\]]+\] ".*" (?:\d{3}|-) '


@dataclass(frozen=True)
class _OneOf:
    """Layouts for the few lines that an input's own layout refuses."""

    layouts: tuple[Layout, ...]
    gateway: str = "other"
    text: str | None = None

    def read(self, records: pl.DataFrame) -> Parsed:
        """Calls of the first layout that takes a line; the reasons of rejects are of no interest."""
        access = all(layout.gateway.startswith(_ACCESS_LOGS) for layout in self.layouts)
        left = records.filter(pl.col("line").str.contains(_ACCESS_LINE)) if access else records
        hopeless = records.join(left, on="row", how="anti").select("row", pl.lit("no layout fits").alias("reason"))
        part = parse_records(left, self.layouts)
        return Parsed(part.calls, pl.concat([part.rejects, hopeless]), part.header, part.filtered)


def _unknown(name: str) -> Format:
    near = get_close_matches(name, FORMATS, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UsageError(f"--format {name!r} is not known; {hint}known: {', '.join(FORMATS)}")


def _sample(head: Block) -> pl.DataFrame:
    lines = head.lines
    return lines.filter(~lines["line"].str.contains(BLANK)).head(_SAMPLE_LINES)


def _try(format: Format, head: Block, options: Options) -> Trial:
    layouts = tuple(format.open(head, options))
    records = _sample(head)
    if not layouts:
        return Trial(format.name, (), records.height, 0, 0, None)
    sample = Block("\n".join(records["line"].to_list()).encode(), head.offset, head.line)
    part = parse(sample, layouts)
    reject = part.rejects.head(1)
    text = f"line {int(reject['row'][0]) + head.line}: {reject['reason'][0]}" if reject.height else None
    return Trial(format.name, layouts, records.height, part.calls.height, part.calls.height, text)


def _by_yield(head: Block, layouts: Sequence[Layout]) -> tuple[Layout, ...]:
    """The layouts in the order given, those last that take nothing of the head which an earlier one left."""
    left, taking, idle = _sample(head), [], []
    for layout in layouts:
        part = layout.read(left) if left.height else None
        if part is not None and part.calls.height:
            taking.append(layout)
            left = left.join(part.rejects, on="row", how="semi")
        else:
            idle.append(layout)
    return (*taking, *idle)


def _explain_failure(name: str, trials: Sequence[Trial]) -> str:
    # Of formats that read nothing, those which got furthest into the line complain latest: the longest common
    # knowledge is the reason text itself, so the three narrowest are shown in registry order.
    shown = [f"  {trial.format}: {trial.first_reject}" for trial in trials if trial.first_reject][:3]
    return "\n".join(
        [
            f"{name}: no known format reads its first {trials[0].records} records. Nearest:",
            *shown,
            "Give its layout as it stands in the gateway's configuration, for example",
            f"  apilens ingest {name} --log-format '$remote_addr [$time_local] \"$request\" $status $request_time'",
            f"  apilens ingest {name} --log-format '%h %l %u %t \"%r\" %>s %b %D'",
            f"or the columns of a table: apilens ingest {name} --format table_csv --columns timestamp=when:ms",
        ]
    )
