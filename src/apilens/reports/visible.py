"""Text of strangers made safe to look at: what would act on a screen instead of standing on it is written out."""

from __future__ import annotations

import re
import unicodedata

_NOT_PLAIN = re.compile(r"[^\x20-\x7e]")
_NAMED = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
#: Zero-width joiner and non-joiner: Persian, Hindi and emoji are misspelled without them, and they move nothing.
_JOINERS = "\u200c\u200d"
#: Cc: ESC, C1, NUL. Cf: bidi overrides, invisible marks. Cs: lone surrogates, which cannot be encoded.
#: Co, Cn: no agreed glyph. Zl, Zp: line breaks beyond ASCII.
_ACTING = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def safe(text: str) -> str:
    r"""`text` on one line, control, direction and invisible characters as visible escapes (`\x1b`, `\u202e`, `\n`).

    A backslash that was in the text stays single: the result is for reading, not for turning back.
    """
    return _NOT_PLAIN.sub(_write_out, text)


def safe_lines(text: str) -> str:
    """The same for a text of several lines: its line feeds stay."""
    return "\n".join(map(safe, text.split("\n")))


def _write_out(found: re.Match[str]) -> str:
    character = found[0]
    if character in _JOINERS or unicodedata.category(character) not in _ACTING:
        return character
    if character in _NAMED:
        return _NAMED[character]
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
