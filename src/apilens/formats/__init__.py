"""The formats apilens reads, and how it tells which one an input has.

A format is one file that compiles layouts, and one line in FORMATS.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from importlib.metadata import entry_points

import polars as pl

from apilens.errors import FormatError, NoCallsError, UsageError
from apilens.formats import (
    apache,
    apigateway,
    apipark,
    apisix_json,
    aws,
    aws_json,
    azure,
    caddy,
    cloudflare,
    cloudfront,
    envoy,
    envoy_json,
    gcp,
    gin,
    gravitee_csv,
    gravitee_json,
    haproxy,
    iis,
    kong,
    nginx,
    otlp,
    squid,
    table,
    traefik,
    traefik_json,
    tyk_csv,
    tyk_json,
    wso2,
)
from apilens.formats.block import FEW, FILLED, Block, Layout, Parsed, Reader, Wrapper, ask, unwrap
from apilens.formats.format import Format, FoundLayout, Options
from apilens.formats.json_layout import JsonLayout, dotted, names, shapes
from apilens.formats.layout import TextLayout
from apilens.formats.wrappers import WRAPPERS

__all__ = ["FORMATS", "PROBLEMS", "Detection", "Format", "FoundLayout", "Options", "check_options", "detect", "doubts"]

#: What kept a format of another package from being used, one text each.
PROBLEMS: list[str] = []


def _others() -> Iterator[Format]:
    """Formats of other packages: entry points of the group apilens.formats. One that fails is said and left out."""
    for entry in sorted(entry_points(group="apilens.formats")):
        origin = f"format {entry.name} ({entry.value}{f' of {entry.dist.name}' if entry.dist else ''})"
        try:
            found = entry.load()
        except Exception as error:  # a stranger's code: whatever it raises must not stop ours
            PROBLEMS.append(f"{origin} cannot be loaded and is left out: {type(error).__name__}: {error}")
            continue
        if isinstance(found, Format):
            yield found
        else:
            PROBLEMS.append(f"{origin} is left out: found {type(found).__name__}, expected apilens.formats.Format")


def _registry(formats: Iterable[Format]) -> dict[str, Format]:
    """Formats by name, in their order; of two with one name the first is kept and the other said."""
    known: dict[str, Format] = {}
    for format in formats:
        if known.setdefault(format.name, format) is not format:
            PROBLEMS.append(f"format {format.name} of another package is left out: apilens has one of that name")
    return known


#: Narrow before wide: where two formats read a head equally well, the earlier one is taken.
FORMATS: dict[str, Format] = _registry(
    (
        aws.ALB_FORMAT,
        aws.CLASSIC_FORMAT,
        envoy.ISTIO_FORMAT,
        envoy.TEXT_FORMAT,
        squid.FORMAT,
        haproxy.FORMAT,
        gin.FORMAT,
        traefik.FORMAT,
        apigateway.FORMAT,
        nginx.APISIX_FORMAT,
        nginx.INGRESS_FORMAT,
        apache.VHOST_FORMAT,
        nginx.COMBINED_FORMAT,
        apache.COMBINED_FORMAT,
        apache.COMMON_FORMAT,
        kong.FORMAT,
        apipark.FORMAT,
        apipark.LINE_FORMAT,
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
        cloudfront.FORMAT,
        iis.FORMAT,
        tyk_csv.FORMAT,
        gravitee_csv.FORMAT,
        *_others(),
        table.JSON_FORMAT,
        table.CSV_FORMAT,
        nginx.PASTED_FORMAT,
        apache.PASTED_FORMAT,
    )
)

#: Wrappers inside one another that are looked for: a container's line in a journal in an exporter's document.
_MAX_WRAPPERS = 5


def check_options(options: Options) -> None:
    """Raises UsageError for what no input can be read with: an unknown format, a layout without a time.

    Of the layouts of a configuration one must be readable; what is wrong with the others is said when none fits.
    """
    if options.layouts:
        usable, unusable = _compiled(options)
        if not usable:
            raise UsageError("\n".join(unusable))
        return
    name = _named(options)
    if name is not None:
        (FORMATS.get(name) or _unknown(name)).open(_NOTHING, options)


def doubts(options: Options) -> list[str]:
    """What in the layouts given may be a slip of the pen, one text each."""
    asked = [one for one, _ in _compiled(options)[0]] if options.layouts else [options]
    named = [(one, _named(one)) for one in asked]
    opened = [
        FORMATS[name].open(_NOTHING, one) for one, name in named if one.log_format is not None and name in FORMATS
    ]
    return list(dict.fromkeys(doubt for layouts in opened for layout in layouts for doubt in layout.doubts))


def _compiled(options: Options) -> tuple[list[tuple[Options, FoundLayout]], list[str]]:
    """The layouts of a configuration, each as the options that ask for it alone; and what is wrong with the others."""
    usable: list[tuple[Options, FoundLayout]] = []
    unusable = []
    for found in options.layouts:
        try:
            one = replace(options, format=_format_of(found), log_format=found.text, layouts=())
            FORMATS[str(one.format)].open(_NOTHING, one)
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
    def nearness(self) -> float:
        """How much of its nearest layout the head has, 0..1."""
        return max(layout.nearness(self.head.select("row", "line")) for layout in self.layouts)

    @property
    def weight(self) -> float:
        """The share of the head that fits; of a table half, which any object fits that has the usual names."""
        return self.fits / max(self.records, 1) * (0.5 if self.is_table else 1)

    @property
    def is_table(self) -> bool:
        """Whether the format reads whatever has the usual names."""
        return self.format.startswith("table")

    @property
    def first_reject(self) -> str | None:
        """The first record of the head that its likeliest layout refuses, and why; None: it takes all."""
        records = self.head.select("row", "line")
        layout = self.layouts[0] if self.fits else max(self.layouts, key=lambda layout: layout.nearness(records))
        reject = layout.read(records).rejects.drop_nulls("reason").sort("row").head(1)
        if reject.is_empty():
            return None
        reject = layout.explain(records, reject)
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
    chains = _wrappers(head)
    if options.layouts:
        return _detect_configured(head, options, name, chains)
    found: list[Trial] = []
    for chain in chains:
        found += _trials(head, options, chain)
        if any(trial.fits == trial.records and not trial.is_table for trial in found):
            break  # what fits every line under more wrappers need not be tried under fewer
    ranked = sorted(found, key=lambda trial: -trial.weight)
    if options.log_format is not None or options.format is not None:
        if not ranked:
            raise FormatError(f"{name}: not readable as {options.format}; try: apilens formats --detect {name}")
        best = ranked[0]
        told = "layout given with --log-format" if options.log_format is not None else "format given with --format"
        return Detection(best.format, Reader(best.layouts, best.wrappers), _why(told, best))
    if not ranked or ranked[0].fits == 0:
        _refuse_error_log(name, ranked)
        raise FormatError(_explain_failure(name, ranked))
    best = _best(ranked)
    # Lines which the best format refuses may be of a sister format (mixed files).
    sisters = [t for t in ranked if t is not best and t.fits and t.wrappers == best.wrappers and not t.is_table]
    others = [layout for trial in sisters for layout in trial.layouts]
    layouts = best.layouts
    if best.is_table:
        # A table takes any object that has the usual names, also those whose own format knows them better.
        layouts, others = (*others, *layouts), []
    elif FORMATS[best.format].plain or isinstance(layouts[0], JsonLayout):
        known = (format for format in FORMATS.values() if format.plain and format.name != best.format)
        others += [layout for format in known for layout in format.open(best.head, options)]
    if others:
        layouts = (*layouts[:1], _OneOf(_distinct((*layouts[1:], *others))))
    layouts = (*layouts, _Objects(options, explains=not isinstance(layouts[0], JsonLayout)))
    why = _why(f"{best.fits} of the first {best.records} records fit {best.format}", best)
    if best.format == table.JSON_FORMAT.name and (near := _near_miss(best.head["line"], options)):
        why += f"; {near}"
    runners_up = tuple(trial for trial in ranked if trial is not best and trial.wrappers == best.wrappers)
    return Detection(best.format, Reader(layouts, best.wrappers), why, runners_up)


def _best(ranked: Sequence[Trial]) -> Trial:
    """The trial of the greatest weight; no table where formats that are told by more than names together outweigh it."""
    first = ranked[0]
    narrow = [trial for trial in ranked if trial.wrappers == first.wrappers and not trial.is_table]
    if first.is_table and sum(trial.weight for trial in narrow) >= first.weight:
        return narrow[0]
    return first


def _distinct(layouts: Sequence[Layout]) -> tuple[Layout, ...]:
    """The layouts, each once: two formats may know the same one by the same text."""
    named = {(layout.gateway, layout.text or id(layout)): layout for layout in reversed(layouts)}
    return tuple(reversed(named.values()))


def _detect_configured(head: Block, options: Options, name: str, chains: Sequence[tuple[Wrapper, ...]]) -> Detection:
    """The layout of a configuration that fits most of the head; then the others that fit some, for the lines it refuses.

    Where several fit alike, the one that the configuration uses for a log of this name; then the one with most variables.
    """
    usable, unusable = _compiled(options)
    tries = [(trial, found) for one, found in usable for chain in chains for trial in _trials(head, one, chain)]

    def rank(tried: tuple[Trial, FoundLayout]) -> tuple[float, bool, int]:
        trial, found = tried
        in_use = any(_same_log(name, log) for log in found.logs)
        return (-trial.fits / max(trial.records, 1), not in_use, -len(found.text))

    tries.sort(key=rank)
    fitting = [trial for trial, _ in tries if trial.fits]
    if not fitting and usable and all(FORMATS[str(one.format)].pasted is None for one, _ in usable):
        # Objects are read by the names of their fields, which another format may know better.
        return detect(head, replace(options, layouts=()), name)
    if not fitting:
        _refuse_error_log(name, [trial for trial, _ in tries])
        nearest = sorted(tries, key=lambda tried: -tried[0].nearness)
        said = [f"  {one}: {trial.first_reject}" for trial, one in nearest[:5]]
        raise FormatError(
            "\n".join(
                [
                    f"{name}: none of the {len(usable) + len(unusable)} layouts given reads a line of its head. Nearest:",
                    *dict.fromkeys(said),
                    *(f"  {text}" for text in unusable),
                    f"See what it looks like with: apilens formats --detect {name}",
                ]
            )
        )
    best, found = tries[0]
    same = [trial for trial in fitting if trial.wrappers == best.wrappers]
    layouts = _distinct([layout for trial in same for layout in trial.layouts])
    why = _why(f"{best.fits} of the first {best.records} records fit the layout at {found}", best)
    runners_up = tuple(trial for trial, _ in tries[1:] if trial.wrappers == best.wrappers)
    return Detection(best.format, Reader(layouts, best.wrappers), why, runners_up)


def _same_log(name: str, log: str) -> bool:
    """Whether an input may be this log of a configuration: its file, rotated or compressed, wherever it was copied to."""
    file = log.rpartition("/")[2]
    return bool(file) and name.rpartition("/")[2].startswith(file)


def _why(told: str, trial: Trial) -> str:
    inside = " in ".join(wrapper.name for wrapper in reversed(trial.wrappers))
    return f"{told}, inside {inside}" if inside else told


def _wrappers(head: Block) -> list[tuple[Wrapper, ...]]:
    """Chains of wrappers to try on the head, the longest first, the outermost of each first; the last is ().

    What stands in wrappers is meant to be read without them, unless it only looked like it.
    """
    chain: tuple[Wrapper, ...] = ()
    lines = _sample(head).select("line")
    while len(chain) < _MAX_WRAPPERS and lines.height:
        wrapped = [int(one.wraps(lines["line"]).sum()) for one in WRAPPERS]
        wrapped = [n if one.sure or 2 * n >= lines.height else 0 for one, n in zip(WRAPPERS, wrapped, strict=True)]
        chain = (*chain, WRAPPERS[wrapped.index(max(wrapped))])
        inner = unwrap(_sample(head), chain).select("line")
        inner = inner.filter(inner["line"].str.contains(FILLED))
        if max(wrapped) == 0 or inner.equals(lines):
            chain = chain[:-1]
            break
        lines = inner
    return [chain[:n] for n in range(len(chain), -1, -1)]


#: What the known layouts of plain access logs have in common. Garbage is told by this one regex instead of by forty.
_ACCESS_LINE = r'\[\d\d/[A-Za-z]{3}/\d{4}:[^\]]+\] (?:\S+ )?".*" (?:[\d.]+|-) '


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
        part = ask(left, self.layouts)
        return replace(part, rejects=pl.concat([part.rejects, hopeless]))


#: Kinds of objects among the rejects of a block for which a nearest format is looked for.
_SHAPES = 50


@dataclass(frozen=True)
class _Objects(Layout):
    """The JSON objects among the lines that an input's own layouts refuse: read by the format that knows them, if its
    head had none of them; of the others it can be said why they are no calls.

    explains: whether that is to be said; layouts of JSON know better what a record of theirs lacks.
    """

    options: Options
    explains: bool
    gateway: str = "JSON"
    text: str | None = None

    @property
    def last_resort(self) -> bool:
        """Always: to tell the formats of many lines costs as much as reading them."""
        return True

    def fits(self, records: pl.DataFrame) -> pl.Series:
        """None does."""
        return pl.repeat(False, records.height, eager=True)

    def nearness(self, records: pl.DataFrame) -> float:
        """As `fits`."""
        return 0.0

    def read(self, records: pl.DataFrame) -> Parsed:
        """Calls of the formats that know such objects; rejects that begin with a brace say what they lack of the nearest."""
        nothing = records.select("row", pl.lit("no JSON").alias("reason"))
        like = records["line"].str.contains(r"^\s*\{")
        if not like.any():
            return Parsed(_NOTHING.select("row"), nothing)
        lines = records.filter(like).with_columns(shape=shapes(records["line"].filter(like)))
        one_each = lines.filter(pl.col("shape").is_not_null() & pl.col("shape").is_first_distinct()).head(_SHAPES)
        layouts = self._layouts(one_each.select("row", "line"))
        part = ask(lines.select("row", "line"), layouts)
        refused = part.rejects if layouts else nothing.filter(like)
        if self.explains:
            refused = self._explained(lines.join(refused, on="row", maintain_order="left"))
        return replace(part, rejects=pl.concat([nothing.filter(~like), refused]))

    def _explained(self, refused: pl.DataFrame) -> pl.DataFrame:
        """Rejects of `refused` (row, shape, reason) with what each lacks of the format it is nearest to."""
        known = refused["shape"].drop_nulls().unique(maintain_order=True).head(_SHAPES)
        said = pl.DataFrame({"shape": known, "lacks": [self._reason(one) for one in known.to_list()]})
        value = pl.col("reason").str.contains(' is (?:".*|missing), ')
        return refused.join(said, on="shape", how="left", maintain_order="left").select(
            "row",
            reason=pl.when(pl.col("reason").is_null())
            .then(None)
            .when(pl.col("shape").is_null())
            .then(pl.lit("JSON that is cut off, broken or nested too deep"))
            .when(value)
            .then(pl.lit("JSON, but ") + pl.col("reason"))
            .otherwise(pl.coalesce("lacks", pl.lit("JSON of no known format"))),
        )

    def _layouts(self, samples: pl.DataFrame) -> list[Layout]:
        """The layouts of the formats that take one of the samples."""
        options = replace(self.options, format=None, log_format=None, layouts=(), columns={})
        formats = (format for name, format in FORMATS.items() if not name.startswith("table"))
        opened = (layout for format in formats for layout in format.open(samples, options))
        return [layout for layout in opened if isinstance(layout, JsonLayout) and layout.fits(samples).any()]

    def _reason(self, shape: str) -> str:
        leaves = _leaves([shape])
        layout = _nearest(leaves, self.options)
        if layout is None:
            return f"JSON of no known format, with {', '.join(leaves[:5])}"
        return f"JSON, nearest to {layout.gateway}, but without {', '.join(layout.lacking(leaves)) or 'its values'}"


def _leaves(lines: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(dotted(path) for path in names(lines)))


def _nearest(leaves: Sequence[str], options: Options) -> JsonLayout | None:
    """The layout of JSON that a record with these fields is nearest to; None: it has little of any."""
    layouts = [
        layout
        for format in FORMATS.values()
        for layout in format.open(_NOTHING, replace(options, format=None, log_format=None, layouts=(), columns={}))
        if isinstance(layout, JsonLayout)
    ]
    ranked = sorted(layouts, key=lambda layout: -sum(layout.kinship(leaves)))
    told, known = ranked[0].kinship(leaves)
    return ranked[0] if told >= _NEAR and known >= _NEAR else None


#: Share of what tells a format, and of the fields of a record, from which on the two are called near.
_NEAR = 0.5


def _near_miss(lines: pl.Series, options: Options) -> str | None:
    """The format that the objects were of if they had one field more, in words; None: there is none."""
    leaves = _leaves(lines.head(20))
    layout = _nearest(leaves, options)
    if layout is None or len(missing := layout.lacking(leaves)) != 1:
        return None
    return f"they would be {layout.gateway} if they had {missing[0]}"


def _unknown(name: str) -> Format:
    near = [known for known in FORMATS if name in known] or get_close_matches(name, FORMATS, n=1)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise UsageError(f"--format {name!r} is not known; {hint}known: {', '.join(FORMATS)}")


def _sample(head: Block) -> pl.DataFrame:
    lines = head.lines
    return lines.filter(lines["line"].str.contains(FILLED)).head(FEW)


def _trials(head: Block, options: Options, wrappers: tuple[Wrapper, ...]) -> list[Trial]:
    """How every format that could be meant fits the head under its wrappers, in the registry's order."""
    records = unwrap(_sample(head), wrappers)
    records = records.filter(records["line"].str.contains(FILLED)).head(FEW)
    plain = records.select("row", "line")
    named = _named(options)
    opened = {
        name: layouts
        for name in (FORMATS if named is None else (named,))
        if (layouts := tuple(FORMATS[name].open(plain, options)))
    }
    fits = _fits(plain, [layout for layouts in opened.values() for layout in layouts])
    found = []
    for name, layouts in opened.items():
        ordered, taken = _likeliest_first(plain, layouts, fits)
        found.append(Trial(name, ordered, wrappers, taken, records, head.line))
    return found


