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
from apilens.formats.block import BLANK, Block, Layout, Parsed, parse_records

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

    def __post_init__(self) -> None:
        """Raises UsageError for what no input can be read with: an unknown format, a layout without a time, a zone that
        Polars does not know (the operating system has more of them)."""
        try:
            pl.Series([0]).cast(pl.Datetime("us", self.tz))
        except pl.exceptions.ComputeError:
            raise UsageError(f"{self.tz!r} is no time zone; expected a name like UTC or Europe/Berlin") from None
        if self.named is not None:
            (FORMATS.get(self.named) or _unknown(self.named)).open(Block(b""), self)

    @property
    def named(self) -> str | None:
        """The format that `format` or `log_format` names; None: neither is given."""
        if self.log_format is None or self.format is not None:
            return self.format
        return "apache_logformat" if "%" in self.log_format else "nginx_log_format"


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
    """How much of a head one format fits. layouts: those it opened the head with, the first is the likeliest."""

    format: str
    layouts: tuple[Layout, ...]
    records: int
    fits: int
    head: Block = field(repr=False)

    @property
    def first_reject(self) -> str | None:
        """The first record of the head that its likeliest layout refuses, and why; None: it takes all."""
        reject = self.layouts[0].read(_sample(self.head)).rejects.sort("row").head(1)
        return f"line {int(reject['row'][0]) + self.head.line}: {reject['reason'][0]}" if reject.height else None


@dataclass(frozen=True)
class Detection:
    """The layouts to read an input with, best first, and why; runners_up: other formats that read some of it."""

    format: str
    layouts: tuple[Layout, ...]
    why: str
    runners_up: tuple[Trial, ...] = ()


def detect(head: Block, options: Options, name: str) -> Detection:
    """The format of an input from its head; name: of the input, for messages.

    Raises FormatError when no format reads a line of it: the text says where the nearest ones failed first and how to
    give a layout.
    """
    if options.log_format is not None:
        chosen = options.named or ""
        return Detection(chosen, tuple(FORMATS[chosen].open(head, options)), "layout given with --log-format")
    if options.format is not None:
        layouts = tuple(FORMATS[options.format].open(head, options))
        if not layouts:
            raise FormatError(f"{name}: not readable as {options.format}; try: apilens formats --detect {name}")
        return Detection(options.format, _likeliest_first(_sample(head), layouts)[0], "format given with --format")
    ranked = sorted(trials(head, options), key=lambda trial: -trial.fits)
    if not ranked or ranked[0].fits == 0:
        raise FormatError(_explain_failure(name, head, ranked))
    best = ranked[0]
    layouts = best.layouts
    # Lines which the best format refuses may be of a sister format (mixed files).
    sisters = [t for t in ranked[1:] if t.fits and not t.format.startswith("table")]
    others = [layout for trial in sisters for layout in trial.layouts]
    if best.format.startswith(_ACCESS_LOGS):
        known = (format for format in FORMATS.values() if format.name.startswith(_ACCESS_LOGS))
        others += [layout for format in known if format.name != best.format for layout in format.open(head, options)]
    if others:
        layouts = (*layouts[:1], _OneOf(tuple(dict.fromkeys((*layouts[1:], *others)))))
    why = f"{best.fits} of the first {best.records} records fit {best.format}"
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

    def fits(self, records: pl.DataFrame) -> pl.Series:
        """Whether any of the layouts fits."""
        return pl.select(pl.any_horizontal(layout.fits(records) for layout in self.layouts)).to_series()

    def nearness(self, records: pl.DataFrame) -> float:
        """That of the nearest layout."""
        return max(layout.nearness(records) for layout in self.layouts)

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


def trials(head: Block, options: Options) -> list[Trial]:
    """How every format that could be meant fits the head, in the registry's order."""
    records = _sample(head)
    found = []
    for format in FORMATS.values():
        layouts = tuple(format.open(head, options))
        if layouts:
            ordered, fits = _likeliest_first(records, layouts)
            found.append(Trial(format.name, ordered, records.height, fits, head))
    return found


def _likeliest_first(records: pl.DataFrame, layouts: Sequence[Layout]) -> tuple[tuple[Layout, ...], int]:
    """The layouts in the order given, those last that fit nothing an earlier one left; and how many records fit any."""
    left, taking, idle = records, [], []
    for layout in layouts:
        fits = layout.fits(left) if left.height else None
        if fits is not None and fits.any():
            taking.append(layout)
            left = left.filter(~fits)
        else:
            idle.append(layout)
    return (*taking, *idle), records.height - left.height


def _explain_failure(name: str, head: Block, ranked: Sequence[Trial]) -> str:
    records = _sample(head)
    near = sorted(ranked, key=lambda trial: -max(layout.nearness(records) for layout in trial.layouts))
    shown = [f"  {trial.format}: {trial.first_reject}" for trial in near[:3]]
    return "\n".join(
        [
            f"{name}: no known format reads its first {records.height} records. Nearest:",
            *shown,
            "Give its layout as it stands in the gateway's configuration, for example",
            f"  apilens ingest {name} --log-format '$remote_addr [$time_local] \"$request\" $status $request_time'",
            f"  apilens ingest {name} --log-format '%h %l %u %t \"%r\" %>s %b %D'",
            f"or the columns of a table: apilens ingest {name} --format table_csv --columns timestamp=when:ms",
        ]
    )
