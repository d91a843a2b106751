"""How well bug, wish and question are told apart: macro-F1 on texts of another texture than the weights were fitted on.

Usage: python benchmarks/feedback/categories.py [--fit] [--data FILE]
issues.ndjson: hand-written issues of a tracker on the web, a company's tracker, mail, chat and a forum; `fresh` was written when
the first cues stood (macro-F1 then .73; three were added since) and no weight is fitted on it. Each other style is judged with weights fitted on the rest. --data: NDJSON with
category (bug, enhancement, question), title and body, for example a public data set of labelled issues.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import polars as pl

from apilens.feedback.cues import CUES, KINDS, hits, kind_by_cues

ISSUES = Path(__file__).with_name("issues.ndjson")
FRESH = "fresh"


def macro_f1(right: list[str], said: list[str | None]) -> float:
    """Mean F1 over KINDS; an abstention is wrong."""
    from sklearn.metrics import f1_score

    return float(f1_score(right, [name or "none" for name in said], labels=list(KINDS), average="macro"))


def fitted(x: Any, y: Any) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=0.5, class_weight="balanced", max_iter=2000).fit(x, y)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fit", action="store_true", help="print weights for feedback/cues.py")
    parser.add_argument("--data", type=Path)
    arguments = parser.parse_args()
    told = pl.read_ndjson(arguments.data or ISSUES)
    said = kind_by_cues(told)["category"].to_list()
    if arguments.data:
        print(f"{told.height:,} texts: macro-F1 {macro_f1(told['category'].to_list(), said):.3f}")
        return
    x = told.select(**hits(pl.col("title"), pl.col("body"))).cast(pl.Float64).to_numpy()
    y, style = told["category"].to_numpy(), told["style"].to_numpy()
    train = style != FRESH
    if arguments.fit:
        model = fitted(x[train], y[train])
        print("PRIOR", model.intercept_.round(2))
        for name, weights in zip(CUES, model.coef_.T, strict=True):
            print(f"{name}: {weights.round(2)}")
        return
    for name in sorted(set(style)):
        others = train & (style != name)
        guess = fitted(x[others], y[others]).predict(x[style == name]).tolist()
        print(f"{name:8} {(style == name).sum():4} texts: macro-F1 {macro_f1(y[style == name].tolist(), guess):.3f}")
    shipped = [name for name, of in zip(said, style, strict=True) if of == FRESH]
    print(f"as shipped, {FRESH}: macro-F1 {macro_f1(y[style == FRESH].tolist(), shipped):.3f}")


if __name__ == "__main__":
    main()
