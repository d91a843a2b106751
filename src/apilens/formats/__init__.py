"""The formats apilens reads, and how it tells which one an input has.

A format is one file that compiles layouts, and one line in FORMATS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.metadata import entry_points

import polars as pl

from apilens.errors import FormatError, UsageError
from apilens.formats import (
    apache,
    apipark,
    apisix_json,
    aws_json,
    azure,
    caddy,
    cloudflare,
    envoy_json,
    gcp,
    gravitee_json,
    kong,
    nginx,
    otlp,
    table,
    traefik_json,
    tyk_json,
    wso2,
)
from apilens.formats.block import BLANK, Block, Layout, Parsed, Reader, Wrapper, parse_records, unwrap
from apilens.formats.format import Format, Options
from apilens.formats.wrappers import WRAPPERS

__all__ = ["FORMATS", "Detection", "Format", "Options", "check_options", "detect"]

#: Narrow before wide: where two formats read a head equally well, the earlier one is taken.
FORMATS: dict[str, Format] = {
    format.name: format
    for format in (
        nginx.INGRESS_FORMAT,
        apache.VHOST_FORMAT,
        nginx.COMBINED_FORMAT,
        apache.COMBINED_FORMAT,
        apache.COMMON_FORMAT,
        kong.FORMAT,
        apipark.FORMAT,
        apipark.INFLUX_FORMAT,
        traefik_json.FORMAT,
        caddy.FORMAT,
        tyk_json.FORMAT,
        cloudflare.FORMAT,
        gcp.FORMAT,
        azure.APIM_FORMAT,
        azure.APPGW_FORMAT,
        azure.FRONTDOOR_FORMAT,
        gravitee_json.FORMAT,
        wso2.FORMAT,
        aws_json.CLOUDFRONT_FORMAT,
        apisix_json.FORMAT,
        envoy_json.FORMAT,
        aws_json.API_GATEWAY_FORMAT,
        otlp.TRACE_FORMAT,
        otlp.LOGS_FORMAT,
        # Formats of other packages (entry points of the group apilens.formats); none may take the name of one of ours.
        *(entry.load() for entry in sorted(entry_points(group="apilens.formats"))),
        table.JSON_FORMAT,
        table.CSV_FORMAT,
        nginx.PASTED_FORMAT,
        apache.PASTED_FORMAT,
    )
}

#: Lines of the head that detection reads.
_SAMPLE_LINES = 200
#: Wrappers inside one another that are looked for: a container's line in a journal in an exporter's document.
_MAX_WRAPPERS = 3


def check_options(options: Options) -> None:
    """Raises UsageError for what no input can be read with: an unknown format, a layout without a time."""
    name = _named(options)
    if name is not None:
        (FORMATS.get(name) or _unknown(name)).open(_NOTHING, options)


_NOTHING = pl.DataFrame(schema={"row": pl.UInt32, "line": pl.String})


def _named(options: Options) -> str | None:
    """The format that the options name; None: they leave it to detection."""
    if options.log_format is None or options.format is not None:
        return options.format
    told = (name for name, format in FORMATS.items() if format.pasted and format.pasted.search(options.log_format))
    return next(told, nginx.PASTED_FORMAT.name)  # which says what it misses


@dataclass(frozen=True)
class Trial:
    """How much of a head one format fits. layouts: those it opened the head with, the first is the likeliest."""

    format: str
    layouts: tuple[Layout, ...]
    wrappers: tuple[Wrapper, ...]
    fits: int
    head: pl.DataFrame = field(repr=False)
    first_line: int = 1

    @property
    def records(self) -> int:
        """Records of the head."""
        return self.head.height

    @property
    def weight(self) -> float:
        """The share of the head that fits; of a table half, which any object fits that has the usual names."""
        return self.fits / max(self.records, 1) * (0.5 if self.format.startswith("table") else 1)

    @property
    def first_reject(self) -> str | None:
        """The first record of the head that its likeliest layout refuses, and why; None: it takes all."""
        reject = self.layouts[0].read(self.head.select("row", "line")).rejects.sort("row").head(1)
        if reject.is_empty():
            return None
        at = self.head.filter(pl.col("row") == reject["row"][0])["at"][0]
        return f"line {int(at) + self.first_line}: {reject['reason'][0]}"


@dataclass(frozen=True)
class Detection:
    """How to read an input, and why; runners_up: other formats that read some of it."""

    format: str
    reader: Reader
    why: str
    runners_up: tuple[Trial, ...] = ()

    @property
    def layout(self) -> str | None:
        """The layout found or given, as its author wrote it; None: the format has only one."""
        return self.reader.layouts[0].text


def detect(head: Block, options: Options, name: str) -> Detection:
    """The format of an input from its head; name: of the input, for messages.

    Raises FormatError when no format reads a line of it: the text says where the nearest ones failed first and how to
    give a layout. Raises UsageError as check_options.
    """
    check_options(options)
    wrapped = _wrappers(head)
    # What stands in a wrapper is meant to be read without it, unless it only looked like one.
    tries = [_trials(head, options, chain) for chain in ([wrapped, ()] if wrapped else [()])]
    ranked = sorted((trial for found in tries for trial in found), key=lambda trial: -trial.weight)
    if options.log_format is not None or options.format is not None:
        if not ranked:
            raise FormatError(f"{name}: not readable as {options.format}; try: apilens formats --detect {name}")
        best = ranked[0]
        told = "layout given with --log-format" if options.log_format is not None else "format given with --format"
        return Detection(best.format, Reader(best.layouts, best.wrappers), _why(told, best))
    if not ranked or ranked[0].fits == 0:
        raise FormatError(_explain_failure(name, ranked))
    best = ranked[0]
    # Lines which the best format refuses may be of a sister format (mixed files).
    sisters = [t for t in ranked[1:] if t.fits and t.wrappers == best.wrappers and not t.format.startswith("table")]
    others = [layout for trial in sisters for layout in trial.layouts]
    if FORMATS[best.format].plain:
        known = (format for format in FORMATS.values() if format.plain and format.name != best.format)
        others += [layout for format in known for layout in format.open(best.head, options)]
    layouts = best.layouts
    if others:
        layouts = (*layouts[:1], _OneOf(tuple(dict.fromkeys((*layouts[1:], *others)))))
    why = _why(f"{best.fits} of the first {best.records} records fit {best.format}", best)
    runners_up = tuple(trial for trial in ranked[1:] if trial.wrappers == best.wrappers)
    return Detection(best.format, Reader(layouts, best.wrappers), why, runners_up)


def _why(told: str, trial: Trial) -> str:
    inside = " in ".join(wrapper.name for wrapper in reversed(trial.wrappers))
    return f"{told}, inside {inside}" if inside else told


def _wrappers(head: Block) -> tuple[Wrapper, ...]:
    """The wrappers around most lines of the head, the outermost first."""
    chain: tuple[Wrapper, ...] = ()
    lines = _sample(head)
    while len(chain) < _MAX_WRAPPERS and lines.height:
        around = next((one for one in WRAPPERS if 2 * int(one.wraps(lines["line"]).sum()) >= lines.height), None)
        if around is None:
            break
        chain = (*chain, around)
        lines = unwrap(_sample(head), chain)
        lines = lines.filter(~lines["line"].str.contains(BLANK))
    return chain


#: What the known layouts of plain access logs have in common. Garbage is told by this one regex instead of by forty.
_ACCESS_LINE = r'\[\d\d/[A-Za-z]{3}/\d{4}:[^\]]+\] ".*" (?:\d{3}|-) '


@dataclass(frozen=True)
class _OneOf(Layout):
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
        plain = all(FORMATS[layout.gateway].plain for layout in self.layouts)
        left = records.filter(pl.col("line").str.contains(_ACCESS_LINE)) if plain else records
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


def _trials(head: Block, options: Options, wrappers: tuple[Wrapper, ...]) -> list[Trial]:
    """How every format that could be meant fits the head under its wrappers, in the registry's order."""
    records = unwrap(_sample(head), wrappers)
    records = records.filter(~records["line"].str.contains(BLANK)).head(_SAMPLE_LINES)
    plain = records.select("row", "line")
    named = _named(options)
    found = []
    for format in FORMATS.values() if named is None else (FORMATS[named],):
        layouts = tuple(format.open(plain, options))
        if layouts:
            ordered, fits = _likeliest_first(plain, layouts)
            found.append(Trial(format.name, ordered, wrappers, fits, records, head.line))
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


def _explain_failure(name: str, ranked: Sequence[Trial]) -> str:
    def nearness(trial: Trial) -> float:
        return max(layout.nearness(trial.head.select("row", "line")) for layout in trial.layouts)

    near = sorted(ranked, key=lambda trial: -nearness(trial))
    shown = [f"  {trial.format}: {trial.first_reject}" for trial in near[:3]]
    records = ranked[0].records if ranked else 0
    return "\n".join(
        [
            f"{name}: no known format reads its first {records} records. Nearest:",
            *shown,
            "Give its layout as it stands in the gateway's configuration, for example",
            f"  apilens ingest {name} --log-format '$remote_addr [$time_local] \"$request\" $status $request_time'",
            f"  apilens ingest {name} --log-format '%h %l %u %t \"%r\" %>s %b %D'",
            f"or the columns of a table: apilens ingest {name} --format table_csv --columns timestamp=when:ms",
        ]
    )