def _fits(records: pl.DataFrame, layouts: Sequence[Layout]) -> dict[int, pl.Series]:
    """Whether each record fits, by id of those layouts that a glance or their regex tells it of; all regexes in one go."""
    lines = records["line"].to_list()
    hopeful = {id(layout): layout.pattern for layout in layouts if layout.may_fit(lines)}
    told = records.select(
        pl.col("line").str.contains(pattern).alias(str(key)) for key, pattern in hopeful.items() if pattern is not None
    )
    nothing = pl.repeat(False, records.height, eager=True)
    return {
        id(layout): told[str(id(layout))] if hopeful.get(id(layout)) is not None else nothing
        for layout in layouts
        if id(layout) not in hopeful or hopeful[id(layout)] is not None
    }


def _likeliest_first(
    records: pl.DataFrame, layouts: Sequence[Layout], known: Mapping[int, pl.Series]
) -> tuple[tuple[Layout, ...], int]:
    """The layouts in the order given, those last that fit nothing an earlier one left; and how many records fit any.

    known: as `_fits` has it.
    """
    left, taking, idle = pl.repeat(True, records.height, eager=True), [], []
    for layout in layouts:
        fits = known.get(id(layout))
        if fits is None and left.any():
            fits = layout.fits(records)
        if fits is not None and (fits & left).any():
            taking.append(layout)
            left &= ~fits
        else:
            idle.append(layout)
    return (*taking, *idle), int((~left).sum())


