"""Secrets in what people paste, masked before anything is stored."""

from __future__ import annotations

import re

#: (pattern, replacement). Each is linear in the text: no nested repetition.
_SECRETS = (
    (
        re.compile(r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[^-]*(?:-----END [A-Z ]{0,30}PRIVATE KEY-----)?"),
        "[private key]",
    ),
    (re.compile(r"\beyJ[\w-]{5,}\.[\w-]{5,}\.[\w-]*"), "[token]"),  # JWT, RFC 7519
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}"), r"\1 [token]"),  # RFC 6750, RFC 7617
    (
        re.compile(
            r"""(?i)\b((?:x-)?api[_-]?key|access[_-]?token|refresh[_-]?token|auth[_-]?token|client[_-]?secret|secret|"""
            r"""token|password|passwd|passwort|pwd)(["']?\s*[:=]\s*["']?)(?!\[)[^\s"'&,;<>]{4,}"""
        ),
        r"\1\2[secret]",
    ),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), "[key]"),  # AWS
    (
        re.compile(r"\b(?:gh[pousr]_\w{30,}|glpat-[\w-]{20,}|xox[abprs]-[\w-]{10,}|[srp]k_(?:live|test)_\w{10,})"),
        "[key]",
    ),
    # The domain stays: it says which account somebody writes for.
    (re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@([A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8})"), r"[e-mail]@\1"),
)
#: Card numbers as people write them: 13 to 19 digits in a row, 4-4-4-4(-3) or 4-6-5, of the networks' first digits.
_CARD = re.compile(r"(?<![\w-])[3-6](?:\d{12,18}|\d{3}(?:([ -])\d{4}\1\d{4}\1\d{4}|([ -])\d{6}\2\d{5}))(?![\w-])")
#: Account numbers as printed, in groups of four or in a row.
_IBAN = re.compile(r"(?<![\w-])[A-Z]{2}\d{2}(?:[A-Z0-9]{11,30}|(?: [A-Z0-9]{4}){2,7}(?: [A-Z0-9]{1,3})?)(?![\w-])")
#: Telephone numbers in the international form (ITU-T E.123); without the + they look like any other number.
_PHONE = re.compile(r"(?<![\w+.-])\+[1-9][\d ./()-]{6,22}\d(?![\w-])")


def mask(text: str) -> str:
    """The text with tokens, keys, passwords, names in e-mail addresses, card numbers (Luhn, ISO/IEC 7812-1), account numbers
    (IBAN, ISO 13616) and international telephone numbers replaced by what they were."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    text = _IBAN.sub(lambda found: "[iban]" if _is_iban(found[0]) else found[0], text)
    text = _PHONE.sub(lambda found: "[phone]" if 8 <= sum(map(str.isdigit, found[0])) <= 15 else found[0], text)
    return _CARD.sub(lambda found: "[card]" if _luhn(found[0]) else found[0], text)


def _is_iban(number: str) -> bool:
    """The remainder of 97 (ISO 7064)."""
    plain = number.replace(" ", "")
    return int("".join(str(int(sign, 36)) for sign in plain[4:] + plain[:4])) % 97 == 1


def _luhn(number: str) -> bool:
    digits = [int(digit) for digit in number if digit.isdigit()][::-1]
    doubled = sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return (sum(digits[::2]) + doubled) % 10 == 0
