"""Surveys as forms export them (CSV, XLSX): CSAT, 1-5, 0-10 and good/bad, after incidents and at the end of hypercare."""

from __future__ import annotations

import hashlib
import re

from apilens.feedback.export import Export
from apilens.feedback.rating import off_scale, rating_fields, scale_of
from apilens.feedback.records import Records, renamed
from apilens.feedback.tables import columns, rows

_FIELDS = {
    "id": ("id", "response id", "responseid", "response_id", "respondent id", "submission id", "token", "#"),
    "created_at": ("created_at", "timestamp", "submitted at", "submitted_at", "submit date (utc)", "submitdate", "completion time",
                   "end date", "enddate", "date submitted", "date", "zeitstempel", "recorded date", "recordeddate", "start time"),
    "reporter": ("email", "email address", "e-mail", "e-mail address", "username", "respondent", "requester", "recipientemail", "reporter", "name", "e-mail-adresse"),
    "account": ("account", "company", "organisation", "organization", "customer", "firma", "team"),
}  # fmt: skip
_RATING = re.compile(
    r"(?i)\b(csat|nps|score|rating|rate|satisf\w*|zufrieden\w*|recommend\w*|likely|happy|stars?|overall|bewert\w*|ease|effort|quality|"
    r"how (was|were|is|are|did|do|well|easy|would you)|wie (war|ist|gut))\b"
)
#: Columns only forms have, whatever their questions are called: Qualtrics, Typeform, SurveyMonkey.
_OWN_FORMS = {"responseid", "recordeddate", "network id", "collector id"}
_NUMBERED = re.compile(r"\d{1,6}", re.ASCII)
_HEADINGS = 3  # rows of further headings below the first: SurveyMonkey has one, Qualtrics two
_WORDS = re.compile(r"(?i)\b(comments?|feedback|what|why|how could|improve\w*|tell us|reason|suggest\w*|anything|kommentar\w*|explain|describe|issues?|problems?|notes?)\b")  # fmt: skip


class Survey:
    """An answered form is an item: `score` is the first rating on 1..5, `rating` as it was given, the words are the body."""

    name = "survey"

    def recognises(self, export: Export) -> bool:
        header = columns(export)
        timed = any(name in _FIELDS["created_at"] for name in header)
        if timed and _OWN_FORMS & set(header):
            return True
        # Items with a text of their own are read as they stand, whatever rating goes with them.
        ready = {"id", "created_at"} <= set(header) and bool({"title", "body"} & set(header))
        return timed and not ready and any(_RATING.search(name) for name in header)

    def parse(self, export: Export) -> Records:
        return answers(rows(export))


def answers(found: Records, scale: str | None = None) -> Records:
    """The rows of a form as items. scale: of its ratings (rating.SCALES), where it is known."""
    own_rows, further = _without_headings(found.records)
    plain = [(line, renamed(record, _FIELDS)) for line, record in own_rows]
    names = list(dict.fromkeys(name for _, record in plain for name in record))
    # Most forms count their own answers, so number 1 of the next survey is another one; SurveyMonkey numbers people.
    counted = not any("respondent id" in record for _, record in own_rows)
    own = {"id", "created_at", "reporter", "account", "channel", "title", "body", "status"}
    scales = {
        name: of
        for name in names
        if name not in own
        and (of := scale_of(record.get(name, "") for _, record in plain)) is not None
        and (scale is not None or _RATING.search(name.replace("_", " ")) or of == "good/bad")
    }
    # A rating is a column of few different answers, words one of many: a text column that reads "good" is a rating.
    texts = [
        name
        for name in names
        if name not in own and name not in scales and (_WORDS.search(name.replace("_", " ")) or _is_prose(plain, name))
    ]
    records = Records(rejects=list(found.rejects), remarks=list(found.remarks), damage=found.damage)
    records.remarks += [f"{further} further rows of headings left out"] if further else []
    said_off = (
        off_scale(name, (record.get(name, "") for _, record in plain), scale or of) for name, of in scales.items()
    )
    records.remarks += [text for text in said_off if text is not None]
    for line, record in plain:
        item = dict(record)
        for name, of in scales.items():
            given = item.pop(name, "")
            rated = rating_fields(given, scale or of)
            # The first rating is the score; the others keep their question as their name.
            if rated and "score" in item:
                rated = {f"score_{name}": rated["score"]}
            item |= rated or ({f"rating_{name}": given.strip()} if given.strip() else {})
        said = [(name, item.pop(name)) for name in texts if item.get(name, "").strip()]
        if said and "body" not in item:
            item["body"] = (
                said[0][1] if len(texts) == 1 else "\n".join(f"{name.replace('_', ' ')}: {text}" for name, text in said)
            )
        if counted and "created_at" in item and _NUMBERED.fullmatch(item.get("id", "").strip()):
            item["id"] = f"{item['id'].strip()}@{item['created_at'].strip()}"
        elif "id" not in item:
            # A form that numbers nothing: who answered when is the same person's same answer.
            key = "\x1f".join((record.get("created_at", ""), record.get("reporter", ""), item.get("body", "")))
            item["id"] = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        records.records.append((line, item))
    return records


_Rows = list[tuple[int, dict[str, str]]]


def _without_headings(records: _Rows) -> tuple[_Rows, int]:
    """The rows without further rows of headings, and how many of these there were.

    A heading row has no digit where times stand. A column called Q7 takes the question of such a row for its name.
    """
    times = [name for name in _FIELDS["created_at"] if any(name in record for _, record in records)]
    if not times:
        return records, 0
    count = 0
    while count < min(_HEADINGS, len(records)) and not any(
        any(map(str.isdigit, records[count][1].get(name, ""))) for name in times
    ):
        count += 1
    questions = {
        name: text
        for _, heading in records[:1] * (count > 0)
        for name, text in heading.items()
        if re.fullmatch(r"q\d{1,3}(_\d{1,3})?(_\w{1,20})?", name)
    }
    return [
        (line, {questions.get(name, name).lower(): value for name, value in record.items()})
        for line, record in records[count:]
    ], count


def _is_prose(plain: list[tuple[int, dict[str, str]]], name: str) -> bool:
    texts = [record[name] for _, record in plain if name in record]
    return bool(texts) and sum(" " in text.strip() for text in texts) > 0.5 * len(texts) and max(map(len, texts)) > 25
