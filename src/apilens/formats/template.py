"""A layout as a gateway's configuration has it: literal text with variables in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from apilens.errors import UsageError
from apilens.formats.layout import Variable


def parts(
    text: str, variable: re.Pattern[str], named: Callable[[re.Match[str]], Sequence[str | Variable]]
) -> tuple[str | Variable, ...]:
    """Literals and variables of `text` in order, no two literals side by side.

    variable: what a variable looks like. named: what one stands for. One that comes again is called `name#2`.
    """
    found: list[str | Variable] = []
    seen: dict[str, int] = {}

    def add(part: str | Variable) -> None:
        if isinstance(part, Variable):
            seen[part.name] = seen.get(part.name, 0) + 1
            again = seen[part.name]
            found.append(part if again == 1 else Variable(f"{part.name}#{again}", part.field))
        elif part and found and isinstance(found[-1], str):
            found[-1] += part
        elif part:
            found.append(part)

    at = 0
    for match in variable.finditer(text):
        add(text[at : match.start()])
        for part in named(match):
            add(part)
        at = match.end()
    add(text[at:])
    return tuple(found)


def check_time(parts: Sequence[str | Variable], text: str, expected: str) -> None:
    """Raises UsageError when no variable is a time; expected: which ones are, for the message."""
    if not any(isinstance(part, Variable) and part.field.mandatory for part in parts):
        raise UsageError(f"the layout {text!r} has no time: expected {expected} among its variables")
