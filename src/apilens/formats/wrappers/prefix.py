"""A wrapper that writes words before the line."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import polars as pl

from apilens.formats.block import Wrapper

#: Colours of a terminal, which stern, docker compose and journalctl write even into files when told to.
COLOUR = r"(?:\x1b\[[0-9;]*m)*"

_OCTAL = {f"#{code:03o}": chr(code) for code in (*range(1, 32), 127)}


@dataclass(frozen=True)
class Prefix(Wrapper):
    """patterns: regexes with the groups `line` and, where the prefix says it, `node`; the first that matches is taken.

    octal: control characters of the line are written as # and three octal digits.
    """

    name: str
    patterns: tuple[str, ...]
    sure: bool = False
    octal: bool = False

    @cached_property
    def _any(self) -> str:
        """All patterns as one, without names: two groups of one regex cannot share one."""
        return "|".join(pattern.replace("?<node>", "?:").replace("?<line>", "?:") for pattern in self.patterns)

    def wraps(self, line: pl.Expr) -> pl.Expr:
        """Whether one of the patterns matches."""
        return line.str.contains(self._any)

    def unwrap(self, records: pl.DataFrame) -> pl.DataFrame:
        """One record per record: what stands behind the prefix."""
        left, found = records.select("row", "line"), []
        for pattern in self.patterns:
            groups = left["line"].str.extract_groups(pattern).struct.unnest()
            part = left.select("row", whole=pl.lit(True)).with_columns(groups)
            if "node" not in part.columns:
                part = part.with_columns(node=pl.lit(None, pl.String))
            matched = left["line"].str.contains(pattern)
            found.append(part.filter(matched).select("row", pl.col("line").fill_null(""), "node"))
            left = left.filter(~matched)
        lines = pl.concat(found).with_columns(node=pl.when(pl.col("node") != "-").then("node")).sort("row")
        if self.octal and lines["line"].str.contains("#[01]").any():
            lines = lines.with_columns(pl.col("line").str.replace_many(list(_OCTAL), list(_OCTAL.values())))
        return lines
