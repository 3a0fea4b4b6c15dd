"""Text broken into lines by columns on the screen: English between words, Japanese between any two characters.

Rule kept here (JIS X 4051, kinsoku): no line begins with closing punctuation or a small kana, none ends with an opening
bracket. rich breaks at spaces only.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, ConsoleOptions
    from rich.measure import Measurement
    from rich.text import Text

NOT_FIRST: Final = (
    "、。，．・：；？！」』）］｝〕〉》】ー々ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶ…,.:;?!)]}"
)
NOT_LAST: Final = "「『（［｛〔〈《【([{"

# What stays on one line: a word, a number with its unit, or a character of those that need no space between them; with
# what clings to it.
_CJK, _OPEN, _CLOSE = r"\u2e80-\uffef", re.escape(NOT_LAST), re.escape(NOT_FIRST)
_UNIT = r"(?:(?:ms|s|min|h|d|[kM]?B|[KM]iB|bytes|%)(?![A-Za-z])|秒|分|時間|日|個|件|台|回|人|行|バイト)"
_PIECE = re.compile(
    rf"[{_OPEN}]*(?:[^\s{_CJK}]*\d {_UNIT}|[^\s{_CJK}]*[{_OPEN}]+(?![{_OPEN}])[{_CJK}]|[^\s{_CJK}]+|[{_CJK}])"
    rf"[{_CLOSE}]*|\s+"
)


def wrap(text: str, width: int, first: int = 0, indent: int = 0) -> str:
    """``text`` in lines of at most ``width`` columns, where ``first`` columns of the first line are taken.

    Lines after it begin with ``indent`` spaces. What is wider than a whole line, an address of the web, sticks out.
    """
    from rich.cells import cell_len

    said, at, begun = "", first, False
    for piece in _PIECE.findall(text):
        size, space = cell_len(piece), piece.isspace()
        if begun and at + (0 if space else size) > width:
            said, at, begun = said.rstrip() + "\n" + " " * indent, indent, False
        if begun or not space:
            said, at, begun = said + piece, at + size, True
    return said.rstrip()


class Prose:
    """Text for rich, in as many lines as the width that it gives asks for; styles stay."""

    LEAST = 16  # columns: wide enough for any IPv4 address

    def __init__(self, text: str | Text) -> None:
        from rich.text import Text

        self.text = text if isinstance(text, Text) else Text(text)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        for line in self.text.split("\n", allow_blank=True):
            if line.cell_len <= options.max_width:
                yield line
                continue
            at = 0
            for part in wrap(line.plain, options.max_width).split("\n"):
                at = line.plain.index(part, at)
                yield line[at : at + len(part)]
                at += len(part)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        from rich.cells import cell_len
        from rich.measure import Measurement

        longest = max(map(cell_len, _PIECE.findall(self.text.plain)), default=0)
        return Measurement(min(longest, self.LEAST), max(map(cell_len, self.text.plain.split("\n"))))
