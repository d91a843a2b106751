"""The first line of the report and the last one of a run: is hypercare over, as far as the logs can tell?"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True, slots=True)
class Verdict:
    """ready: None when there are no calls to judge by. silent: distinct consumers who were hit and told nobody;
    None: the logs say of no open problem whom it hit. problems_silent: open problems that have such consumers."""

    ready: bool | None
    critical_open: int
    critical_allowed: int
    problems_open: int
    problems_silent: int
    silent: int | None
    silent_at_least: bool

    @property
    def headline(self) -> str:
        """`not ready to leave hypercare: 1 critical open (allowed 0)`."""
        if self.ready is None:
            return "no verdict: there are no calls to judge by"
        word = "ready" if self.ready else "not ready"
        return f"{word} to leave hypercare: {self.critical_open} critical open (allowed {self.critical_allowed})"

    @property
    def reach(self) -> str:
        """`96 silent consumers on 3 open problems`, or on 2 of them where nobody is known to have met the third."""
        what = "problem" if self.problems_open == 1 else "problems"
        if self.silent is None:
            return f"whom {self.problems_open:,} open {what} hit is not known: the logs name no consumer"
        least = "at least " if self.silent_at_least else ""
        who = "consumer" if self.silent == 1 else "consumers"
        some = f"{self.problems_silent:,} of " if 0 < self.problems_silent < self.problems_open else ""
        return f"{least}{self.silent:,} silent {who} on {some}{self.problems_open:,} open {what}"


def verdict(queue: pl.DataFrame, *, calls: int, critical_allowed: int = 0) -> Verdict:
    """The verdict on a queue (schema.QUEUE). calls: how many were stored in the period; without any nothing is judged.

    A consumer silent on two problems counts once; where a problem names fewer consumers than were silent, the sum is
    a lower bound.
    """
    opened = queue.filter(pl.col("state") == "open")
    named = opened["silent_consumers"].explode().drop_nulls().n_unique()
    candidates = opened.filter(pl.col("kind") == "candidate")
    unknown = candidates.height > 0 and candidates["hit"].is_null().all()
    critical = opened.filter(pl.col("severity") == "critical").height
    most = opened.select(pl.col("silent").max()).item() or 0
    unnamed = opened.filter(pl.col("silent") > pl.col("silent_consumers").list.len().fill_null(0)).height > 0
    return Verdict(
        ready=None if calls == 0 else critical <= critical_allowed,
        critical_open=critical,
        critical_allowed=critical_allowed,
        problems_open=candidates.height,
        problems_silent=candidates.filter(pl.col("silent") > 0).height,
        silent=None if unknown else max(named, most),
        silent_at_least=unnamed,
    )
