"""A model of what kind of thing an item is, trained on the team's own labels; it abstains where it is not sure."""

from __future__ import annotations

import json
import math
from typing import Any

import polars as pl

from apilens.errors import InputError

#: Fewer labels teach it accidents. Picked: below some twenty of each kind the margin lets hardly anything through anyway.
_LEAST = 40
_LEAST_EACH = 5
#: The best kind has to lead the second by this much probability, else the model says nothing. Picked.
MARGIN = 0.20
_WORDS = 20_000  # the model is kept as text in the state database


def train(texts: list[str], labels: list[str]) -> str:
    """The model as JSON: word TF-IDF, logistic regression. Raises InputError for too few labels.

    Kinds with fewer than 5 examples are left out: nobody could tell them from chance.
    """
    kept = {label for label in labels if labels.count(label) >= _LEAST_EACH}
    rows = [(text, label) for text, label in zip(texts, labels, strict=True) if label in kept]
    if len(rows) < _LEAST or len(kept) < 2:
        raise InputError(
            f"{len(rows)} labelled items of {len(kept)} categories; expected at least {_LEAST} of two, each with {_LEAST_EACH}. "
            "Label some: apilens feedback set CHANNEL:ID --category bug"
        )
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    words = TfidfVectorizer(
        ngram_range=(1, 2), sublinear_tf=True, max_features=_WORDS, token_pattern=r"(?u)\b[^\W\d_]\w+\b|\?"
    )
    fitted = LogisticRegression(C=10.0, class_weight="balanced", max_iter=1000).fit(
        words.fit_transform([text for text, _ in rows]), [label for _, label in rows]
    )
    classes = list(fitted.classes_)
    coefficients = fitted.coef_ if len(classes) > 2 else [-fitted.coef_[0] / 2, fitted.coef_[0] / 2]
    intercepts = fitted.intercept_ if len(classes) > 2 else [-fitted.intercept_[0] / 2, fitted.intercept_[0] / 2]
    return json.dumps(
        {
            "classes": classes,
            "words": {word: int(place) for word, place in words.vocabulary_.items()},
            "idf": [round(float(value), 4) for value in words.idf_],
            "coefficients": [[round(float(value), 4) for value in row] for row in coefficients],
            "intercepts": [float(value) for value in intercepts],
            "examples": len(rows),
        }
    )


def predict(model: str, texts: list[str]) -> pl.DataFrame:
    """One row per text: category (null: the model abstains) and reason."""
    import numpy as np
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import CountVectorizer

    kept: dict[str, Any] = json.loads(model)
    count = CountVectorizer(
        ngram_range=(1, 2), token_pattern=r"(?u)\b[^\W\d_]\w+\b|\?", vocabulary=kept["words"]
    ).transform(texts)
    counts = csr_matrix(count, dtype=float)
    counts.data = (1 + np.log(counts.data)) * np.array(kept["idf"])[counts.indices]
    length = np.sqrt(counts.multiply(counts).sum(axis=1)).A1
    score = (counts @ np.array(kept["coefficients"]).T) / np.maximum(length, 1e-12)[:, None] + np.array(
        kept["intercepts"]
    )
    odds = np.exp(score - score.max(axis=1, keepdims=True))
    share = odds / odds.sum(axis=1, keepdims=True)
    order = np.argsort(-share, axis=1)
    rows = []
    for place in range(len(texts)):
        best, second = order[place][:2]
        sure = length[place] > 0 and share[place][best] - share[place][second] >= MARGIN
        name = kept["classes"][best] if sure else None
        reason = (
            f"reads like {kept['examples']} labelled items ({math.floor(100 * share[place][best])} %)" if sure else None
        )
        rows.append((name, reason))
    return pl.DataFrame(rows, schema={"category": pl.String, "reason": pl.String}, orient="row")
