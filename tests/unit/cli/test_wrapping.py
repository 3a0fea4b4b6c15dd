"""Verdicts on a narrow screen: nothing is lost, nothing sticks out, and no line begins or ends as none may."""

from __future__ import annotations

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from camrelay.cli.wrapping import NOT_FIRST, NOT_LAST, wrap

JAPANESE = "「受信の規則」→「スコープ」タブに、ほかのセグメントを追加してください(管理者として)。"
CLASP = re.escape(NOT_FIRST + NOT_LAST)
TEXT = st.text(st.sampled_from("ab 、。「」あっー漢字(.)"), max_size=80)


def test_english_is_broken_between_words():
    assert wrap("the router drops UDP 2425", 13, 3, 3) == "the router\n   drops UDP\n   2425"


def test_what_fits_stays_on_one_line():
    assert wrap(JAPANESE, 200) == JAPANESE


def test_japanese_is_broken_between_characters_and_fills_the_line():
    assert wrap("途中のルーターは通します", 10) == "途中のルー\nターは通し\nます"


def test_english_words_in_japanese_stay_whole():
    assert wrap("途中のルーターは UDP 2425 を通します", 18) == "途中のルーターは\nUDP 2425 を通しま\nす"


def test_a_number_and_its_unit_stay_together():
    assert wrap("asked again in 100 s", 18) == "asked again in\n100 s"
    assert wrap("最後の受信は 9 秒前", 15) == "最後の受信は\n9 秒前"
    assert wrap("ask 100 servers", 9) == "ask 100\nservers"


def test_spaces_in_names_stay_as_they_are():
    name = "山田\u3000太郎  営業"
    assert wrap(name, 40) == name


def test_a_word_wider_than_the_line_sticks_out_alone():
    assert wrap("see https://example.org/page now", 10) == "see\nhttps://example.org/page\nnow"


@given(TEXT, st.integers(12, 40), st.integers(0, 9), st.integers(0, 3))
def test_nothing_is_lost_and_no_line_begins_or_ends_as_none_may(text, width, first, indent):
    lines = wrap(text, width, first, indent).split("\n")
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    for before, line in pairwise(lines):
        assert line.startswith(" " * indent)
        begins = line.strip()[0]
        assert begins not in NOT_FIRST or f" {begins}" in text  # a space may be followed by anything
        ends = before[-1]  # a space may follow anything; "(「)" has no place to be broken at
        assert ends not in NOT_LAST or f"{ends} " in text or re.search(f"[{CLASP}][{CLASP}]", text)


@given(st.text(st.sampled_from("あ漢字ン "), max_size=80), st.integers(12, 40))
def test_no_line_is_wider_than_the_screen(text, width):
    assert all(cell_len(line) <= width for line in wrap(text, width, 5, 3).split("\n")[1:])
