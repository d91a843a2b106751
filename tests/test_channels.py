"""Channels: every kind of export is known by its content, read whole, and survived when it is hostile or cut."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from datetime import UTC
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apilens.errors import ApilensError, ConfigError
from apilens.feedback import CHANNELS, Export, recognise
from apilens.feedback.mail import new_words
from apilens.feedback.mapping import mapped, read_mapping
from apilens.feedback.markup import html_text
from apilens.feedback.rating import scale_of, score
from apilens.feedback.records import BadRecordError, Records, read_time, slashed_times, to_items
from apilens.feedback.survey import Survey
from commands import apilens
from patience import comes_to_an_end

CASES = Path(__file__).parent / "cases" / "feedback"
SAMPLES = sorted(path for path in CASES.iterdir() if not path.name.endswith(".expected.json"))


def read(name: str, raw: bytes, tz: str = "UTC") -> dict[str, Any]:
    """Which channel reads it, and what comes of it."""
    export = Export(name, raw)
    channel = recognise(export)
    records = channel.parse(export)
    good, bad = to_items(records, channel=channel.name or "mail", tz=ZoneInfo(tz))
    assert records.read == good.height + bad.height
    known = next(key for key, value in CHANNELS.items() if value is channel)
    return {
        "channel": known,
        "items": json.loads(good.write_json()),
        "rejects": [list(row) for row in bad.rows()],
        "remarks": records.remarks,
        "damage": records.damage,
    }


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_each_channel_reads_a_sample_of_its_own(sample: Path) -> None:
    found = read(f"{sample.parent}/general/{sample.name}", sample.read_bytes())
    assert found == json.loads(sample.with_name(f"{sample.name}.expected.json").read_text(encoding="utf-8"))


def test_every_channel_of_the_registry_has_a_sample() -> None:
    assert {sample.name.partition(".")[0] for sample in SAMPLES} == set(CHANNELS)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_a_sample_cut_anywhere_is_read_as_far_as_it_goes_or_refused_in_words(sample: Path) -> None:
    raw = sample.read_bytes()
    whole = {item["id"] for item in read(sample.name, raw)["items"]}
    for cut in range(1, len(raw), max(1, len(raw) // 23)):
        try:
            found = read(sample.name, raw[:cut])
        except ApilensError as refused:
            assert "expected" in str(refused) or "damaged" in str(refused)
            continue
        if sample.suffix == ".json" and found["channel"] == sample.name.partition(".")[0]:
            assert {item["id"] for item in found["items"]} <= whole
            assert found["damage"], f"cut at {cut}"


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([b"", b"From x\n\n", b"PK\x03\x04", b"PAR1", b'{"issues": [', b"[{"]))
def test_any_bytes_are_read_or_refused_in_words(raw: bytes, head: bytes) -> None:
    try:
        read("x", head + raw)
    except ApilensError as refused:
        assert str(refused).startswith("x")


def packed(files: dict[str, str | bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return out.getvalue()


def slack_export(**more: str | bytes) -> dict[str, str | bytes]:
    return {
        "channels.json": '[{"id": "C1", "name": "support"}]',
        "users.json": '[{"id": "U1", "name": "ruth", "profile": {"email": "ruth@zweirad.example"}}]',
        "support/2026-03-12.json": (CASES / "slack.json").read_text(encoding="utf-8"),
        **more,
    }


def test_a_slack_zip_knows_people_rooms_and_threads() -> None:
    found = read("export.zip", packed(slack_export()))
    assert [(item["reporter"], item["id"]) for item in found["items"]] == [
        ("ruth@zweirad.example", "C1:1773307860.000200"),
        ("U2", "C1:1773307960.000300"),
    ]
    threads = {dict(item["attributes"] if isinstance(item["attributes"], dict) else [(e["key"], e["value"]) for e in item["attributes"]])["thread"] for item in found["items"]}  # fmt: skip
    assert threads == {"C1:1773307860.000200"}


def test_who_is_spoken_to_in_slack_is_called_by_name() -> None:
    said = '[{"type": "message", "user": "U1", "text": "<@U1> pay is down", "ts": "1773394000.000100"}]'
    found = read("export.zip", packed(slack_export(**{"support/2026-03-13.json": said})))
    assert [item["body"] for item in found["items"]][-1] == "@ruth pay is down"


def test_a_damaged_day_of_a_slack_zip_costs_that_day() -> None:
    found = read(
        "export.zip", packed(slack_export(**{"support/2026-03-13.json": '[{"type": "message", "ts": "1773394'}))
    )
    assert len(found["items"]) == 2
    assert "support/2026-03-13.json" in found["damage"]


def test_a_zip_bomb_is_refused_before_it_is_unpacked() -> None:
    with comes_to_an_end(), pytest.raises(ApilensError, match="expands more than"):
        read("bomb.zip", packed(slack_export(**{"support/2026-03-13.json": b"0" * (80 << 20)})))


def test_a_zip_that_lies_about_its_sizes_is_read_no_further_than_it_says() -> None:
    raw = bytearray(packed({"channels.json": "[]", "support/2026-03-13.json": b"[" + b" " * 100_000 + b"]"}))
    at = raw.rfind(b"PK\x01\x02")  # the directory's entry of the second file
    raw[at + 24 : at + 28] = struct.pack("<I", 10)
    found = read("lie.zip", bytes(raw))
    assert found["items"] == []
    assert "damaged" in found["damage"]


def workbook(rows: list[list[object]]) -> bytes:
    """The least that is an XLSX workbook."""
    head = '<?xml version="1.0" encoding="UTF-8"?>'
    main = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    relations = 'xmlns="http://schemas.openxmlformats.org/package/2006/relationships"'
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    cells = "".join(
        "<row>"
        + "".join(
            f'<c t="inlineStr"><is><t>{value}</t></is></c>' if isinstance(value, str) else f"<c><v>{value}</v></c>"
            for value in row
        )
        + "</row>"
        for row in rows
    )
    return packed(
        {
            "[Content_Types].xml": f'{head}<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>',
            "_rels/.rels": f'{head}<Relationships {relations}><Relationship Id="r1" Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
            "xl/workbook.xml": f'{head}<workbook {main} xmlns:r="{office}"><sheets><sheet name="A" sheetId="1" r:id="r1"/></sheets></workbook>',
            "xl/_rels/workbook.xml.rels": f'{head}<Relationships {relations}><Relationship Id="r1" Type="{office}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
            "xl/worksheets/sheet1.xml": f"{head}<worksheet {main}><sheetData>{cells}</sheetData></worksheet>",
        }
    )


def test_a_survey_in_a_workbook_is_read_like_one_in_csv() -> None:
    rows: list[list[object]] = [
        ["Timestamp", "Email", "CSAT", "Comment"],
        ["2026-03-13 15:00", "a@x.example", 2, "painful mornings, it never works"],
        ["2026-03-14 15:00", "b@x.example", 5, ""],
    ]
    csv = "\n".join(",".join(f'"{cell}"' for cell in row) for row in rows).encode()
    sheet, text = read("s.xlsx", workbook(rows)), read("s.csv", csv)
    assert sheet["channel"] == "survey"
    assert sheet["items"] == text["items"]
    assert len(sheet["items"]) == 2


def test_the_first_answers_of_two_surveys_are_two_items_and_one_read_again_is_the_same() -> None:
    def survey(question: str, day: int) -> list[dict[str, Any]]:
        head = f"ID,Completion time,Email,{question}"
        found: list[dict[str, Any]] = read("s.csv", f"{head}\n1,2026-03-{day} 15:00,a@x.example,2\n".encode())["items"]
        return found

    incident, hypercare = survey("How was the incident handled?", 13), survey("How was hypercare?", 28)
    assert incident[0]["id"] != hypercare[0]["id"]
    assert incident == survey("How was the incident handled?", 13)


def test_a_damaged_workbook_is_refused_in_words() -> None:
    broken = packed({"xl/workbook.xml": "<workbook", "[Content_Types].xml": ""})
    with pytest.raises(ApilensError, match="damaged or protected workbook"):
        read("s.xlsx", broken)


def test_parquet_is_read_with_its_types(tmp_path: Path) -> None:
    frame = pl.DataFrame({"id": [7], "Created_At": ["2026-03-13T15:00:00Z"], "n": [2.5], "ok": [True], "body": ["x"]})
    frame = frame.with_columns(pl.col("Created_At").str.to_datetime(time_zone="UTC"))
    frame.write_parquet(tmp_path / "a.parquet")
    (item,) = read("a.parquet", (tmp_path / "a.parquet").read_bytes())["items"]
    assert (item["id"], item["created_at"]) == ("7", "2026-03-13T15:00:00+00:00")
    with pytest.raises(ApilensError, match="damaged Parquet"):
        read("a.parquet", (tmp_path / "a.parquet").read_bytes()[:-20])


MAPPING = """
channel = "helpdesk"
scale = "1-10"
time_format = "%d/%m/%Y %H:%M"
[fields]
id = "Ticket No"
created_at = "Opened"
title = ["Subject", "Summary"]
rating = "Stars"
"""


def test_a_mapping_names_the_columns_of_any_table(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(MAPPING)
    mapping = read_mapping(str(tmp_path / "m.toml"))
    csv = Export("h.csv", b"Ticket No;Opened;Summary;Stars;Other Thing\n4;3/4/2026 10:00;slow;10;x\n")
    ndjson = Export(
        "h.json", b'[{"Ticket No": 4, "Opened": "3/4/2026 10:00", "Summary": "slow", "Stars": 10, "Other Thing": "x"}]'
    )
    first, second = (to_items(mapped(export, mapping), channel=None, tz=UTC)[0] for export in (csv, ndjson))
    assert first.equals(second)
    row = first.row(0, named=True)
    assert (row["channel"], row["id"], row["title"], row["created_at"].isoformat()) == ("helpdesk", "4", "slow", "2026-04-03T10:00:00+00:00")  # fmt: skip
    assert row["attributes"] == {"other_thing": "x", "rating": "10", "scale": "1-10", "score": "5"}


@pytest.mark.parametrize(
    ("text", "said"),
    [("[fields]\ntitel = 'x'", "did you mean 'title'"), ("scale = '1-3'", "expected one of"), ("fields = 1", "fields"), ("x = 1", "known keys"), ("[", "no TOML")],
)  # fmt: skip
def test_a_wrong_mapping_is_a_usage_error(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_mapping(str(tmp_path / "m.toml"))


@pytest.mark.parametrize(
    ("ratings", "scale", "scores"),
    [
        (["1", "5", "3"], "1-5", [1, 5, 3]),
        (["0", "10", "5"], "0-10", [1, 5, 3]),
        (["9", "3"], "0-10", [4.6, 2.2]),
        (["80%", "100 %"], "percent", [4.2, 5]),
        (["4/5", "2 / 5"], "1-5", [4, 2]),
        (["★★★★☆", "★"], "1-5", [4, 1]),
        (["good", "bad", "Good"], "good/bad", [5, 1, 5]),
        (["Very satisfied", "Neutral"], "good/bad", [5, 3]),
        (["4 - agree", "2"], "1-5", [4, 2]),
        (["sehr gut", "schlecht"], "good/bad", [5, 1]),
    ],
)
def test_ratings_of_every_scale_come_to_one(ratings: list[str], scale: str, scores: list[float]) -> None:
    assert scale_of(ratings) == scale
    assert [score(rating, scale) for rating in ratings] == scores


def test_answers_off_the_scale_are_said_kept_and_no_score() -> None:
    given = ["5", "4", "2", "3", "5", "1", "4", "5", "3", "5", "4", "99"]
    table = "timestamp,email,rating,ease\n" + "".join(
        f"2026-03-09T1{n % 10}:0{n % 6}:00Z,p{n}@x.example,{rating},{'n/a' if n == 1 else 2}\n"
        for n, rating in enumerate(given)
    )
    found = Survey().parse(Export("s.csv", table.encode()))
    assert found.remarks == [
        "rating: 1 of its answers are no rating on the scale 1-5 and count in no score (such as '99')",
        "ease: 1 of its answers are no rating on the scale 1-5 and count in no score (such as 'n/a')",
    ]
    first, second, *_, last = [record for _, record in found.records]
    assert (first["score"], first["score_ease"]) == ("5", "2")
    assert (second["score"], second["rating_ease"]) == ("4", "n/a")
    assert (last["rating_rating"], last["score"]) == ("99", "2")


def test_what_is_no_rating_has_no_scale() -> None:
    assert scale_of(["the step is a lottery", "5"]) is None
    assert scale_of(["2026", "1999"]) is None
    assert score("11", "0-10") is None


@pytest.mark.parametrize(
    ("times", "said"),
    [
        (["3/9/2026 11:00:00", "3/14/2026 9:00:00"], False),
        (["14/3/2026 11:00", "3/3/2026 5:20 p. m."], False),
        (["3/9/26 1:00 PM"], True),
        (["14-03-2026 11:00:00"], False),
        (["2026-03-09"], False),
    ],
)
def test_a_column_of_dates_tells_its_order(times: list[str], said: bool) -> None:
    records = Records([(1, {"id": str(n), "created_at": time}) for n, time in enumerate(times)])
    assert (slashed_times(records)[1] is not None) == said
    items, rejects = to_items(records, channel="x", tz=UTC)
    assert rejects.is_empty()
    assert items["created_at"].dt.month().to_list() == [3] * len(times)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30/Sep/21 17:20", "2021-09-30T15:20:00+00:00"),
        ("30/Sep/21 5:20 PM", "2021-09-30T15:20:00+00:00"),
        ("30.09.2021 17:20", "2021-09-30T15:20:00+00:00"),
        ("30. Okt. 2021 17:20", "2021-10-30T15:20:00+00:00"),
        ("30/gen/21 17:20", "2021-01-30T16:20:00+00:00"),
        ("30/Sep/21", "2021-09-29T22:00:00+00:00"),
        ("30/Sep/21 5:20\u202fPM", "2021-09-30T15:20:00+00:00"),
        ("Sep 30, 2021, 5:20 PM", "2021-09-30T15:20:00+00:00"),
        ("Thursday, September 30, 2021 5:20 PM", "2021-09-30T15:20:00+00:00"),
        ("2021/09/30 17:20", "2021-09-30T15:20:00+00:00"),
        ("30.09.21 17:20", "2021-09-30T15:20:00+00:00"),
        ("9/30/2021 05:20:11 PM", "2021-09-30T15:20:11+00:00"),
        ("01/Okt/21 17:20", "2021-10-01T15:20:00+00:00"),
        ("2021-09-30 17:20:00 UTC", "2021-09-30T17:20:00+00:00"),
        ("Wed, 11 Mar 2026 20:15:00 +0100", "2026-03-11T19:15:00+00:00"),
    ],
)
def test_times_are_read_as_exports_write_them(text: str, expected: str) -> None:
    assert read_time(text, ZoneInfo("Europe/Berlin")).isoformat() == expected


def test_half_days_no_rule_knows_are_refused_instead_of_halved() -> None:
    with pytest.raises(BadRecordError):
        read_time("Sat Sep 30 05:20:00 2021 PM", UTC)


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ("It fails.\n\nOn Mon, 9 Mar 2026, Bob <b@x.example> wrote:\n> old", "It fails."),
        ("Geht nicht.\n\nAm 09.03.2026 um 11:00 schrieb Bob:\n> alt", "Geht nicht."),
        ("Ça échoue.\n\nLe lun. 9 mars 2026 à 11:00, Bob <b@x.example> a écrit :\n> vieux", "Ça échoue."),
        ("New.\n-----Original Message-----\nFrom: x", "New."),
        ("New.\n________________________________\nFrom: x", "New."),
        ("New.\n\nFrom: Bob <b@x.example>\nSent: Monday\nOld", "New."),
        ("New.\n-- \nBob\nTel 1", "New."),
        ("> asked this\nI answer below", "I answer below"),
        ("On Monday we saw errors\nand on Tuesday too", "On Monday we saw errors\nand on Tuesday too"),
        ("> only a quote", "only a quote"),
    ],
)
def test_quoted_replies_and_signatures_are_cut(text: str, own: str) -> None:
    assert new_words(text) == own


@pytest.mark.parametrize("piece", ["On \n", "On x\n", "wrote:\n", "> a\n", "From: a@\n", "<div>", "<!--", "</p>"])
def test_hostile_mails_come_to_an_end(piece: str) -> None:
    text = piece * (200_000 // len(piece))
    with comes_to_an_end():
        new_words(text)
        html_text(text)


def test_a_mail_bomb_is_set_aside_and_the_others_are_read() -> None:
    head = b"From a@x.example Mon Mar  9 11:00:00 2026\nFrom: a@x.example\nDate: Mon, 9 Mar 2026 11:00:00 +0000\nMessage-ID: <%s@x>\n"
    parts = b"--b\nContent-Type: text/plain\n\nx\n" * 1500
    wide = head % b"wide" + b'Content-Type: multipart/mixed; boundary="b"\n\n' + parts + b"--b--\n\n"
    deep = head % b"deep" + b"".join(b'Content-Type: multipart/mixed; boundary="%d"\n\n--%d\n' % (n, n) for n in range(1500)) + b"\n\n"  # fmt: skip
    plain = head % b"ok" + b"\nhello\n"
    with comes_to_an_end():
        found = read("m.mbox", wide + deep + plain)
    assert "ok@x" in {item["id"] for item in found["items"]}
    assert any("parts" in why or "no mail" in why for _, why in found["rejects"])


def test_a_maildir_is_a_folder_of_mails(tmp_path: Path) -> None:
    folder = tmp_path / "box" / "cur"
    folder.mkdir(parents=True)
    for name in ("1.a:2,S", "2.b:2,"):
        (folder / name).write_text(
            f"From: a@x.example\nDate: Mon, 9 Mar 2026 11:00:00 +0000\nMessage-ID: <{name[0]}@x>\n\nhi\n"
        )
    ran = apilens("feedback", "import", tmp_path / "box", "--lake", tmp_path / "lake")
    assert ran.out == "read 2 = stored 2 (2 new, 0 updated) + rejected 0 + duplicate 0\n"


def test_import_of_everything_twice_adds_nothing(tmp_path: Path) -> None:
    (tmp_path / "export.zip").write_bytes(packed(slack_export()))
    paths = [*(path for path in SAMPLES), tmp_path / "export.zip"]
    first = apilens(
        "feedback", "import", *paths, "--channel", "x", "--lake", tmp_path / "lake", "--output", "json"
    ).json()
    again = apilens(
        "feedback", "import", *paths, "--channel", "x", "--lake", tmp_path / "lake", "--output", "json"
    ).json()
    assert first["new"] > 25
    assert again["stored"] == 0
    assert again["duplicate"] == again["read"] - again["rejected"]
