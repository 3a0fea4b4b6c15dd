"""Names that were read in a wrong charset: are these, and what would they be in a likelier one?

Rules kept here: strange alone is no proof, people write strange names; a name is suspected when it is odd and the same
bytes are ordinary in another charset, or when bytes were lost. Healthy Japanese, Chinese, Korean, Latin names are not.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, NamedTuple

from camrelay.ipmsg.charset import exactly, is_utf8

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

ODD = 2  # from here on a text is strange enough to look for a better reading
ODD_UTF8 = 1  # the same if the bytes are valid UTF-8 beyond ASCII: that hardly happens by chance

# What names are likely written in, likeliest first among equally ordinary readings.
RIGHT = ("utf-8", "gb18030", "cp932", "cp949", "cp950", "cp1251", "cp1252")
# What a client may have read them in before it sent them on, marked as UTF-8.
WRONG = ("cp1252", "latin-1", "cp932", "gb18030", "utf-16-le", "utf-16-be", "cp949", "cp950")
# What one country's names are written in. Of a real name nearly all characters are in one of them.
_REPERTOIRES = ("gb2312", "cp932", "big5", "euc_kr")
_OF_CHARSET = {"gb18030": ("gb2312", "big5"), "cp932": ("cp932",), "cp949": ("euc_kr",), "cp950": ("big5",)}
_READ_ANYTHING = ("cp1251", "cp1252")  # so what they make of a name must be letters

_LOST = "\N{REPLACEMENT CHARACTER}"
_KANA_RUN = re.compile("[\uff61-\uff9f]+")
# A word in half-width katakana: sounds first, each mark only where a sound takes it.
_KANA_WORD = re.compile(
    "(?:[\uff66\uff71-\uff9d](?:(?<=[\uff73\uff76-\uff84\uff8a-\uff8e])\uff9e|(?<=[\uff8a-\uff8e])\uff9f)?[\uff67-\uff70]*)+"
)
_WESTERN_RUN = re.compile("[\u00c0-\u00ff]{3,}")
_UTF8_AS_WESTERN = re.compile("[\u00c2-\u00f4][\u0080-\u00bf\u0152-\u0178\u2013-\u2122]")
_COMMON = (
    ("gb2312", 0xB0A1, 0xD7FE),
    ("shift_jis", 0x829F, 0x9872),
    ("euc_kr", 0xB0A1, 0xC8FE),
    ("big5", 0xA440, 0xC67E),
)


class Likelier(NamedTuple):
    """A better reading. ``charset`` "": bytes were lost, and no other charset makes sense of them."""

    charset: str
    texts: tuple[str, ...]
    read_as: str = ""  # what the sender itself read them in before, if it is the one who is wrong


def likelier(texts: Sequence[str], raws: Sequence[bytes | None], charset: str) -> Likelier | None:
    """What ``texts`` would rather be; None: they are as they should be, as far as one can see.

    ``raws``: the bytes of each, read in ``charset``; None for a text that came as marked UTF-8.
    """
    oddity = sum(oddness(text, charset) for text in texts)
    if oddity < ODD_UTF8:
        return None
    lost = any(_LOST in text for text in texts)
    found = [*_rereadings(texts, raws, charset)] if any(raws) else [] if lost else [*_repairs(texts)]
    fitting = [one for one in found if oddity >= (ODD_UTF8 if is_utf8(one.charset) else ODD)]
    best = max(fitting, key=lambda one: ordinary(one.texts), default=None)
    if best is not None and ordinary(best.texts) > max(0.5, ordinary(texts)):
        return best
    return Likelier("", ()) if lost else None


def oddness(text: str, charset: str = "") -> int:
    """How strange ``text``, read in ``charset``, is as a name; 0 for one that somebody would give a user."""
    if text.isascii():
        return 0
    broken = sum(map(_is_broken, text))
    western = len(_UTF8_AS_WESTERN.findall(text)) * 2 + sum(
        len(run) - 2 for run in _WESTERN_RUN.findall(text)
    )
    return 2 * broken + western + _odd_kana(text) + _outsiders(text, charset) + _mixed(text)


def ordinary(texts: Iterable[str]) -> float:
    """The part of all characters beyond ASCII that are common ones of some language, 0 to 1."""
    rated = [_is_common(c) for text in texts for c in text if not c.isascii()]
    return sum(rated) / len(rated) if rated else 0.0


def _rereadings(texts: Sequence[str], raws: Sequence[bytes | None], charset: str) -> Iterator[Likelier]:
    for right in RIGHT:
        read = [text if raw is None else exactly(raw, right) for text, raw in zip(texts, raws, strict=True)]
        if right != charset and (found := _healthy(read, right)):
            yield Likelier(right, found)


def _repairs(texts: Sequence[str]) -> Iterator[Likelier]:
    for wrong in WRONG:
        raws = [_written(text, wrong) for text in texts]
        for right in RIGHT:
            read = [None if raw is None else exactly(raw, right) for raw in raws]
            if right != wrong and (found := _healthy(read, right)):
                yield Likelier(right, found, wrong)


def _healthy(read: Sequence[str | None], charset: str) -> tuple[str, ...] | None:
    texts = tuple(text for text in read if text is not None)
    fine = len(texts) == len(read) and all(text.isprintable() and not oddness(text) for text in texts)
    if charset in _READ_ANYTHING:
        fine = fine and all(c.isalnum() or c in " -_.'()@/" for text in texts for c in text)
    return texts if fine else None


def _written(text: str, charset: str) -> bytes | None:
    """The bytes that read as ``text`` in ``charset``. ASCII is what it is: nobody reads one half of a name wrong."""
    try:
        return text.encode("ascii" if text.isascii() else charset)
    except UnicodeError:
        return None


def _is_broken(c: str) -> bool:
    """Nothing that one can type: lost, control, private use, or nothing at all."""
    return c == _LOST or (unicodedata.category(c) in ("Cc", "Co", "Cs", "Cn") and ord(c) < 0x10000)


def _odd_kana(text: str) -> int:
    """Half-width katakana that are no words, or too short ones glued to other letters."""
    odd = 0
    for run in _KANA_RUN.finditer(text):
        words = [word for word in re.split("[\uff61-\uff65]", run[0]) if word]
        odd += sum(not _KANA_WORD.fullmatch(word) for word in words) + (run[0][0] in "\uff61\uff63\uff64")
        around = text[run.start() - 1 : run.start()] + text[run.end() : run.end() + 1]
        odd += len(run[0]) <= 2 and any(c.isascii() and c.islower() for c in around)
        odd += len(run[0]) == 1 and any("\u3400" <= c <= "\u9fff" for c in around)
    return odd


def _outsiders(text: str, charset: str) -> int:
    """Characters of East Asia that are not in the one repertoire that has most of them."""
    letters = [
        c for c in text if "\u3400" <= c <= "\u9fff" or "\ua000" <= c <= "\ud7ff" or "\uf900" <= c <= "\ufaff"
    ]
    return (
        min(
            (sum(_code(c, name) < 0 for c in letters) for name in _OF_CHARSET.get(charset, _REPERTOIRES)),
            default=0,
        )
        if letters
        else 0
    )


def _mixed(text: str) -> int:
    """Alphabets beyond the first, and letters of Greek or Cyrillic glued to Latin ones."""
    scripts = [_script(c) for c in text]
    glued = sum(
        a in ("GREEK", "CYRILLIC") and b.isascii() and b.isalnum()
        for pair in (zip(scripts, text[1:], strict=False), zip(scripts[1:], text, strict=False))
        for a, b in pair
    )
    return glued + max(0, len({script for script in scripts if script}) - 1)


def _script(c: str) -> str:
    """What a letter beyond ASCII is of; all of Japan is one. "" for others."""
    name = unicodedata.name(c, "").split(" ")[0].split("-")[0] if c.isalpha() and not c.isascii() else ""
    return "CJK" if name in ("HIRAGANA", "KATAKANA", "HALFWIDTH", "FULLWIDTH", "IDEOGRAPHIC") else name


def _is_common(c: str) -> bool:
    if (
        "\u00c0" <= c <= "\u017f"
        or "\u0400" <= c <= "\u045f"
        or "\u0391" <= c <= "\u03c9"
        or "\u3041" <= c <= "\u30fe"
    ):
        return True
    return any(first <= _code(c, name) <= last for name, first, last in _COMMON)


def _code(c: str, charset: str) -> int:
    """The number of ``c`` in ``charset``, -1 if it has none."""
    try:
        raw = c.encode(charset)
    except UnicodeError:
        return -1
    return int.from_bytes(raw, "big") if len(raw) <= 2 else -1  # euc_kr spells out what it has not
