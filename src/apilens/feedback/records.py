"""Records of any channel made feedback items: the fields named, times in UTC, secrets masked, bad ones set aside."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

import polars as pl

from apilens.feedback.export import Export
from apilens.feedback.masking import mask
from apilens.schema import ITEMS

#: Longer texts are set aside: nobody reads them, and one hostile record must not fill the state database.
MAX_TEXT = 1_000_000
_YEARS = range(1990, 2100)  # as for calls
_FIELDS = frozenset(ITEMS.names()) - {"attributes"}
#: Attributes that join items: a masked one would join what does not belong together.
_KEYS = frozenset({"thread", "room", "alert", "duplicate_of"})
_EPOCH = re.compile(r"(\d{9,10})(?:\.(\d{1,9}))?|(\d{12,13})", re.ASCII)
_SURROGATE = re.compile("[\ud800-\udfff]")

#: One row per record that was set aside.
REJECTS = pl.Schema([("line", pl.Int64), ("reason", pl.String)])


@dataclass(slots=True)
class Records:
    """What a channel found: records as (line, field -> text), and lines it could not read with the reason.

    remarks: what is to be said about it. damage: why the input was read only in part; None: it was read whole.
    time_format: strptime's, of times that are neither ISO 8601 nor epoch. day_first: how times such as 3/9/2026 are meant;
    None: the items themselves tell, see slashed_times.
    """

    records: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    rejects: list[tuple[int, str]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    damage: str | None = None
    time_format: str | None = None
    day_first: bool | None = None

    @property
    def read(self) -> int:
        """Records met, good or bad."""
        return len(self.records) + len(self.rejects)


class Channel(Protocol):
    """One way people's feedback arrives."""

    @property
    def name(self) -> str | None:
        """What items are said to come by when neither the record nor `--channel` says it; None: they must."""

    def recognises(self, export: Export) -> bool:
        """Whether a file looks like this kind."""

    def parse(self, export: Export) -> Records:
        """Its records; names of fields lower case, a field without value left out. Raises InputError."""


class BadRecordError(ValueError):
    """A record cannot become an item; the text says why."""


