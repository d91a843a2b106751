"""The sanitiser of Markdown sinks: ticket bodies, tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from apilens.reports.terminal import Column
from apilens.reports.visible import safe

#: Anywhere in a line these start emphasis, code, links, HTML, entities, tables, strike-through, formulas or an escape.
_INLINE = re.compile(r"[\\`*_\[\]<>&|~$]")
#: Starts a heading, list, quote, rule or fence, but only where a line begins.
_BLOCK = re.compile(r"^(?:[#+\-=:]|\d+(?=[.)]))")
#: GitHub and GitLab turn bare addresses into links; an escaped colon or dot keeps them text (GFM spec, 6.9).
_ADDRESS = re.compile(r"\b(https?|ftp)(:)(?=//)|\b(www)(\.)", re.IGNORECASE)
#: Trackers look for @somebody, #12 and !12 in the rendered text, where an escape is gone: a quote would page a team
#: or leave marks in other tickets. A zero-width space behind the sign is the only thing they all respect.
_MENTION = re.compile(r"(?<![A-Za-z0-9_])([@#!])(?=[A-Za-z0-9])")


def md(text: str) -> str:
    """`text` on one line so that a Markdown reader shows it as it is: no markup, HTML, links or mentions.

    Safe at the start of a line, within a paragraph, a heading, a list item and a table cell; not inside code spans.
    """
    return _BLOCK.sub(_escape_block, inline(text))


def inline(text: str) -> str:
    """As md(), for where no block can begin: behind `# `, within a table cell or a sentence. `8.6 %` stays as it is."""
    shown = _INLINE.sub(r"\\\g<0>", safe(text).strip())
    shown = _ADDRESS.sub(lambda found: f"{found[1] or found[3]}\\{found[2] or found[4]}", shown)
    return _MENTION.sub("\\1\u200b", shown)


def markdown_table(columns: Sequence[Column | str], rows: Iterable[Sequence[object]]) -> str:
    """A table with what reports.terminal.table shows in a pipe: the same columns, rows, and "–" for None."""
    whole = [column if isinstance(column, Column) else Column(column) for column in columns]
    lines = [
        [inline(column.name) for column in whole],
        ["---:" if column.justify == "right" else "---" for column in whole],
        *(["–" if cell is None else inline(str(cell)) for cell in row] for row in rows),
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _escape_block(found: re.Match[str]) -> str:
    # A number opens a list by the point behind it, so the point is what is escaped.
    return f"{found[0]}\\" if found[0].isdigit() else f"\\{found[0]}"
