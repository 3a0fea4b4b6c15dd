"""Text broken into lines by columns on the screen: English between words, Japanese between any two characters.

Rule kept here (JIS X 4051, kinsoku): no line begins with closing punctuation or a small kana, none ends with an opening
bracket. rich breaks at spaces only.
"""

from __future__ import annotations

import re
from typing import Final

NOT_FIRST: Final = (
    "、。，．・：；？！」』）］｝〕〉》】ー々ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶ…,.:;?!)]}"
)
NOT_LAST: Final = "「『（［｛〔〈《【([{"

# What stays on one line: a word, or a character of those that need no space between them; with what clings to it.
_CJK, _OPEN, _CLOSE = r"\u2e80-\uffef", re.escape(NOT_LAST), re.escape(NOT_FIRST)
_PIECE = re.compile(rf"[{_OPEN}]*(?:[^\s{_CJK}]*[{_OPEN}][{_CJK}]|[^\s{_CJK}]+|[{_CJK}])[{_CLOSE}]*|\s+")


def wrap(text: str, width: int, first: int = 0, indent: int = 0) -> str:
    """``text`` in lines of at most ``width`` columns, where ``first`` columns of the first line are taken.

    Lines after it begin with ``indent`` spaces. What is wider than a whole line, an address of the web, sticks out.
    """
    from rich.cells import cell_len

    said, at, begun = "", first, False
    for piece in _PIECE.findall(text):
        size = cell_len(piece)
        if piece.isspace():
            piece, size = " ", 1
        if begun and at + (0 if piece == " " else size) > width:
            said, at, begun = said.rstrip(" ") + "\n" + " " * indent, indent, False
        if begun or piece != " ":
            said, at, begun = said + piece, at + size, True
    return said.rstrip(" ")
