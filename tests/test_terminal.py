"""What reaches a terminal or a Markdown sink: nothing acts, nothing is lost."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apilens.reports.markdown import md
from apilens.reports.terminal import Column, lines_equation, records_equation, safe, table
from logs import log

HOSTILE = [
    ("\x1b[2J\x1b]0;owned\x07", r"\x1b[2J\x1b]0;owned\x07"),
    ("\x9b31m", r"\x9b31m"),
    ("pay\u202egnp.exe", r"pay\u202egnp.exe"),
    ("a\r\nroot: ok\tb\x00", r"a\r\nroot: ok\tb\x00"),
    ("\u2028\u2029\x85\ufeff\u200b", r"\u2028\u2029\x85\ufeff\u200b"),
    ("\udcff", r"\udcff"),
    ("\U000e0041", r"\U000e0041"),
]


@pytest.mark.parametrize(("text", "shown"), HOSTILE)
def test_acting_characters_are_written_out(text: str, shown: str) -> None:
    assert safe(text) == shown


def test_ordinary_text_of_any_script_stays_as_it_is() -> None:
    for text in ("GET /v1/orders/{id} – 2.3 %", "Zahlung schlägt fehl", "می‌خواهم", "支払い 👩‍💻", r"C:\logs\x"):
        assert safe(text) == text


@given(st.text(st.characters()))
def test_whatever_comes_in_one_printable_line_goes_out(text: str) -> None:
    shown = safe(text)
    shown.encode("utf-8")
    assert len(shown.splitlines()) <= 1
    assert {unicodedata.category(c) for c in shown} & {"Cc", "Cs", "Zl", "Zp"} == set()


def test_table_in_a_pipe_keeps_long_cells_whole_and_takes_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    route = "/v1/" + "orders/" * 60 + "{id}"
    table("t [bold]x[/bold] :smile:", ["route", Column("calls", "right")], [(f"[red]{route}[/red]", 1), ("b", None)])
    title, head, *body = (line.rstrip() for line in capsys.readouterr().out.splitlines())
    assert title == "t [bold]x[/bold] :smile:"
    assert head.split() == ["route", "calls"]
    assert [line.split() for line in body] == [[f"[red]{route}[/red]", "1"], ["b", "–"]]


def test_table_cells_cannot_send_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    table("\x1b[31m", ["\x1b]8;;http://x\x07"], [[text] for text, _ in HOSTILE])
    out = capsys.readouterr().out
    assert "\x1b" not in out and "\x07" not in out
    assert all(shown in out for _, shown in HOSTILE)


def _on_a_terminal(call: str, columns: int = 40) -> str:
    """What a call of `table` looks like on a terminal so many columns wide, with what it says on stderr."""
    script = f"from apilens.reports.terminal import Column, table; {call}"
    master, slave = pty.openpty()
    subprocess.run(
        [sys.executable, "-c", script],
        stdout=slave,
        stderr=slave,
        check=True,
        env=os.environ | {"TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": "24"},
    )
    os.close(slave)
    shown = b""
    try:
        while piece := os.read(master, 4096):
            shown += piece
    except OSError:  # Linux reports the closed far end of a terminal as EIO
        pass
    os.close(master)
    return shown.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_terminal_folds_long_cells_without_losing_a_character() -> None:
    shown = _on_a_terminal("table('t', ['route'], [['/' + 'x' * 60]])")
    assert shown.count("x") == 60
    assert all(line.count("x") <= 40 for line in shown.splitlines())


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_narrow_terminal_costs_the_spare_columns_and_no_figure_nor_the_first_column() -> None:
    columns = "['endpoint', Column('calls', 'right'), *(Column(n, 'right', spare=True) for n in ('p90', 'last seen'))]"
    call = f"table('', {columns}, [['GET /v1/orders/' + '{{id}}', '15,639', '100 ms', '2026-03-09 12:00']])"
    roomy, narrow, tiny = (_on_a_terminal(call, columns) for columns in (80, 45, 12))
    assert "2026-03-09 12:00" in roomy and "no room" not in roomy
    assert narrow.count("100 ms") == 1 and "2026" not in narrow
    assert "no room in 45 columns for: last seen" in narrow
    assert "/v1/orders/{id}" in tiny and "15,639" in tiny
    assert "no room in 12 columns for: p90, last seen" in tiny


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pipe whose reader is gone")
def test_a_reader_of_a_table_that_has_gone_is_no_finding() -> None:
    script = (
        "import os, sys; read, write = os.pipe(); os.close(read); os.dup2(write, 1)\n"
        "from unittest import mock; from apilens import cli; from apilens.reports.terminal import table\n"
        "def endless(*args, **how): table('', ['path'], [['x' * 100]] * 1000); sys.stdout.flush()\n"
        "with mock.patch.object(cli.cli, 'main', endless): code = cli.run([])\n"
        "sys.exit(code)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False, stderr=subprocess.PIPE).returncode == 0


def test_equation_says_how_many_records_are_missing() -> None:
    assert (
        records_equation(read=1212, stored=1200, rejected=6, filtered=5, duplicate=1)
        == "read 1,212 = stored 1,200 + rejected 6 + filtered 5 + duplicate 1"
    )
    assert "≠" in records_equation(read=2, stored=1, rejected=0, filtered=0, duplicate=0)
    assert "(+1 not accounted for)" in records_equation(read=2, stored=1, rejected=0, filtered=0, duplicate=0)
    assert lines_equation(lines=4, records=2, header=1, blank=1) == "lines 4 = records 2 + header 1 + blank 1"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("# x", r"\# x"),
        ("12. x", r"12\. x"),
        ("- x", r"\- x"),
        ("> x", r"\> x"),
        ("--- x", r"\--- x"),
        ("<img src=x onerror=alert(1)>", r"\<img src=x onerror=alert(1)\>"),
        ("[a](javascript:x) ![b](c)", r"\[a\](javascript:x) !\[b\](c)"),
        ("a | `b` *c* __d__ ~~e~~ &lt; $f$", r"a \| \`b\` \*c\* \_\_d\_\_ \~\~e\~\~ \&lt; \$f\$"),
        ("https://evil.example www.evil.example", r"https\://evil.example www\.evil.example"),
        ("a\n# b", r"a\\n# b"),
        ("POST /v1/orders/{id}/pay: 502 from pay-2", "POST /v1/orders/{id}/pay: 502 from pay-2"),
    ],
)
def test_markdown_shows_text_and_does_not_obey_it(text: str, shown: str) -> None:
    assert md(text) == shown


def test_markdown_quotes_mention_and_reference_nobody() -> None:
    for sign in ("@ops", "#12", "!3"):
        assert sign not in md(f"see {sign}")
    assert md("a@b.example") == "a@b.example"


def _until_closed(terminal: int) -> bytes:
    """What is written to a terminal until nobody has it open any more."""
    found = b""
    try:
        while part := os.read(terminal, 4096):
            found += part
    except OSError:  # Linux: EIO
        pass
    return found


def test_a_terminal_is_shown_how_far_an_ingest_is_and_a_pipe_is_not(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(log(range(2_000)))
    command = [sys.executable, "-c", "from apilens.cli import main; main()", "ingest", str(tmp_path / "a.log")]
    command += ["--lake", str(tmp_path / "lake"), "--json"]
    ours, theirs = pty.openpty()
    with ThreadPoolExecutor(1) as reader:
        reading = reader.submit(_until_closed, ours)  # a terminal takes 4 KiB, then whoever writes waits
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=theirs, env=os.environ | {"COLUMNS": "120"}, timeout=120
        )
        os.close(theirs)
        shown = reading.result().decode()
    os.close(ours)
    assert json.loads(done.stdout)["stored"] == 2_000
    assert "lines/s" in shown
    piped = subprocess.run([*command, "--source", "x"], capture_output=True, timeout=120)
    assert json.loads(piped.stdout)["stored"] == 2_000
    assert piped.stderr == b""