def to_items(records: Records, *, channel: str | None, tz: tzinfo) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Items (schema.ITEMS, in order, not yet unique) and rejects (REJECTS): rows of both = records.read.

    channel: of records that name none; None: such a record is set aside. tz: zone of times without one; a time
    that a clock change makes ambiguous is taken for the first of the two. Fields no column is named after become
    attributes. Secrets in title, body and attributes are masked.
    """
    items: list[dict[str, Any]] = []
    rejects = list(records.rejects)
    day_first = slashed_times(records)[0] if records.day_first is None else records.day_first
    written = _Written(tz, records.time_format, day_first)
    for line, record in records.records:
        try:
            items.append(_item(record, channel, written))
        except BadRecordError as bad:
            rejects.append((line, str(bad)))
    return (
        pl.DataFrame(items, schema=ITEMS, orient="row"),
        pl.DataFrame(sorted(rejects), schema=REJECTS, orient="row"),
    )


def newest(items: pl.DataFrame) -> pl.DataFrame:
    """One row per (channel, id): the one updated last, then the one resolved last, else the greatest text.

    The last rule only keeps the result independent of the order in which files are read.
    """
    updated = pl.col("attributes").map.get("updated_at")
    order = [updated, "resolved_at", "status", "title", "body", "reporter", "account", "created_at"]
    rest = pl.col("attributes").map.entries().cast(pl.List(pl.Struct({"key": pl.String, "value": pl.String})))
    rest = rest.list.eval(pl.element().struct.field("key") + "=" + pl.element().struct.field("value"))
    return items.sort([*order, rest.list.sort().list.join("\n")], nulls_last=False).unique(
        ["channel", "id"], keep="last", maintain_order=True
    )


@dataclass(frozen=True, slots=True)
class _Written:
    """How the times of one input are written; see read_time."""

    tz: tzinfo
    time_format: str | None
    day_first: bool


def read_time(text: str, tz: tzinfo, time_format: str | None = None, *, day_first: bool = False) -> datetime:
    """A moment in UTC from ISO 8601, epoch seconds or milliseconds, RFC 5322 (mail), Jira's `30/Sep/21 17:20`,
    `Sep 30, 2021, 5:20 PM`, `30.09.2021 17:20`, `9/30/2021 5:20 PM`, or in `time_format` (strptime's).

    tz: zone of a time without one. day_first: whether 3/9/2021 is the third of September. Raises BadRecordError.
    """
    word = text.strip()
    try:
        if (epoch := _EPOCH.fullmatch(word)) is not None:
            micros = int(epoch[3]) * 1000 if epoch[3] else int(epoch[1]) * 1_000_000
            micros += int((epoch[2] or "0").ljust(6, "0")[:6])
            moment = datetime.fromtimestamp(micros // 1_000_000, UTC).replace(microsecond=micros % 1_000_000)
        else:
            moment = _written(word, time_format, day_first)
            moment = (moment if moment.tzinfo else moment.replace(tzinfo=tz)).astimezone(UTC)
    except (ValueError, OverflowError, OSError, TypeError, IndexError):
        raise BadRecordError(f"{_short(text)} is no time, expected ISO 8601 or epoch seconds") from None
    if moment.year not in _YEARS:
        raise BadRecordError(f"{_short(text)} is not within 1990..2099")
    return moment


_ISO = re.compile(r"\d{4}-?\d\d-?\d\d.*", re.ASCII)
_ISO_SLASHED = re.compile(r"(\d{4})/(\d{1,2})/(\d{1,2})(?:[ T]+(.*))?", re.ASCII)
_ZONE_WORD = re.compile(r"\s*(UTC|GMT|Z)$", re.ASCII)
_NAMED_MONTH = re.compile(
    r"(?:[^\W\d_]{2,10}\.?,?\s+)?(\d{1,2})[/. -]{1,2}([^\W\d_]{3,9})\.?[/. -](\d{4}|\d\d)(?:,?\s+(.*))?"
)
_MONTH_FIRST = re.compile(r"(?:[^\W\d_]{3,10},\s+)?([^\W\d_]{3,9})\.?\s+(\d{1,2}),?\s+(\d{4})(?:,?\s+(?:at\s+)?(.*))?")
_DOTTED = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4}|\d\d),?\s*(.*)", re.ASCII)
_SLASHED = re.compile(r"\s*(\d{1,2})([/-])(\d{1,2})\2(\d{4}|\d\d)(?:,?\s+(\d{1,2}:\d\d.*))?\s*", re.ASCII)
_HALF_DAY = re.compile(r"(?i)\s*([ap])\.?\s?m\.?$")
#: First letters of month names in English, German, French, Spanish, Italian, Portuguese and Dutch exports.
_MONTHS = {
    name: number
    for number, names in enumerate(
        ("jan ene gen", "feb fév fev", "mar mär mrz mrt", "apr avr abr", "may mai mag mei", "jun juin giu", "jul juil lug",
         "aug aoû aou ago", "sep set", "oct okt ott out", "nov", "dec dez déc dic"), 1
    )
    for name in names.split()
}  # fmt: skip
_CLOCKS = ("%H:%M", "%H:%M:%S", "%I:%M %p", "%I:%M:%S %p", "%H:%M %z", "%H:%M:%S %z")


def _written(word: str, time_format: str | None, day_first: bool) -> datetime:
    """The moment a text writes out. Raises ValueError and what the parsers raise besides."""
    if _ISO.fullmatch(word):
        return datetime.fromisoformat(_ZONE_WORD.sub("+00:00", word))
    if time_format is not None:
        return datetime.strptime(word, time_format)
    if (iso := _ISO_SLASHED.fullmatch(word)) is not None:
        return _at_clock(datetime(int(iso[1]), int(iso[2]), int(iso[3])), iso[4])
    if (slashed := _SLASHED.fullmatch(word)) is not None:
        day, month = (slashed[1], slashed[3]) if day_first else (slashed[3], slashed[1])
        return _at_clock(datetime(_year(slashed[4]), int(month), int(day)), slashed[5])
    if (named := _NAMED_MONTH.fullmatch(word)) is not None and (month_number := _month(named[2])) is not None:
        return _at_clock(datetime(_year(named[3]), month_number, int(named[1])), named[4])
    if (named := _MONTH_FIRST.fullmatch(word)) is not None and (month_number := _month(named[1])) is not None:
        return _at_clock(datetime(int(named[3]), month_number, int(named[2])), named[4])
    if (dotted := _DOTTED.fullmatch(word)) is not None:
        return _at_clock(datetime(_year(dotted[3]), int(dotted[2]), int(dotted[1])), dotted[4])
    if _HALF_DAY.search(word):
        raise ValueError(word)  # the parser of mail dates would take 5 PM for five in the morning
    return parsedate_to_datetime(word)


def _month(name: str) -> int | None:
    letters = name.casefold()
    return _MONTHS.get(letters[:4]) or _MONTHS.get(letters[:3])


def _year(digits: str) -> int:
    return int(digits) + (2000 if len(digits) == 2 else 0)


def _at_clock(day: datetime, clock: str | None) -> datetime:
    if clock is None or not clock.strip():
        return day
    clock = _HALF_DAY.sub(r" \1M", _ZONE_WORD.sub(" +0000", clock.strip()))
    for pattern in _CLOCKS:
        try:
            time = datetime.strptime(clock, pattern)
        except ValueError:
            continue
        return day.replace(hour=time.hour, minute=time.minute, second=time.second, tzinfo=time.tzinfo)
    try:
        # A mail's `17:20:00 -0700 (PDT)`, ISO's fractions and offsets.
        return parsedate_to_datetime(f"{day:%d %b %Y} {clock}")
    except ValueError:
        return datetime.fromisoformat(f"{day:%Y-%m-%d}T{clock}")


def slashed_times(records: Records) -> tuple[bool, str | None]:
    """Whether the day comes first in times such as 3/9/2026 or 3-9-2026, and a remark where nothing tells.

    The input tells by all its times: a number above 12 is a day. Where none is, the month is taken to be first, as Google's
    and Microsoft's forms write it, and the remark says so.
    """
    names = ("created_at", "updated_at", "resolved_at")
    times = (record[name] for _, record in records.records for name in names if name in record)
    found = [match for time in times if (match := _SLASHED.fullmatch(time)) is not None]
    if not found or records.time_format is not None:
        return False, None
    if any(int(match[1]) > 12 for match in found):
        return True, None
    if any(int(match[3]) > 12 for match in found):
        return False, None
    return False, (
        "dates such as 3/9/2026 are read month first; if the day is first, say so with time_format in a mapping"
    )


def _item(record: dict[str, str], channel: str | None, written: _Written) -> dict[str, Any]:
    record = {name: _SURROGATE.sub("�", value).replace("\0", "�") for name, value in record.items() if value.strip()}
    for name, value in record.items():
        if len(value) > MAX_TEXT:
            raise BadRecordError(f"{_short(name)} has {len(value):,} characters, at most {MAX_TEXT:,} are kept")
    if "id" not in record:
        raise BadRecordError("no id: without one the item cannot be recognised when it is imported again")
    if "channel" not in record and channel is None:
        raise BadRecordError("no channel: add the column, or type --channel NAME")
    if "created_at" not in record:
        raise BadRecordError("no created_at: without it the item cannot be joined with the logs")
    attributes = {
        _SURROGATE.sub("�", name).replace("\0", "�"): value if name in _KEYS else mask(value)
        for name, value in record.items()
        if name not in _FIELDS
    }
    if "updated_at" in attributes:
        attributes["updated_at"] = _time(record, "updated_at", written).isoformat(timespec="microseconds")
    return {
        "id": record["id"].strip(),
        "channel": record.get("channel", channel or "").strip(),
        "created_at": _time(record, "created_at", written),
        "reporter": _stripped(record, "reporter"),
        "account": _stripped(record, "account"),
        "title": mask(record["title"]) if "title" in record else None,
        "body": mask(record["body"]) if "body" in record else None,
        "status": _stripped(record, "status"),
        "resolved_at": _time(record, "resolved_at", written) if "resolved_at" in record else None,
        "attributes": attributes or None,
    }


def _time(record: dict[str, str], name: str, written: _Written) -> datetime:
    try:
        return read_time(record[name], written.tz, written.time_format, day_first=written.day_first)
    except BadRecordError as bad:
        raise BadRecordError(f"{name} {bad}") from None


def _stripped(record: dict[str, str], name: str) -> str | None:
    return record[name].strip() if name in record else None


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "…")


def renamed(record: dict[str, str], fields: dict[str, tuple[str, ...]]) -> dict[str, str]:
    """The record under our names; what no field takes keeps its own name, with _ between the words.

    fields: our field -> names in the export, of which the first with a value counts.
    """
    taken = {name: next((own for own in names if record.get(own, "").strip()), None) for name, names in fields.items()}
    used = {own for own in taken.values() if own is not None}
    rest = {"_".join(re.findall(r"\w+", own)) or own: value for own, value in record.items() if own not in used}
    # What the export calls by one of our names means something else there: "status" of a survey is its completeness.
    kept = {(f"its_{own}" if own in _FIELDS else own): value for own, value in rest.items()}
    return kept | {name: record[own] for name, own in taken.items() if own is not None}
