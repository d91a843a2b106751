"""Records of any channel made feedback items: the fields named, times in UTC, secrets masked, bad ones set aside."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Any, Protocol

import polars as pl

from apilens.feedback.masking import mask
from apilens.schema import ITEMS

#: Longer texts are set aside: nobody reads them, and one hostile record must not fill the state database.
MAX_TEXT = 1_000_000
_YEARS = range(1990, 2100)  # as for calls
_FIELDS = frozenset(ITEMS.names()) - {"attributes"}
_EPOCH = re.compile(r"(\d{9,10})(?:\.(\d{1,9}))?|(\d{12,13})", re.ASCII)
_SURROGATE = re.compile("[\ud800-\udfff]")

#: One row per record that was set aside.
REJECTS = pl.Schema([("line", pl.Int64), ("reason", pl.String)])


@dataclass(slots=True)
class Records:
    """What a channel found: records as (line, field -> text), and lines it could not read with the reason."""

    records: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    rejects: list[tuple[int, str]] = field(default_factory=list)

    @property
    def read(self) -> int:
        """Records met, good or bad."""
        return len(self.records) + len(self.rejects)


class Channel(Protocol):
    """One kind of file people's feedback arrives in."""

    def recognises(self, text: str) -> bool:
        """Whether the text looks like this kind."""

    def parse(self, text: str) -> Records:
        """Its records; names of fields lower case, a field without value left out."""


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
    for line, record in records.records:
        try:
            items.append(_item(record, channel, tz))
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


def read_time(text: str, tz: tzinfo) -> datetime:
    """A moment in UTC from ISO 8601 or epoch seconds or milliseconds. Raises BadRecordError."""
    word = text.strip()
    try:
        if (epoch := _EPOCH.fullmatch(word)) is not None:
            micros = int(epoch[3]) * 1000 if epoch[3] else int(epoch[1]) * 1_000_000
            micros += int((epoch[2] or "0").ljust(6, "0")[:6])
            moment = datetime.fromtimestamp(micros // 1_000_000, UTC).replace(microsecond=micros % 1_000_000)
        else:
            moment = datetime.fromisoformat(word)
            moment = (moment if moment.tzinfo else moment.replace(tzinfo=tz)).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise BadRecordError(f"{_short(text)} is no time, expected ISO 8601 or epoch seconds") from None
    if moment.year not in _YEARS:
        raise BadRecordError(f"{_short(text)} is not within 1990..2099")
    return moment


def _item(record: dict[str, str], channel: str | None, tz: tzinfo) -> dict[str, Any]:
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
        _SURROGATE.sub("�", name).replace("\0", "�"): mask(value)
        for name, value in record.items()
        if name not in _FIELDS
    }
    if "updated_at" in attributes:
        attributes["updated_at"] = _time(record, "updated_at", tz).isoformat(timespec="microseconds")
    return {
        "id": record["id"].strip(),
        "channel": record.get("channel", channel or "").strip(),
        "created_at": _time(record, "created_at", tz),
        "reporter": _stripped(record, "reporter"),
        "account": _stripped(record, "account"),
        "title": mask(record["title"]) if "title" in record else None,
        "body": mask(record["body"]) if "body" in record else None,
        "status": _stripped(record, "status"),
        "resolved_at": _time(record, "resolved_at", tz) if "resolved_at" in record else None,
        "attributes": attributes or None,
    }


def _time(record: dict[str, str], name: str, tz: tzinfo) -> datetime:
    try:
        return read_time(record[name], tz)
    except BadRecordError as bad:
        raise BadRecordError(f"{name} {bad}") from None


def _stripped(record: dict[str, str], name: str) -> str | None:
    return record[name].strip() if name in record else None


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "…")


def lines(text: str) -> Iterable[tuple[int, str]]:
    """The lines with their 1-based number; a line ends with LF, CR LF, or CR where a text has no LF at all."""
    terminator = "\n" if "\n" in text else "\r"
    for number, line in enumerate(text.split(terminator), 1):
        yield number, line.removesuffix("\r")
