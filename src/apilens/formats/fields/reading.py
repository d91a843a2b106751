"""Raw values into calls: quickly where the fields accept that, else carefully, with a reason for what cannot be read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import polars as pl

from apilens.formats.attributes import gather_attributes
from apilens.formats.block import REJECTED, Parsed
from apilens.formats.escapes import Escape, unescape, unescape_columns
from apilens.formats.fields.field import Field
from apilens.formats.fields.requests import compact


def typed(
    raws: pl.LazyFrame,
    fields: Mapping[str, Field],
    gateway: str,
    *,
    careful: bool,
    derived: Sequence[pl.Expr] = (),
    unused: Sequence[pl.Expr] = (),
) -> pl.LazyFrame:
    """The columns that the fields make of raw values, and per field i that can fail `ok{i}`: whether it could be read.

    raws: field i in column `v{i}`, null where the gateway wrote its null marker; other columns are kept.
    derived: columns made of finished ones, one after the other; a name that begins with `_` is only a step to others.
    unused: what `outranked` has found.
    """
    if not careful:
        raws = raws.with_columns(
            field.prepare(pl.col(f"v{i}")).alias(f"w{i}") for i, field in enumerate(fields.values()) if field.prepare
        )
    reads = [
        (
            field,
            field.careful(pl.col(f"v{i}")) if careful else field.quick(pl.col(f"w{i}" if field.prepare else f"v{i}")),
        )
        for i, field in enumerate(fields.values())
    ]
    found: dict[str, list[pl.Expr]] = {}
    for _, columns in sorted(reads, key=lambda read: read[0].rank):
        for name, value in columns.items():
            found.setdefault(name, []).append(value)
    # Where several fields fill one column, the first non-null one by rank.
    merged = {name: values[0] if len(values) == 1 else pl.coalesce(values) for name, values in found.items()}
    lost = [
        pl.when(pl.col(f"v{i}") != pl.col(filled)).then(pl.col(f"v{i}")).alias(f"attributes.{field.outranked_as}")
        for i, (field, columns) in enumerate(reads)
        if field.outranked_as and len(found[filled := next(iter(columns))]) > 1
    ]
    times = [field for field in fields.values() if field.timestamp_kind]
    if times:
        merged["timestamp_kind"] = pl.lit(min(times, key=lambda field: field.rank).timestamp_kind)
    merged["gateway"] = pl.lit(gateway)
    accepts = {}
    for i, field in enumerate(fields.values()):
        if (accept := field.accept_careful if careful else field.accept or field.accept_careful) is not None:
            accepts[f"ok{i}"] = accept(pl.col(f"v{i}"), {name: pl.col(name) for name in reads[i][1]})
    # In a step of its own: a condition then reads the finished column instead of working it out again.
    read = raws.with_columns(**merged).with_columns(*unused, *lost, **accepts)
    for column in derived:
        read = read.with_columns(column)
    return read.drop([name for name in merged if name.startswith("_")])


def quickest(raws: pl.DataFrame, fields: Mapping[str, Field]) -> dict[str, Field]:
    """The fields, each read quickly if that takes nearly all of its raw values, else carefully from the start.

    raws: as in `read_carefully`.
    """

    def quick(i: int, field: Field) -> bool:
        if field.quick is field.careful or field.percent:
            return False
        if field.accept is None:
            return True
        # A condition may ask for a column that other fields fill.
        one = raws.lazy().select(pl.lit(None, pl.Datetime("us", "UTC")).alias("timestamp"), v0=f"v{i}")
        taken = typed(one, {"": field}, "", careful=False).select(pl.col("ok0").fill_null(False).mean())
        return (taken.collect(engine="in-memory").item() or 0.0) > _NEARLY_ALL

    return {
        name: field
        if quick(i, field)
        else replace(field, quick=field.careful, prepare=None, accept=field.accept_careful)
        for i, (name, field) in enumerate(fields.items())
    }


#: Share of values from which on it pays to read the others twice.
_NEARLY_ALL = 0.9


def read_quickly(
    raws: pl.DataFrame,
    fields: Mapping[str, Field],
    gateway: str,
    *,
    derived: Sequence[pl.Expr] = (),
    unused: Sequence[pl.Expr] = (),
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Calls from raw values, and those of `raws` that want care. Arguments as in `read_carefully`; no escapes."""
    plan = typed(raws.lazy(), fields, gateway, careful=False, derived=derived, unused=unused)
    conditions = [pl.col(name) for name in plan.collect_schema().names() if name.startswith("ok")]
    read = plan.with_columns(fits=pl.all_horizontal(*conditions, pl.col("timestamp").is_not_null()).fill_null(False))
    done = read.select("row", "fits", pl.exclude("row", "fits", *raws.columns, r"^(?:v|w|ok)\d+$")).collect(
        engine="in-memory"
    )
    good = done["fits"]
    calls = decoded(done.filter(good).drop("fits"), fields)
    return compact(gather_attributes(calls)), raws.filter(~good)


