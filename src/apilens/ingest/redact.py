"""Secrets in logged text, masked before the first write.

A masked value is `masked.` and twelve hex digits of a keyed hash: the same secret stays recognisable as the same, and
nobody without the lake's key can test a guess.
"""

from __future__ import annotations

import hmac
import re

import polars as pl

#: Query and form fields whose value is a credential or personal data.
_NAMES = (
    r"(?:[\w.-]{0,40}(?:token|secret|password|passwd|(?:api|access|secret|private|subscription|account|shared)[_-]?key|sess(?:ion)?[_-]?id))"
    r"|key|hapikey|pwd|pass|passphrase|authorization|auth|(?:x-amz-)?signature|sig|session|sid|jwt|otp|pin|x-amz-credential"
    r"|(?:client[_-]?)?assertion|samlresponse|card(?:[_-]?number)?|ccnum|cvv|cvc|iban|ssn|e?mail"
)
#: No part but the values' ends crosses a line break: values are masked together, joined by it.
#: Names of variables and columns whose whole value is a secret, and of those that are never stored.
SECRET_KEY = (
    r"(?i)(?:^|[._-])(?:[a-z]*token|(?:api|access|private)?[_-]?key|secret|passw(?:or)?d|passwd|pwd|auth|signature|sig|session"
    r"(?:[_-]?id)?|sid|jwt|otp|pin|card(?:[_-]?number)?|cv[vc]|iban|ssn|e?mail)$|^cookie_"
)
NEVER_STORED = r"(?i)^(?:.*[._-])?(?:body|authorization|cookies?|set[_-]cookie)$"
_SECRET = re.compile(
    rb"""(?ix)
      (?P<name> (?:^|[?&;\s"'{,/]) ["']? (?=[\w.-]++["']?[^\S\n]*(?:[=:"]|%3D)) (?:"""
    + _NAMES.encode()
    + rb""") ["']? [^\S\n]* (?:=|:[^\S\n]|":[^\S\n]*|%3D) [^\S\n]* ["']? ) (?P<value> (?!masked\.) (?:(?:bearer|basic)(?:[^\S\n]|%20|\+)+)? (?!masked\.) [^&;\s"'#,}]+ )
    | (?P<jwt> eyJ[\w-]{5,}\.[\w-]{5,}\.[\w-]* )
    | (?<!\w) (?:
      (?P<bearer> (?:bearer|basic) (?:[^\S\n]|%20|\+)+ ) (?P<credential> (?!masked\.) [\w.~+/=-]{8,} )
    | (?P<email> (?<![.+-]) [\w.+-]{1,64}+ (?:@|%40) [a-z0-9-]{1,63} (?:\.[a-z0-9-]{1,63})+ )
    | (?P<key> (?:AKIA|ASIA)[A-Z0-9]{16} | gh[pousr]_\w{30,} | [srp]k_(?:live|test)_\w{10,} | xox[abprs]-[\w-]{10,} )
    | (?P<card> (?<![.-]) [3-6]\d{12,18} (?![\w.-]) )
      )
    """
)
#: What every match of the regex above contains, in a regex that needs no look-around and so no backtracking: only values
#: that hold it are searched.
_SUSPICIOUS = (
    r"(?i-u:(?:token|key|secret|passw?(?:or)?d?|passphrase|pwd|auth|authorization|signature|sig|session|sess(?:ion)?[_-]?id|sid|jwt|otp|pin"
    r"|assertion|samlresponse|credential|card(?:[_-]?number)?|ccnum|cv[vc]|iban|ssn|mail)[\"']?\s*(?:=|%3d|:)|@|%40|eyJ|bearer|basic|a[ks]ia"
    r"|gh[pousr]_|_live_|_test_|xox)|(?:^|[^0-9A-Za-z_.-])[3-6][0-9]{12,18}(?:[^0-9A-Za-z_.-]|$)"
)
_NEWLINE = b"\n"


class Redactor:
    """Masks with one key; the key never leaves the lake's folder."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def mask(self, text: bytes) -> bytes:
        """The text with every secret masked; other bytes stay as they are."""
        return _SECRET.sub(self._replace, text)

    def mask_each(self, values: pl.Series) -> pl.Series:
        """Texts with their secrets masked; null stays null. Those without a suspicious word are not touched."""
        at = values.str.contains(_SUSPICIOUS).arg_true()
        if at.is_empty():
            return values
        suspicious = values.gather(at)
        # One pass over all of them together. A value with a line break in it (an undone escape) is masked by itself.
        broken = suspicious.str.contains("\n", literal=True)
        single, several = suspicious.filter(~broken), suspicious.filter(broken)
        together = self.mask(_NEWLINE.join(text.encode() for text in single.to_list())).decode().split("\n")
        alone = [self.mask(text.encode()).decode() for text in several.to_list()]
        masked = values.clone().scatter(
            at.filter(~broken), pl.Series(together if single.len() else [], dtype=pl.String)
        )
        return masked.scatter(at.filter(broken), pl.Series(alone, dtype=pl.String))

    def hide_series(self, values: pl.Series) -> pl.Series:
        """Values that are secrets as a whole, each masked; null stays null."""
        once = values.drop_nulls().unique()
        masked = pl.Series([self._token(text.encode()).decode() for text in once.to_list()], dtype=pl.String)
        return values.replace_strict(once, masked, default=None, return_dtype=pl.String)

    def _replace(self, found: re.Match[bytes]) -> bytes:
        if (value := found["value"]) is not None:
            return found["name"] + self._token(value)
        if (credential := found["credential"]) is not None:
            return found["bearer"] + self._token(credential)
        if (card := found["card"]) is not None and not _luhn(card):
            return found[0]
        return self._token(found[0])

    def _token(self, secret: bytes) -> bytes:
        return b"masked." + hmac.digest(self._key, secret, "sha256").hex()[:12].encode()


def _luhn(number: bytes) -> bool:
    """Check digit of card numbers, ISO/IEC 7812-1 annex B."""
    digits = [byte - 48 for byte in reversed(number)]
    return (sum(digits[::2]) + sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])) % 10 == 0
