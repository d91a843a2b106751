"""Tables of any tool, by a mapping that says what their columns mean (TOML)."""

from __future__ import annotations

import tomllib
from difflib import get_close_matches
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from apilens.errors import ConfigError
from apilens.feedback.export import Export, word
from apilens.feedback.rating import SCALES, off_scale, rating_fields, scale_of
from apilens.feedback.records import Records, renamed
from apilens.feedback.tables import columns, rows
from apilens.schema import ITEMS

_NAMES = {*ITEMS.names(), "updated_at", "rating"} - {"attributes"}


class Mapping(BaseModel):
    """channel: of all rows. time_format: strptime's. scale: of column `rating` (rating.SCALES). fields: ours = theirs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    channel: str | None = None
    time_format: str | None = None
    scale: str | None = None
    fields: dict[str, str | list[str]] = Field(default_factory=dict)


def read_mapping(path: str) -> Mapping:
    """The mapping in a TOML file. Raises ConfigError naming file, key and what is known."""
    try:
        mapping = Mapping.model_validate(tomllib.loads(Path(path).read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as bad:
        raise ConfigError(f"{path}: no TOML: {bad}") from None
    except ValidationError as wrong:
        first = wrong.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{path}: {key}: {first['msg']}; known keys: {', '.join(Mapping.model_fields)}") from None
    for name in mapping.fields:
        if name not in _NAMES:
            near = get_close_matches(name, sorted(_NAMES), n=1)
            raise ConfigError(
                f"{path}: [fields] has {name!r}, expected one of {', '.join(sorted(_NAMES))}"
                + (f"; did you mean {near[0]!r}?" if near else "")
            )
    if mapping.scale is not None and mapping.scale not in SCALES:
        raise ConfigError(f"{path}: scale is {mapping.scale!r}, expected one of {', '.join(SCALES)}")
    return mapping


def mapped(export: Export, mapping: Mapping) -> Records:
    """The rows of a CSV, XLSX, Parquet or JSON file as items, its columns read as the mapping says."""
    if export.objects.found:
        found = Records(rejects=list(export.objects.rejects), damage=export.objects.damage)
        for line, value in export.objects.found:
            texts = value.items() if isinstance(value, dict) else ()
            found.records.append((line, {str(key).lower(): text for key, entry in texts if (text := word(entry))}))
    else:
        found = rows(export)
        missing = {own.lower() for own in _flat(mapping)} - set(columns(export))
        if len(missing) == len(set(_flat(mapping))) and missing:
            found.remarks.append(f"has none of the columns of the mapping ({', '.join(sorted(missing))})")
    fields = {
        name: tuple(own.lower() for own in ([theirs] if isinstance(theirs, str) else theirs))
        for name, theirs in mapping.fields.items()
    }
    found.records = [(line, renamed(record, fields)) for line, record in found.records]
    ratings = [record.get("rating", "") for _, record in found.records]
    scale = mapping.scale or scale_of(ratings)
    off = None if scale is None else off_scale("rating", ratings, scale)
    found.remarks += [] if off is None else [off]
    for _, record in found.records:
        if scale is not None and "rating" in record:
            record |= rating_fields(record["rating"], scale)
        if mapping.channel is not None:
            record.setdefault("channel", mapping.channel)
    found.time_format = mapping.time_format
    return found


def _flat(mapping: Mapping) -> list[str]:
    return [own for theirs in mapping.fields.values() for own in ([theirs] if isinstance(theirs, str) else theirs)]
