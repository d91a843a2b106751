"""How much each piece of evidence says: log-odds, shipped and refitted on what people decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

#: Log-odds per unit of evidence (Fellegi and Sunter 1969). Fitted by `benchmarks/feedback/linking.py --fit` on generated
#: worlds whose candidates come from the real detector; domains and phrasings of the held-out worlds are others.
WEIGHTS: dict[str, float] = {
    "prior": -2.70,  # a report taken at random against a problem of about its time
    "route": 1.59,
    "other route": -5.50,
    "subject": 1.76,
    "other subject": -2.93,
    "confirmed words": 1.00,
    "status": 1.27,
    "status class": 2.00,
    "other status": -5.00,
    "signal": 3.66,
    "only signal": -1.20,  # nothing else of the problem is named
    "other signal": -2.18,
    "affected": 1.25,
    "not affected": -2.20,  # twice where the problem is one consumer's alone
    "only consumer": 2.39,  # the problem is this consumer's alone
    "node": 2.00,
    "call of it": 3.50,  # a call that fits in all but the time, at most a day off: detectors are late, faults smoulder
    "other call": -4.00,  # it names a call that the logs know, and not one of these
    "before": -3.20,
    "during": 1.65,
    "day after": 1.08,
    "days after": -0.97,
    "week after": -0.79,
    "long after": -2.50,
    "text": 1.24,  # for equal texts; in proportion to the cosine
    "no trouble": -2.60,  # a question or a wish
    "only a question": -3.50,  # and no kind of trouble or status in it
    "client side": -4.00,
    "automatic": -8.00,  # never a report, whatever it quotes
}
#: Evidence that is about what a report says. Without any of it there is no link: time and customer fit by chance.
CONTENT = ["route", "subject", "confirmed words", "status", "status class", "signal", "node", "call of it"]
#: What generated worlds have too little of to fit it, or too clean (nobody there misquotes a status): kept as picked.
PICKED = frozenset(
    {
        "automatic",
        "node",
        "confirmed words",
        "long after",
        "other call",
        "client side",
        "other status",
        "other route",
        "not affected",
    }
)
#: Strength that pulls a refit back to the shipped weights: each is worth some twenty decisions. Picked.
_PULL = 4.0


@dataclass(frozen=True)
class Choices:
    """Items as choices between their candidates and none.

    x: one row per pair, one column per WEIGHTS. item: of each pair, 0-based, ascending. allowed: whether the pair is a right
    answer. none: of each item, whether "no candidate" is one.
    """

    x: Any
    item: Any
    allowed: Any
    none: Any

    @staticmethod
    def of(evidence: pl.DataFrame, right: pl.DataFrame) -> Choices:
        """evidence: row, candidate, name, value. right: row, candidate (null: none) of each right answer."""
        import numpy as np

        pairs = (
            evidence.pivot("name", index=["row", "candidate"], values="value", aggregate_function="sum")
            .with_columns(pl.exclude("row", "candidate").fill_null(0.0))
            .sort("row", "candidate")
        )
        x = np.column_stack(
            [pairs[name].to_numpy() if name in pairs.columns else np.zeros(pairs.height) for name in WEIGHTS]
        )
        rows = pairs["row"].unique().sort()
        number = pl.DataFrame({"row": rows}).with_row_index("item")
        item = pairs.join(number, on="row", maintain_order="left")["item"].to_numpy().astype(np.int64)
        known = right.with_columns(right=pl.lit(True))
        allowed = pairs.join(known, on=["row", "candidate"], how="left", maintain_order="left")["right"].fill_null(
            False
        )
        of_none = known.filter(pl.col("candidate").is_null()).select("row", none="right").unique()
        none = number.join(of_none, on="row", how="left", maintain_order="left")["none"].fill_null(False)
        # An answer that is right but no option any more (its candidate is gone) leaves nothing to learn from.
        any_pair = np.bincount(item, weights=allowed.to_numpy(), minlength=len(rows)) > 0
        use = any_pair | none.to_numpy()
        keep = use[item]
        renumbered = np.cumsum(use) - 1
        return Choices(x[keep], renumbered[item[keep]], allowed.to_numpy()[keep], none.to_numpy()[use])


def refit(choices: Choices, pull: float = _PULL, fixed: frozenset[str] = frozenset()) -> Mapping[str, float]:
    """The weights that make the right answers likeliest, pulled towards WEIGHTS.

    Conditional logit (McFadden 1974) with "none" as an answer of utility 0; maximum a posteriori under a normal prior around
    WEIGHTS of variance 1 / pull. fixed: names that stay. Fewer than one item: WEIGHTS.
    """
    import numpy as np
    from scipy.optimize import minimize

    if not len(choices.none):
        return WEIGHTS
    start = np.array(list(WEIGHTS.values()))
    free = np.array([name not in fixed for name in WEIGHTS])
    x, item, allowed, none = choices.x, choices.item, choices.allowed, choices.none

    def loss(part: Any) -> tuple[float, Any]:
        w = start.copy()
        w[free] = part
        odds = np.exp(np.clip(x @ w, -30, 30))
        total = 1 + np.bincount(item, odds, len(none))
        good = none + np.bincount(item, odds * allowed, len(none))
        gradient = x.T @ (odds / total[item] - odds * allowed / good[item])
        off = part - start[free]
        return float(np.log(total / good).sum() + pull / 2 * off @ off), gradient[free] + pull * off

    found = minimize(loss, start[free], jac=True, method="L-BFGS-B", options={"maxiter": 500})
    w = start.copy()
    w[free] = found.x
    return dict(zip(WEIGHTS, w.tolist(), strict=True))