def decoded(calls: pl.DataFrame, fields: Mapping[str, Field]) -> pl.DataFrame:
    """Calls with those columns decoded that are percent-encoded text."""
    encoded = dict.fromkeys(column for field in fields.values() for column in field.percent)
    return calls.with_columns(unescape(calls[column], "percent") for column in encoded)


def read_raws(
    raws: pl.DataFrame, fields: Mapping[str, Field], gateway: str, *, unused: Sequence[pl.Expr] = ()
) -> Parsed:
    """Calls and rejects from raw values that have a record's shape, quickly where that goes. Arguments as in `read_carefully`."""
    calls, left = read_quickly(raws, quickest(raws.head(_TRIED), fields), gateway, unused=unused)
    if left.is_empty():
        return Parsed(calls, REJECTED.to_frame())
    part = read_carefully(left, fields, gateway, misfit=pl.lit(None, pl.String), unused=unused)
    found = [frame for frame in (calls, part.calls) if frame.height]
    return replace(part, calls=pl.concat(found, how="diagonal") if found else part.calls)


#: Records of which it is tried how quickly the others can be read.
_TRIED = 300


def read_carefully(
    raws: pl.DataFrame,
    fields: Mapping[str, Field],
    gateway: str,
    *,
    misfit: pl.Expr,
    escape: Escape = "none",
    derived: Sequence[pl.Expr] = (),
    unused: Sequence[pl.Expr] = (),
) -> Parsed:
    """Calls and rejects from raw values.

    raws: `row` and per field i its text in `v{i}`, null markers already null, log escapes still in place.
    misfit: why the record as a whole does not fit; null where it does. derived, unused: as in `typed`.
    """
    styles: dict[Escape, list[str]] = {}
    for i, field in enumerate(fields.values()):
        if field.escaped:
            styles.setdefault(field.escape or escape, []).append(f"v{i}")
    for style, columns in styles.items():
        raws = unescape_columns(raws, columns, style)
    plan = typed(raws.lazy(), fields, gateway, careful=True, derived=derived, unused=unused)
    read = plan.with_columns(misfit=misfit).collect(engine="in-memory")
    complaints = [
        pl.when(~pl.col(f"ok{i}").fill_null(False)).then(_complaint(name.removeprefix("$."), pl.col(f"v{i}"), field))
        for i, (name, field) in enumerate(fields.items())
        if f"ok{i}" in read.columns
    ]
    lost = pl.when(pl.col("timestamp").is_null()).then(pl.lit("the time is missing"))
    read = read.select(
        "row",
        pl.exclude("row", "line", "misfit", *raws.columns, r"^(?:v|w|ok)\d+$"),
        pl.coalesce("misfit", *complaints, lost).alias("reason"),
    )
    read = decoded(read, fields)
    good = read["reason"].is_null()
    return Parsed(
        compact(gather_attributes(read.filter(good).drop("reason"))), read.filter(~good).select("row", "reason")
    )


#: Characters of a value that a reason shows.
_SHOWN = 40


def shown(value: pl.Expr) -> pl.Expr:
    """The beginning of a value, in quotes, for the reason of a reject."""
    cut = pl.when(value.str.len_chars() > _SHOWN).then(value.str.head(_SHOWN) + "…").otherwise(value)
    return pl.concat_str(pl.lit('"'), cut, pl.lit('"'))


def _complaint(name: str, value: pl.Expr, field: Field) -> pl.Expr:
    """`status is "2OO", expected a number 100..999`."""
    found = pl.coalesce(pl.lit(f"{name} is ") + shown(value), pl.lit(f"{name} is missing"))
    return found + pl.lit(f", expected {field.expected}" if field.expected else ", which cannot be read")


def outranked(fields: Iterable[tuple[str, Field]]) -> list[pl.Expr]:
    """Values for which another field of the same column was preferred, as columns `attributes.*`, unless they are the same.

    fields: key in attributes and field of each, in the order of `raws` in `read_carefully`. A value that is the only one of
    an array in JSON is the same as that array. What a field keeps under the same key itself comes first.
    """
    columns: dict[str, list[tuple[int, int]]] = {}
    names, kept = [], set()
    for i, (name, field) in enumerate(fields):
        names.append(name)
        if read := field.careful(pl.lit("")):
            columns.setdefault(next(iter(read)), []).append((field.rank, i))
            kept |= set(read)
    found: dict[str, list[pl.Expr]] = {}
    for contenders in columns.values():
        ranked = [i for _, i in sorted(contenders)]
        for k, i in enumerate(ranked[1:], start=1):
            value, best = pl.col(f"v{i}"), pl.coalesce(f"v{other}" for other in ranked[:k])
            other = (value != best) & (value != pl.concat_str(pl.lit('["'), best, pl.lit('"]')))
            found.setdefault(f"attributes.{names[i]}", []).append(pl.when(other).then(value))
    return [
        pl.coalesce(*([column] if column in kept else []), *values).alias(column) for column, values in found.items()
    ]