#: Where the lines begin that say what to type for an input of no known format; the same for every such input.
ADVICE = "Its layout stands in the gateway's configuration:"


def _refuse_error_log(name: str, trials: Sequence[Trial]) -> None:
    """Raises NoCallsError where each line of a head is a message that some gateway writes between its calls."""
    beside = (layout.filtered for trial in trials for layout in trial.layouts if isinstance(layout, TextLayout))
    for pattern in dict.fromkeys(pattern for pattern in beside if pattern is not None):
        if trials[0].head["line"].str.contains(pattern).all():
            raise NoCallsError(
                f"{name}: an error log, passed over: it holds messages and no calls; expected the access log that is written beside it,"
                " where each failed request stands with its status"
            )


def _explain_failure(name: str, ranked: Sequence[Trial]) -> str:
    if ranked and ranked[0].head["line"].str.contains("\0", literal=True).any():
        return (
            f"{name}: holds binary data (NUL bytes between its text); expected lines of a log, plain or as gzip, zstd, bzip2 or xz."
            " Unpack an archive (tar, zip) first"
        )
    near = sorted(ranked, key=lambda trial: -trial.nearness)
    shown = [f"  {trial.format}: {trial.first_reject}" for trial in near[:3]]
    records = ranked[0].records if ranked else 0
    typed = shlex.quote(name)
    return "\n".join(
        [
            f"{name}: no known format reads its first {records} records. Nearest:",
            *shown,
            f"{ADVICE} name the file that has it, or paste it:",
            f"  apilens ingest {typed} --log-format-from /etc/nginx/nginx.conf",
            f"  apilens ingest {typed} --log-format '$remote_addr [$time_local] \"$request\" $status $request_time'",
            f"  apilens ingest {typed} --log-format '%h %l %u %t \"%r\" %>s %b %D'",
            f"or the columns of a table: apilens ingest {typed} --format table_csv --columns timestamp=when:ms",
        ]
    )
