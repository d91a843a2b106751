"""Merges that only many paths together can show: user names, slugs, codes. Learned apart, applied on read.

A merge says: below this prefix, whatever is not kept by name is one variable. It is decided once and stays, so figures
of yesterday and today are about the same endpoints; learning again only adds merges at other prefixes. (Only a service
that exceeds ROUTES_PER_SERVICE has names taken out of `keep` again.)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import polars as pl

from apilens.errors import LakeError
from apilens.routes.rules import MAX_SEGMENTS, VERBS

#: After merging, no service has more routes than this, however hostile its paths.
ROUTES_PER_SERVICE = 2_000

# The evidence asked for. All numbers here are picked, on generated APIs like those of tests/test_routes.py. A resource
# collection has up to about 100 names, all called again and again, with different things below them; values of a
# variable are many, or seldom repeated, or all called about equally seldom, or all have the same things below them.
_ALWAYS = 400
_MANY = 20
_SOME = 8
_FEW = 5
_OFTEN = 25  # calls after which a value has shown what is below it
_GAP = 8  # names called this many times more than the next one are no values

#: Names that stand beside a variable: /users/me next to /users/{id}.
_RESERVED = (
    "me",
    "self",
    "current",
    "search",
    "new",
    "batch",
    "bulk",
    "count",
    "stats",
    "export",
    "import",
    "latest",
    "default",
    "login",
    "logout",
    "health",
    "status",
    "query",
    "lookup",
    "find",
    "list",
    "all",
    "info",
    "metrics",
    "metadata",
    "schema",
    "validate",
    "preview",
    "upload",
    "download",
    "autocomplete",
    "suggest",
)
#: Found below most collections, so that sharing them is no sign of being values of one variable.
_GENERIC = (
    *_RESERVED,
    "ping",
    "live",
    "ready",
    "docs",
    "config",
    "events",
    "history",
    "items",
    "create",
    "update",
    "delete",
    "edit",
    "actuator",
    "openapi.json",
    "swagger.json",
)

#: Codes of currencies, countries and languages (EUR, DE, pt-BR), which no collection has as names.
_CODE = "^(?:[A-Z]{2,3}|[a-z]{2}(?:[-_][A-Za-z]{2,4})?)$"
#: An action in camelCase (createWithList), which no value is.
_ACTION = f"^(?:{'|'.join(VERBS)}|find|add|login|logout)[A-Z]"

_NODE = ["service", "prefix"]
_CHILD = [*_NODE, "name"]


@dataclass(frozen=True, slots=True)
class Merge:
    """Below `prefix` (a merged route, "" for the root) of `service`, every segment not in `keep` is {id}."""

    service: str | None
    prefix: str
    keep: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RouteMerges:
    """All that was learned so far; `version` counts the times something was added."""

    version: int = 0
    merges: tuple[Merge, ...] = ()

    def to_json(self) -> str:
        """Text that from_json reads back; the same merges give the same text."""
        merges = [{"service": m.service, "prefix": m.prefix, "keep": list(m.keep)} for m in self.merges]
        return json.dumps({"version": self.version, "merges": merges}, ensure_ascii=True, indent=1)

    @classmethod
    def from_json(cls, text: str) -> RouteMerges:
        """Raises LakeError when the text is not what to_json wrote."""
        try:
            found: Any = json.loads(text)
            merges = tuple(Merge(m["service"], m["prefix"], tuple(m["keep"])) for m in found["merges"])
            return cls(int(found["version"]), merges)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise LakeError(
                f"learned routes cannot be read ({type(error).__name__}: {error}); expected the JSON object with "
                '"version" and "merges" that apilens wrote. Restore the file, or remove it to learn anew'
            ) from None

    def mapping(self, routes: pl.DataFrame) -> pl.DataFrame:
        """Where each route belongs now: one row per distinct (service, route), with merged_route; join it on read.

        routes: columns service (null: unknown) and route. Join with nulls_equal: null is a service here.
        """
        known = routes.select(pl.col("service").cast(pl.String), "route").unique(maintain_order=True)
        return _joined(_applied(_split(known), self.merges)).select("service", "route", merged_route="merged")


def learn(routes: pl.DataFrame, known: RouteMerges | None = None) -> RouteMerges:
    """Everything in `known`, and the merges that `routes` show beyond it; `known` itself when there are none.

    routes: one row per endpoint or finer, with service (null: unknown), route (as the rules left it) and calls.
    Learning again from the same or more data adds nothing where a merge already is.
    """
    known = known or RouteMerges()
    counted = (
        routes.group_by(pl.col("service").cast(pl.String), "route").agg(pl.col("calls").sum()).sort("service", "route")
    )
    merges = {(m.service, m.prefix): m for m in known.merges}
    rows = _applied(_split(counted), known.merges)
    # What is usual shows better once the values are merged. Until nothing is added: so learning again adds nothing.
    before = -1
    while before != len(merges):
        before = len(merges)
        rows = _learned_level_by_level(_with_usual_calls(rows), merges, bound=None)
    for bound in (100, 50, 20, 5, 1, 0):
        crowded = (
            _joined(rows)
            .group_by("service")
            .agg(n=pl.col("merged").n_unique())
            .filter(pl.col("n") > ROUTES_PER_SERVICE)
        )
        if crowded.is_empty():
            break
        inside = rows.join(crowded, on="service", how="semi", nulls_equal=True)
        outside = rows.join(crowded, on="service", how="anti", nulls_equal=True)
        rows = pl.concat([outside, _learned_level_by_level(inside, merges, bound=bound)])
    if tuple(merges.values()) == known.merges:
        return known
    return RouteMerges(known.version + 1, tuple(merges.values()))


def _split(routes: pl.DataFrame) -> pl.DataFrame:
    """Segments as columns "0", "1", …; all null for what is no path below the root ("/", "*", {id})."""
    path = pl.when(pl.col("route").str.starts_with("/") & (pl.col("route") != "/")).then(
        pl.col("route").str.slice(1).str.splitn("/", MAX_SEGMENTS)
    )
    parts = routes.select(path.alias("parts")).unnest("parts")
    return routes.with_columns(parts.rename({name: name.removeprefix("field_") for name in parts.columns}))


def _joined(rows: pl.DataFrame) -> pl.DataFrame:
    """Adds the column merged: the route that the segments spell now."""
    path = pl.concat_str([pl.lit("/") + pl.col(str(depth)) for depth in range(MAX_SEGMENTS)], ignore_nulls=True)
    return rows.with_columns(merged=pl.when(pl.col("0").is_null()).then("route").otherwise(path))


def _prefix(depth: int) -> pl.Expr:
    return pl.concat_str([pl.lit(""), *(pl.lit("/") + pl.col(str(above)) for above in range(depth))])


def _applied(rows: pl.DataFrame, merges: tuple[Merge, ...]) -> pl.DataFrame:
    if not merges:
        return rows
    # A list of Merge becomes one row each; an empty keep must still be a list of text.
    table = pl.DataFrame(
        {
            "service": [m.service for m in merges],
            "prefix": [m.prefix for m in merges],
            "keep": [list(m.keep) for m in merges],
        },
        schema={"service": pl.String, "prefix": pl.String, "keep": pl.List(pl.String)},
    )
    for depth in range(MAX_SEGMENTS):
        if rows[str(depth)].null_count() == rows.height:
            break  # no route is that deep
        segment = pl.col(str(depth))
        merged = pl.col("keep").is_not_null() & segment.is_not_null() & ~_kept(segment)
        rows = (
            rows.with_columns(prefix=_prefix(depth))
            .join(table, on=_NODE, how="left", nulls_equal=True, maintain_order="left")
            .with_columns(pl.when(merged).then(pl.lit("{id}")).otherwise(segment).alias(str(depth)))
            .drop("prefix", "keep")
        )
    return rows


def _kept(segment: pl.Expr) -> pl.Expr:
    return segment.is_in(pl.col("keep"), nulls_equal=True).fill_null(False) | segment.is_in(["{id}", "{rest}"])


def _with_usual_calls(rows: pl.DataFrame) -> pl.DataFrame:
    """Adds service_calls, and usual_calls: three quarters of the service's calls go to routes with at most this many.

    Weighted by calls, so that thousands of values seen once do not pull down what counts as usual.
    """
    merged = _joined(rows).group_by("service", "merged").agg(pl.col("calls").sum()).sort("service", "calls", "merged")
    usual = merged.group_by("service", maintain_order=True).agg(
        service_calls=pl.col("calls").sum(),
        usual_calls=pl.col("calls").filter(pl.col("calls").cum_sum() >= 0.75 * pl.col("calls").sum()).first(),
    )
    rows = rows.drop("service_calls", "usual_calls", strict=False)
    return rows.join(usual, on="service", how="left", nulls_equal=True, maintain_order="left")


def _learned_level_by_level(
    rows: pl.DataFrame, merges: dict[tuple[str | None, str], Merge], *, bound: int | None
) -> pl.DataFrame:
    """The rows with the merges found in them, which are added to `merges`.

    From the root down: values that merge put what is below them together, and only that shows the next variable.

    bound: None asks for evidence; a number merges wherever more names than that stand side by side.
    """
    for depth in range(MAX_SEGMENTS):
        here = _joined(rows.filter(pl.col(str(depth)).is_not_null())).with_columns(
            prefix=_prefix(depth), name=pl.col(str(depth)), static=~pl.col(str(depth)).str.contains("{", literal=True)
        )
        if here.is_empty():
            break
        here = _wide(here, _FEW if bound is None else bound + 1)
        if here.is_empty():
            continue
        found = _evident(here, depth, merges) if bound is None else _crowded(here, bound)
        if not found:
            continue
        merges.update({(m.service, m.prefix): m for m in found})
        rows = _applied(rows, tuple(found))
    return rows


def _wide(here: pl.DataFrame, names: int) -> pl.DataFrame:
    """The rows at nodes with at least so many names: at the others nothing merges, and most nodes are such."""
    return here.filter(pl.col("name").n_unique().over(_NODE) >= names)


def _crowded(here: pl.DataFrame, bound: int) -> list[Merge]:
    names = here.filter(~pl.col("name").is_in(["{id}", "{rest}"])).group_by(_NODE).agg(n=pl.col("name").n_unique())
    nodes = names.filter(pl.col("n") > bound).sort(_NODE)
    return [Merge(service, prefix) for service, prefix in nodes.select(_NODE).iter_rows()]


def _evident(here: pl.DataFrame, depth: int, merges: dict[tuple[str | None, str], Merge]) -> list[Merge]:
    words = _words_below(here, depth)
    children = (
        here.group_by(_CHILD)
        .agg(
            pl.col("calls").sum(),
            pl.col("static", "service_calls", "usual_calls").first(),
            calls_per_route=pl.col("calls").sum() / pl.col("merged").n_unique(),
        )
        .join(_below(words), on=_CHILD, how="left", nulls_equal=True)
        .with_columns(pl.col("own").fill_null(False))
        .sort([*_NODE, "calls", "name"], descending=[False, False, True, False])
    )
    children = _values(children)
    values = children.filter("value")
    nodes = values.group_by(_NODE).agg(
        n=pl.len(),
        rare=(pl.col("calls") <= 2).mean(),
        typical=pl.col("calls").median(),
        per_route=pl.col("calls_per_route").median(),
        least=pl.col("calls").quantile(0.1),
        most=pl.col("calls").quantile(0.9),
        codes=pl.col("name").str.contains(_CODE).mean(),
        apart=pl.col("own").mean(),
        drawn=pl.col("calls").var() <= 2 * pl.col("calls").mean(),
        service_calls=pl.col("service_calls").first(),
        usual=pl.col("usual_calls").first(),
    )
    nodes = nodes.join(
        children.filter(~pl.col("static")).select(_NODE).unique().with_columns(beside_id=True),
        on=_NODE,
        how="left",
        nulls_equal=True,
    )
    often = values.filter(pl.col("calls") >= _OFTEN)
    for name, some in (("alike", values), ("often_alike", often)):
        nodes = nodes.join(_alike(words, some, name), on=_NODE, how="left", nulls_equal=True)
    n, rare = pl.col("n"), pl.col("rare")
    # Called equally seldom: what nobody calls more than anything else was drawn, not designed.
    even = pl.col("most") <= 5 * pl.max_horizontal("least", 1)
    # Poisson counts of one rate have variance = mean.
    very_even = (pl.col("most") <= 2 * pl.col("least")) | pl.col("drawn")
    seldom = even & _at_most("typical", 1 / 20)
    # Only then does a name called once or twice mean anything: in a short log half of a collection is.
    enough = (pl.col("service_calls") >= 100 * n) | (even & (pl.col("usual") >= 20))
    beside_id, alike = pl.col("beside_id").fill_null(False), pl.col("alike").fill_null(0)
    often_alike = pl.col("often_alike").fill_null(0)
    evident = (
        (n > _ALWAYS)
        | ((n >= _MANY) & (seldom | (enough & (rare >= 0.25))))
        | ((n >= 5 * _MANY) & even & _at_most("typical", 1 / 4))
        | ((n >= _SOME) & very_even & _at_most("typical", 1 / 6))
        | ((n >= _SOME) & beside_id & (seldom | (enough & (rare >= 0.5))))
        | ((n >= _SOME) & (alike >= 1) & very_even & _at_most("per_route", 1 / 4))
        | ((n >= _SOME) & (alike >= 2) & _at_most("per_route", 1 / 2))
        # Short names of which each has things of its own below (hr, it, qa) are collections, and no codes.
        | ((n >= _FEW) & (pl.col("codes") >= 0.9) & (pl.col("apart") <= 0.2))
        # A few values have most of the calls: of the many seldom ones none shows all that is below it.
        | ((n >= _MANY) & (often_alike >= 2) & (rare >= 0.25))
    )
    merged = nodes.filter(evident).select(_NODE)
    kept = (
        merged.join(children.filter(~pl.col("value")), on=_NODE, how="left", nulls_equal=True)
        .filter(pl.col("name").is_null() | ~pl.col("name").is_in(["{id}", "{rest}"]))
        .group_by(_NODE)
        .agg(pl.col("name").drop_nulls().sort())
    )
    found = merged.join(kept, on=_NODE, how="left", nulls_equal=True).sort(_NODE)
    return [
        Merge(service, prefix, tuple(keep or ()))
        for service, prefix, keep in found.iter_rows()
        if (service, prefix) not in merges
    ]


def _at_most(calls: str, share: float) -> pl.Expr:
    return pl.col(calls) <= share * pl.col("usual")


def _values(children: pl.DataFrame) -> pl.DataFrame:
    """Adds value: what may be one of many values.

    Not so: reserved names; actions in camelCase; names above a gap in the calls; the few names with things of their own below; segments with
    {id} in them.
    """
    candidate = pl.col("static") & ~pl.col("name").is_in(_RESERVED) & ~pl.col("name").str.contains(_ACTION)
    ranked = children.with_columns(candidate=candidate).with_columns(
        rank=pl.col("candidate").cast(pl.Int64).cum_sum().over(_NODE, order_by=["calls", "name"], descending=True),
        n=pl.col("candidate").sum().over(_NODE),
        owners=(pl.col("own") & pl.col("candidate")).sum().over(_NODE),
    )
    following = pl.col("calls").shift(-1).over([*_NODE, "candidate"])
    gap = pl.col("candidate") & (pl.col("rank") * 4 <= pl.col("n")) & (pl.col("calls") >= _GAP * following)
    ranked = ranked.with_columns(gap=gap & (pl.col("calls") >= 50))
    last_gap = pl.col("rank").filter("gap").max().over(_NODE).fill_null(0)
    own = pl.col("own") & (pl.col("owners") * 5 <= pl.col("n"))
    return ranked.with_columns(value=pl.col("candidate") & (pl.col("rank") > last_gap) & ~own)


def _words_below(here: pl.DataFrame, depth: int) -> pl.DataFrame:
    """One row per (child, level, word): static segments up to three levels below each child, generic ones left out."""
    below = [
        pl.col(str(at)) if (at := depth + level) < MAX_SEGMENTS else pl.lit(None, pl.String) for level in (1, 2, 3)
    ]
    levels = [
        here.filter("static").select(*_CHILD, level=pl.lit(level), word=word)
        for level, word in enumerate(below, start=1)
    ]
    word = pl.col("word")
    return (
        pl.concat(levels)
        .filter(word.is_not_null() & ~word.str.contains("{", literal=True) & ~word.is_in(_GENERIC))
        .unique()
        .with_columns(carriers=pl.len().over([*_NODE, "level", "word"]))
    )


def _below(words: pl.DataFrame) -> pl.DataFrame:
    """Per child that has words below: own, when no sibling has any of them."""
    return words.group_by(_CHILD).agg(own=pl.col("carriers").max() == 1)


def _alike(words: pl.DataFrame, values: pl.DataFrame, name: str) -> pl.DataFrame:
    """Per node with _SOME of `values`: how many words at least four in five of these have below them, in column `name`."""
    words = words.join(values.select(_CHILD), on=_CHILD, how="semi", nulls_equal=True)
    return (
        words.group_by([*_NODE, "level", "word"])
        .agg(carriers=pl.len())
        .join(values.group_by(_NODE).agg(n=pl.len()), on=_NODE, nulls_equal=True)
        .filter((5 * pl.col("carriers") >= 4 * pl.col("n")) & (pl.col("n") >= _SOME))
        .group_by(_NODE)
        .agg(pl.col("word").n_unique().alias(name))
    )
