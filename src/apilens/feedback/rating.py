"""Ratings of every kind on one scale: 1 (bad) to 5 (good)."""

from __future__ import annotations

import re
from collections.abc import Iterable

SCALES = ("1-5", "0-10", "1-10", "1-7", "percent", "good/bad")
_BOUNDS = {"1-5": (1, 5), "0-10": (0, 10), "1-10": (1, 10), "1-7": (1, 7), "percent": (0, 100)}
#: What people and forms say instead of a number.
_WORDS = {
    **dict.fromkeys(("very satisfied", "excellent", "strongly agree", "sehr zufrieden", "sehr gut", "très satisfait", "très bien", "very good"), 5.0),
    **dict.fromkeys(("satisfied", "agree", "zufrieden", "satisfait"), 4.0),
    **dict.fromkeys(("neutral", "ok", "okay", "fair", "average", "neither", "neither agree nor disagree", "neither satisfied nor dissatisfied", "teils teils", "teils, teils", "mittel", "mittelmäßig", "befriedigend", "moyen"), 3.0),
    **dict.fromkeys(("dissatisfied", "unsatisfied", "disagree", "poor", "unzufrieden", "insatisfait"), 2.0),
    **dict.fromkeys(("very dissatisfied", "very unsatisfied", "terrible", "strongly disagree", "very poor", "very bad", "sehr unzufrieden", "sehr schlecht", "très insatisfait", "très mauvais"), 1.0),
    **dict.fromkeys(("good", "good_with_comment", "yes", "positive", "happy", "thumbs up", "gut", "ja", "oui", "bon", "👍", "🙂", "😀"), 5.0),
    **dict.fromkeys(("bad", "bad_with_comment", "no", "negative", "unhappy", "thumbs down", "schlecht", "nein", "non", "mauvais", "👎", "🙁", "😞"), 1.0),
}  # fmt: skip
_NUMBER = re.compile(
    r"\s*(\d{1,3}(?:[.,]\d{1,3})?)\s*(%|/\s*(?:5|7|10|100)|stars?|sterne|★+)?(?:\s*[-–(:].{0,60})?\s*", re.I
)
_STARS = re.compile(r"\s*(★{1,5})☆{0,4}\s*")


def scale_of(ratings: Iterable[str]) -> str | None:
    """The scale (SCALES) a column of ratings is on; None: these are no ratings.

    A column tells by its largest number and by whether a 0 occurs; up to 5 is 1-5, since a scale of which the upper half was
    never used is rarer than one of five. A mapping that names the scale wins.
    """
    texts = [text.strip() for text in ratings if text.strip()]
    numbers = [number for text in texts if (number := _number(text)) is not None]
    words = [text for text in texts if text.casefold() in _WORDS]
    if not texts or len(numbers) + len(words) < 0.9 * len(texts):
        return None
    if len(words) >= len(numbers):
        return "good/bad"
    of = next((found[1] for text in texts if (found := re.search(r"/\s*(5|7|10|100)\b", text))), None)
    if of is not None:
        return {"5": "1-5", "7": "1-7", "10": "0-10", "100": "percent"}[of]
    # 99 for "no answer" among ratings of 1 to 5 makes no percentages of them.
    small = [number for number in numbers if number <= 10]
    numbers = small if len(small) >= 0.9 * len(numbers) else numbers
    most = max(numbers)
    if most > 10 or any(text.endswith("%") for text in texts):
        return "percent" if most <= 100 else None
    return "1-5" if most <= 5 and min(numbers) > 0 else "0-10"


def score(rating: str, scale: str) -> float | None:
    """The rating on 1 (bad) to 5 (good), linear within its scale; None: it is none."""
    number = _number(rating)
    if number is None:
        return _WORDS.get(rating.strip().casefold())
    low, high = _BOUNDS.get(scale, (1, 5))
    if not low <= number <= high:
        return None
    return round(1 + 4 * (number - low) / (high - low), 2)


def rating_fields(rating: str, scale: str) -> dict[str, str]:
    """The fields of a rating: as it was given, its scale, and score (1..5); none for what is no rating."""
    value = score(rating, scale)
    return {} if value is None else {"rating": rating.strip(), "scale": scale, "score": f"{value:g}"}


def off_scale(name: str, ratings: Iterable[str], scale: str) -> str | None:
    """What to say of the answers to a question that are no rating on its scale; None: all are."""
    off = [text.strip() for text in ratings if text.strip() and score(text, scale) is None]
    if not off:
        return None
    such = ", ".join(repr(text[:40]) for text in list(dict.fromkeys(off))[:3])
    return (
        f"{name}: {len(off):,} of its answers are no rating on the scale {scale} and count in no score (such as {such})"
    )


def _number(text: str) -> float | None:
    if (stars := _STARS.fullmatch(text)) is not None:
        return float(len(stars[1]))
    found = _NUMBER.fullmatch(text)
    return float(found[1].replace(",", ".")) if found is not None else None
