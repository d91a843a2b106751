"""Container runtimes, and the commands that print what containers wrote."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from apilens.formats.block import Wrapper
from apilens.formats.wrappers.json import strings
from apilens.formats.wrappers.prefix import COLOUR, Prefix


@dataclass(frozen=True)
class Docker(Wrapper):
    """Docker's json-file driver: {"log":"…\\n","stream":"stdout","time":"…"}; a line over 16 KiB is cut into several
    objects of which only the last ends with a line break."""

    name: str = "docker json-file"
    sure: bool = True

    def wraps(self, line: pl.Expr) -> pl.Expr:
        """Objects with `log`, `stream` or `attrs`, and `time`, as the driver writes them."""
        return line.str.contains(r'^\{"log": ?".*"(?:stream|attrs)": ?.*"time": ?"\d{4}-[^"]+"\}$')

    def unwrap(self, records: pl.DataFrame) -> pl.DataFrame:
        """One record per line of the container; its parts joined."""
        parts = strings(records, {"line": "$.log", "stream": "$.stream"})
        # What is no JSON for all its looks ends where it stands, and stays as it is. Copies of such files may have lost the
        # line breaks altogether: then no object is a part of another.
        whole = parts["line"].str.ends_with("\n")
        whole = whole.fill_null(True) if whole.any() else pl.repeat(True, parts.height, eager=True)
        return _join(parts.with_columns(records["node"], whole=whole))


_CRI = r"(?s)^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d) (stdout|stderr) ([FP])(?::\S*)?(?: (.*))?$"


@dataclass(frozen=True)
class Cri(Wrapper):
    """containerd and CRI-O: `time stream tag line`; a line over 16 KiB comes in parts, all but the last tagged P.

    Source: Kubernetes, design proposal "CRI: Log management for container stdout/stderr streams".
    """

    name: str = "CRI container log"
    sure: bool = True

    def wraps(self, line: pl.Expr) -> pl.Expr:
        """A time, a stream and a tag."""
        return line.str.contains(_CRI)

    def unwrap(self, records: pl.DataFrame) -> pl.DataFrame:
        """One record per line of the container; its parts joined."""
        found = records["line"].str.extract_groups(_CRI).struct.rename_fields(["stream", "tag", "line"]).struct.unnest()
        parts = records.select("row", "node").with_columns(found)
        return _join(parts.with_columns(pl.col("line").fill_null(""), whole=pl.col("tag") == "F"))


def _join(parts: pl.DataFrame) -> pl.DataFrame:
    """One row per record out of its parts: row, node, line, stream (parts of two streams may interleave), whole (it ends
    the record)."""
    if parts["whole"].all():
        return parts.select("row", pl.col("line").str.strip_chars_end("\r\n"))
    numbered = parts.with_columns(
        of=(pl.col("whole").cast(pl.Int64).cum_sum() - pl.col("whole").cast(pl.Int64)).over("stream", "node")
    )
    joined = numbered.group_by("stream", "node", "of", maintain_order=True).agg(
        pl.col("row").first(),
        pl.when(pl.col("line").is_not_null().any()).then(pl.col("line").str.join("")),
        pl.col("row").alias("rows"),
    )
    return joined.select("row", pl.col("line").str.strip_chars_end("\r\n"), "rows").sort("row")


#: Names of Kubernetes: RFC 1123 labels.
_LABEL = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"

#: `kubectl logs --prefix`; `kail`; `kubetail`.
KUBECTL = Prefix(
    "kubectl logs prefix",
    (
        rf"(?s)^{COLOUR}\[pod/(?<node>[^/\]\s]+)/[^\]\s]+\]{COLOUR} (?<line>.*)",
        rf"(?s)^{COLOUR}{_LABEL}/(?<node>[a-z0-9.-]+)\[{_LABEL}\]:{COLOUR} (?<line>.*)",
        rf"(?s)^{COLOUR}\[(?<node>{_LABEL}-[a-z0-9]{{5,10}})(?: {_LABEL})?\]{COLOUR} (?<line>.*)",
    ),
    sure=True,
)

#: `docker compose logs`, `docker service logs` (name.slot.id@node).
COMPOSE = Prefix(
    "docker compose logs prefix",
    (rf"(?s)^{COLOUR}(?<node>[A-Za-z0-9][\w.@-]*){COLOUR} +{COLOUR}\|{COLOUR}(?: {COLOUR}(?<line>.*))?$",),
)

#: `stern`: pod and container, without marks; the name of a pod ends with what its controller made up for it.
STERN = Prefix(
    "stern prefix",
    (
        rf"(?s)^{COLOUR}(?:{_LABEL}{COLOUR} {COLOUR})?(?<node>{_LABEL}-(?:[a-z0-9]{{5}}|\d{{1,4}})){COLOUR}"
        rf" {COLOUR}{_LABEL}{COLOUR} (?:› )?(?<line>.*)",
    ),
)

_MINUTE = r"\d{4}-\d\d-\d\d[ T-]\d\d:\d\d"
#: A time as pm2 puts it before a line that its own files keep: in the layout of log_date_format, and a colon.
_DATED = rf"{_MINUTE}(?::\d\d)?(?:[.,]\d+)?(?: ?(?:Z|[+-]\d\d:?\d\d))?: "

#: `pm2 logs`, with --timestamp before the number and the name of a process; the files that pm2 writes, with a date.
PM2 = Prefix(
    "pm2 prefix",
    (
        rf"(?s)^{COLOUR}(?:{_MINUTE}\S*:? )?{COLOUR}(?<node>\d+\|[^|]*[^|\s]) *{COLOUR} *\| ?{COLOUR}(?:{_DATED})?(?<line>.*)",
        rf"(?s)^{_DATED}(?<line>\S.*)",
    ),
)
