"""Names between bytes and text. Nothing here raises: a wrong charset costs characters, never a packet.

The order in which charsets are tried is one function, ``guess``: "why this charset?" has one answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

LAST_RESORT = "latin-1"  # reads every byte and keeps different names different

# In valid UTF-8 a byte from here on begins a sequence of three or four. Legacy text that passes for UTF-8 at
# all (half-width katakana and some Chinese do, in two-byte sequences) practically never holds one.
_LONG_SEQUENCE = 0xE0

# What a trailer can prove besides the likely ones: Windows' own code pages where IPMSG is in use.
_CODEPAGES = ("cp932", "gb18030", "utf-8", "cp949", "cp950", "cp1252", "cp1251")

_UTF8_NAMES = frozenset(("utf-8", "utf8", "utf_8"))


def is_utf8(charset: str) -> bool:
    """Does this name mean UTF-8?"""
    return charset.lower() in _UTF8_NAMES


def decode(raw: bytes, charset: str) -> str:
    """``raw`` as text; what the charset cannot read becomes U+FFFD. An unknown charset reads as latin-1."""
    if raw.isascii():
        return raw.decode("ascii")
    try:
        return raw.decode(charset, "replace")
    except (LookupError, ValueError):
        return raw.decode(LAST_RESORT)


def encode(text: str, charset: str) -> bytes:
    """``text`` as bytes; what the charset cannot write becomes ``?``. An unknown charset writes UTF-8."""
    try:
        return text.encode(charset, "replace")
    except (LookupError, ValueError):
        return text.encode("utf-8", "replace")


def exactly(raw: bytes, charset: str) -> str | None:
    """``raw`` as text if the charset reads every byte of it, else None."""
    try:
        return raw.decode(charset)
    except (LookupError, ValueError):
        return None


def surely_utf8(raw: bytes) -> bool:
    """Valid UTF-8 that no legacy charset would produce: it holds a sequence of three bytes or more."""
    return not raw.isascii() and max(raw) >= _LONG_SEQUENCE and exactly(raw, "utf-8") is not None


def agreeing(pairs: Iterable[tuple[bytes, str | None]], likely: Iterable[str]) -> str | None:
    """The charset in which all the bytes are the text beside them (None: not known), ``likely`` ones first.

    None if there is no such charset, or nothing but ASCII to compare.
    """
    evidence = [(raw, text) for raw, text in pairs if text is not None and not raw.isascii()]
    if evidence:
        for charset in (*likely, *_CODEPAGES):
            if charset and all(exactly(raw, charset) == text for raw, text in evidence):
                return charset
    return None


def guess(raw: bytes, codepage: str, *, known: str = "", kind: tuple[str, ...] = ()) -> str:
    """The charset of names that say nothing about it themselves. The first that reads every byte wins:

    1. UTF-8 where it is unmistakable, unless clients of this kind have charsets of their own,
    2. ``known``, what this client was proven to use earlier,
    3. ``kind``, what clients of its kind use,
    4. ``codepage``, the configured one, then UTF-8, then latin-1, which reads anything.
    """
    if not kind and surely_utf8(raw):
        return "utf-8"
    for charset in (known, *kind, codepage, "utf-8"):
        if charset and exactly(raw, charset) is not None:
            return charset
    return LAST_RESORT
