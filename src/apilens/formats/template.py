"""A layout as a gateway's configuration has it: literal text with variables in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from apilens.errors import UsageError
from apilens.formats.layout import Variable


def parts(
    text: str, variable: re.Pattern[str], named: Callable[[re.Match[str]], Sequence[str | Variable]]
) -> tuple[str | Variable, ...]:
    """Literals and variables of `text` in order. variable: what a variable looks like. named: what one stands for."""
    found: list[str | Variable] = []
    at = 0
    for match in variable.finditer(text):
        found += [text[at : match.start()], *named(match)]
        at = match.end()
    return joined([*found, text[at:]])


def joined(pieces: Sequence[str | Variable]) -> tuple[str | Variable, ...]:
    """The pieces with neighbouring literals as one, and a number behind the name of a variable that comes again."""
    found: list[str | Variable] = []
    seen: dict[str, int] = {}
    for piece in pieces:
        if isinstance(piece, Variable):
            seen[piece.name] = seen.get(piece.name, 0) + 1
            again = seen[piece.name]
            found.append(piece if again == 1 else Variable(f"{piece.name}#{again}", piece.field))
        elif piece and found and isinstance(found[-1], str):
            found[-1] += piece
        elif piece:
            found.append(piece)
    return tuple(found)


def check_time(parts: Sequence[str | Variable], text: str, expected: str) -> None:
    """Raises UsageError when no variable is a time; expected: which ones are, for the message."""
    if not any(isinstance(part, Variable) and part.field.mandatory for part in parts):
        raise UsageError(f"the layout {text!r} has no time: expected {expected} among its variables")
