"""What carries a gateway's lines: container runtimes, syslog, exporters. A wrapper is one class and one line in WRAPPERS."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from apilens.formats.block import Wrapper
from apilens.formats.json_layout import connection
from apilens.formats.otlp import Otlp


@dataclass(frozen=True)
class Docker(Wrapper):
    """Docker's json-file driver: {"log":"…\\n","stream":"stdout","time":"…"}; a line over 16 KiB is cut into several
    objects of which only the last ends with a line break."""

    name: str = "docker json-file"

    def wraps(self, lines: pl.Series) -> pl.Series:
        """Objects with `log`, `stream` or `attrs`, and `time`, as the driver writes them."""
        return lines.str.contains(r'^\{"log":".*"(?:stream|attrs)":.*"time":"\d{4}-[^"]+"\}$')

    def unwrap(self, records: pl.DataFrame) -> pl.DataFrame:
        """One record per line of the container; its parts joined."""
        with connection().cursor() as cursor:
            cursor.register("records", records)
            parts = cursor.sql(
                "SELECT row, json_extract_string(line, ['$.log', '$.stream']) AS found FROM records ORDER BY row"
            ).pl()
        parts = parts.select("row", line=pl.col("found").list.get(0), stream=pl.col("found").list.get(1))
        return join_parts(parts.with_columns(whole=pl.col("line").str.ends_with("\n")))


def join_parts(parts: pl.DataFrame) -> pl.DataFrame:
    """One row per record out of its parts: row, line, stream (parts of two streams may interleave), whole (it ends the record)."""
    numbered = parts.with_columns(
        of=pl.col("whole").cast(pl.Int64).cum_sum().over("stream") - pl.col("whole").cast(pl.Int64)
    )
    joined = numbered.group_by("stream", "of", maintain_order=True).agg(
        pl.col("row").first(), pl.col("line").str.join(""), pl.len().cast(pl.Int64).alias("parts")
    )
    return joined.select("row", pl.col("line").str.strip_chars_end("\r\n"), "parts").sort("row")


#: Tried in this order on the lines of a head; see formats.detect.
WRAPPERS: tuple[Wrapper, ...] = (Docker(), Otlp())
