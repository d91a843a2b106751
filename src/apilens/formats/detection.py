"""Which format an input has, told from its head."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from apilens.errors import FormatError, NoCallsError
from apilens.formats import table
from apilens.formats.asked import check_options, compiled
from apilens.formats.block import FEW, Block, Layout, Reader, Wrapper
from apilens.formats.format import FoundLayout, Options
from apilens.formats.json_layout import JsonLayout
from apilens.formats.layout import TextLayout
from apilens.formats.refused import Objects, OneOf, near_miss
from apilens.formats.registry import FORMATS
from apilens.formats.trials import Sample, Trial, chains, try_formats

#: Characters of a line that is shown.
_SHOWN = 80
#: What was asked for, as most access logs write it: a method, and a target not far behind.
_ASKED = r"\b(?:GET|POST|PUT|DELETE|PATCH|HEAD|OPTIONS)\b.{0,20}?(?:/|://)"
#: Fields of a JSON object that are shown.
_FIELDS_SHOWN = 20
#: Where the lines begin that say what to type for an input of no known format; the same for every such input.
ADVICE = "Its layout stands in the gateway's configuration:"


@dataclass(frozen=True)
class Detection:
    """How to read an input, and why; runners_up: other formats that read some of it. given: whether its layout was."""

    format: str
    reader: Reader
    why: str
    runners_up: tuple[Trial, ...] = ()
    given: bool = False

    @property
    def layout(self) -> str | None:
        """The layout found or given, as its author wrote it; None: the format has only one."""
        return self.reader.layouts[0].text

    @property
    def doubts(self) -> tuple[str, ...]:
        """What the layouts found leave open; nothing of layouts given, which `formats.doubts` judges."""
        first, *others = self.reader.layouts
        found = [] if self.given else [first, *(one for one in others if one.gateway.startswith("table"))]
        return tuple(dict.fromkeys(doubt for layout in found for doubt in layout.doubts))


def detect(head: Block, options: Options, name: str) -> Detection:
    """The format of an input from its head; name: of the input, for messages.

    Raises FormatError when no format reads a line of it: the text says where the nearest ones failed first and how to
    give a layout. Raises UsageError as check_options.
    """
    check_options(options)
    sample = Sample(head)
    around = chains(sample)
    if options.layouts:
        return _detect_configured(head, sample, options, name, around)
    found: list[Trial] = []
    for chain in around:
        found += try_formats(sample, options, chain)
        if any(trial.fits == trial.records and not trial.is_table for trial in found):
            break  # what fits every line under more wrappers need not be tried under fewer
    ranked = sorted(found, key=lambda trial: -trial.weight)
    if options.log_format is not None or options.format is not None:
        if not ranked:
            raise FormatError(_explain_unreadable(head, options, name))
        # Under which wrappers nothing fits is of no weight: then what departs from the layout last says where.
        best = ranked[0] if ranked[0].fits else max(ranked, key=lambda trial: (trial.nearness, -len(trial.wrappers)))
        told = "layout given with --log-format" if options.log_format is not None else "format given with --format"
        given = options.log_format is not None
        return Detection(best.format, Reader(best.layouts, best.wrappers), _why(told, best), given=given)
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
        known = (t for t in ranked if t.wrappers == best.wrappers and FORMATS[t.format].plain and t is not best)
        others += [layout for trial in sorted(known, key=_in_registry) for layout in trial.opened]
    if others:
        layouts = (*layouts[:1], OneOf(_distinct((*layouts[1:], *others))))
    layouts = (*layouts, Objects(options, explains=not isinstance(layouts[0], JsonLayout)))
    why = _why(f"{best.fits} of the first {best.records} records fit {best.format}", best)
    if best.format == table.JSON_FORMAT.name and (near := near_miss(best.head["line"], options)):
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


def _in_registry(trial: Trial) -> int:
    """Where the format of a trial stands among all."""
    return list(FORMATS).index(trial.format)


def _distinct(layouts: Sequence[Layout]) -> tuple[Layout, ...]:
    """The layouts, each once: two formats may know the same one by the same text."""
    named = {(layout.gateway, layout.text or id(layout)): layout for layout in reversed(layouts)}
    return tuple(reversed(named.values()))


def _detect_configured(
    head: Block, sample: Sample, options: Options, name: str, around: Sequence[tuple[Wrapper, ...]]
) -> Detection:
    """The layout of a configuration that fits most of the head; then the others that fit some, for the lines it refuses.

    Where several fit alike, the one that the configuration uses for a log of this name; then the one with most variables.
    """
    usable, unusable = compiled(options)
    tries = [(trial, found) for one, found in usable for chain in around for trial in try_formats(sample, one, chain)]

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
    return Detection(best.format, Reader(layouts, best.wrappers), why, runners_up, given=True)


def _same_log(name: str, log: str) -> bool:
    """Whether an input may be this log of a configuration: its file, rotated or compressed, wherever it was copied to."""
    file = log.rpartition("/")[2]
    return bool(file) and name.rpartition("/")[2].startswith(file)


def _why(told: str, trial: Trial) -> str:
    inside = " in ".join(wrapper.name for wrapper in reversed(trial.wrappers))
    return f"{told}, inside {inside}" if inside else told


def _refuse_error_log(name: str, trials: Sequence[Trial]) -> None:
    """Raises NoCallsError where each line of a head is a message that some gateway writes between its calls."""
    beside = (layout.filtered for trial in trials for layout in trial.layouts if isinstance(layout, TextLayout))
    for pattern in dict.fromkeys(pattern for pattern in beside if pattern is not None):
        if trials[0].head["line"].str.contains(pattern).all():
            raise NoCallsError(
                f"{name}: an error log, passed over: it holds messages and no calls; expected the access log that is written beside it,"
                " where each failed request stands with its status"
            )


def _explain_unreadable(head: Block, options: Options, name: str) -> str:
    """Why an input is not of the format that was asked for by its name."""
    said = f"{name}: not readable as {options.format}"
    mapped = _mapped(head.lines["line"], name) if options.format == table.JSON_FORMAT.name else []
    return "\n".join([f"{said}.", *mapped]) if mapped else f"{said}; try: apilens formats --detect {shlex.quote(name)}"


def _mapped(lines: pl.Series, name: str) -> list[str]:
    """What to type for JSON objects whose fields have names of their own; nothing for other lines."""
    found, columns = table.guessed(lines.head(FEW))
    if not found:
        return []
    shown = ", ".join(found[:_FIELDS_SHOWN]) + (", …" if len(found) > _FIELDS_SHOWN else "")
    meant = " ".join(f"--columns {shlex.quote(f'{column}={field}')}" for column, field in columns.items())
    return [
        f"It is JSON with the fields {shown}.",
        "Say which of them are the time and what was called, and which one is the duration in which unit (s, ms, us, ns):",
        f"  apilens ingest {shlex.quote(name)} --format {table.JSON_FORMAT.name} {meant} --columns duration_ms=NAME:s",
        "or name the configuration in which the layout stands: --log-format-from /etc/nginx/nginx.conf",
    ]


#: What a pasted layout looks like: NGINX's, Apache's, Envoy's.
_LAYOUTS = (
    '$remote_addr [$time_local] "$request" $status $request_time',
    '%h %l %u %t "%r" %>s %b %D',
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(:PATH)% %PROTOCOL%" %RESPONSE_CODE% %DURATION% %HOSTNAME%',
)
#: Beginning of the names of formats -> a variable as their layouts have it.
_VARIABLES = {"nginx": "$NAME", "apache": "%{NAME}i", "envoy": "%NAME%", "istio": "%NAME%", "haproxy": "%[NAME]"}


def _begun(ranked: Sequence[Trial], name: str) -> list[str]:
    """What to type for lines that are of a known layout up to something that was appended to it; nothing for others."""
    for trial in sorted(ranked, key=lambda trial: -trial.nearness):
        records = trial.head.select("row", "line")
        known = (layout for layout in trial.layouts if isinstance(layout, TextLayout))
        begun = [layout for layout in known if layout.nearness(records) > _BEGINS]
        longest = max(begun, key=lambda layout: len(layout.parts), default=None)
        variable = next((one for family, one in _VARIABLES.items() if trial.format.startswith(family)), None)
        if longest is not None and variable is not None:
            longer = shlex.quote(f"{longest.text} {variable}")
            return [
                f"They are of {trial.format} with something behind it. Where {variable} stands here, put what your configuration has"
                " there:",
                f"  apilens ingest {shlex.quote(name)} --log-format {longer}",
            ]
    return []


#: Share of records that begin as a layout does, from which on the others are taken for garbage. See TextLayout.nearness.
_BEGINS = 0.95


#: A request, and what every time has: of day, or seconds since 1970.
_REQUEST, _TIME = r"(?:GET|POST|PUT|DELETE|PATCH|HEAD|OPTIONS) \S+", r"(?:^|[ T\[])\d\d:\d\d|\d\d:\d\d:\d\d|\b1\d{9}"
_NO_TIME = (
    "Its lines say what was called, but not when, and a call without a time cannot be placed. Let the server write one"
    " (morgan: combined instead of dev, tiny or short; uvicorn: %(asctime)s in the formatter of --log-config), or keep that of"
    " docker logs -t and paste the layout with it: --log-format '%{%Y-%m-%dT%H:%M:%S.%9fZ}t %{level}n %h:%{remote}p - \"%r\" %>s %{reason}n'"
)


#: The first of two records.
_PARTED = r'^\{.*"reqId":.*"msg":"incoming request"'
_FASTIFY = (
    "Fastify parts a call into two records, of which one says what was called and the other how it went. Let it write one:"
    " disableRequestLogging: true in its options, and\n"
    "  app.addHook('onResponse', async (req, reply) => req.log.info({ req, res: reply, responseTime: reply.elapsedTime }))"
)


def _without_time(lines: pl.Series) -> bool:
    """Whether most lines hold a request and most hold no time."""
    calls = lines.filter(lines.str.contains(_REQUEST))
    return 2 * calls.len() >= lines.len() and 2 * int(calls.str.contains(_TIME).sum()) < calls.len()


def _explain_failure(name: str, ranked: Sequence[Trial]) -> str:
    if ranked and ranked[0].head["line"].str.contains("\0", literal=True).any():
        return (
            f"{name}: holds binary data (NUL bytes between its text); expected lines of a log, plain or as gzip, zstd, bzip2 or xz."
            " Unpack an archive (tar, zip) first"
        )
    # A format is tried with each wrapper that may be around the lines; the nearest of these is told.
    near: dict[str, str] = {}
    for trial in sorted(ranked, key=lambda trial: -trial.nearness):
        if len(near) < 3 and trial.format not in near and trial.is_near and (why := trial.first_reject):
            near[trial.format] = why
    found = [f"{name}: no known format reads its first {ranked[0].records if ranked else 0} records."]
    begun = _begun(ranked, name)
    if near:
        found = [f"{found[0]} Nearest:", *(f"  {one}: {why}" for one, why in near.items())]
    elif ranked:
        lines = ranked[0].head["line"]
        asked = lines.str.contains(_ASKED)
        line = lines.filter(asked)[0] if asked.any() else lines[0]
        told = "None is near to what looks like a call" if asked.any() else "They look like no calls at all"
        found = [f"{found[0]} {told}: {line[:_SHOWN]!r}{'…' if len(line) > _SHOWN else ''}"]
    if ranked and ranked[0].head["line"].str.contains(_PARTED).any():
        return "\n".join([*found, _FASTIFY])
    # What stands in a field called message may have been taken for a line by itself: then the objects around it say more.
    for trial in (*ranked[:1], *sorted(ranked, key=lambda trial: len(trial.wrappers))[:1]):
        if mapped := _mapped(trial.head["line"], name):
            return "\n".join([*found, *mapped])
    if ranked and _without_time(ranked[0].head["line"]):
        return "\n".join([*found, _NO_TIME])
    typed = shlex.quote(name)
    return "\n".join(
        [
            *found,
            *begun,
            f"{ADVICE} name the file that has it, or paste it:",
            f"  apilens ingest {typed} --log-format-from /etc/nginx/nginx.conf",
            *(f"  apilens ingest {typed} --log-format {shlex.quote(layout)}" for layout in _LAYOUTS),
            f"or the columns of a table: apilens ingest {typed} --format table_csv --columns timestamp=when:ms",
        ]
    )
