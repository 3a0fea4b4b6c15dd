"""Charsets: nothing raises, and the order of guessing is what it says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camrelay.ipmsg.charset import agreeing, decode, encode, exactly, guess, is_utf8, surely_utf8

# Among them names that are no charset, and codecs that are no character encoding.
CHARSETS = [
    "cp932",
    "gb18030",
    "utf-8",
    "latin-1",
    "",
    "cp-nothing",
    "hex",
    "idna",
    "punycode",
    "undefined",
    "a\0b",
]


@given(st.binary(max_size=60), st.sampled_from(CHARSETS))
def test_decoding_never_raises(raw: bytes, charset: str) -> None:
    assert isinstance(decode(raw, charset), str)
    exactly(raw, charset)
    surely_utf8(raw)


@given(st.text(max_size=40), st.sampled_from(CHARSETS))
def test_encoding_never_raises(text: str, charset: str) -> None:
    assert isinstance(encode(text, charset), bytes)


@given(st.binary(max_size=60), st.sampled_from(CHARSETS), st.sampled_from(CHARSETS))
def test_guessing_never_raises_and_its_guess_reads_the_bytes(raw: bytes, codepage: str, known: str) -> None:
    assert exactly(raw, guess(raw, codepage, known=known)) is not None


@given(st.text(max_size=40), st.sampled_from(["gb18030", "utf-8"]))
def test_charsets_of_all_characters_lose_none(text: str, charset: str) -> None:
    text = text.encode("utf-8", "ignore").decode("utf-8")
    assert decode(encode(text, charset), charset) == text


def test_trail_byte_0x5c_is_no_backslash() -> None:
    assert decode(b"\x95\\\x8e\xa6\x83\\\x8eq", "cp932") == "表示ソ子"


def test_what_a_charset_lacks_costs_one_character() -> None:
    assert encode("한a", "cp932") == b"?a"
    assert decode(b"\xffa", "utf-8") == "\ufffda"


def test_a_charset_is_proven_only_by_all_names_together() -> None:
    nick, group = ("表示".encode("cp932"), "表示"), ("東京".encode("cp932"), "東京")
    assert agreeing([nick, group, (b"ascii", "other"), (b"\xff", None)], ["", "gb18030"]) == "cp932"
    assert agreeing([nick, (group[0], "京都")], ["cp932"]) is None
    assert agreeing([(b"ascii", "ascii")], ["cp932"]) is None
    assert agreeing([], []) is None


@pytest.mark.parametrize(
    ("raw", "codepage", "known", "kind", "expected"),
    [
        ("東京".encode("cp932"), "cp932", "", (), "cp932"),
        ("東京".encode(), "cp932", "", (), "utf-8"),  # would read as mojibake in CP932 as well
        ("東京".encode(), "cp932", "", ("gb18030",), "gb18030"),  # but FeiQ does not write it
        ("é".encode(), "cp932", "", (), "cp932"),  # two bytes prove nothing: half-width katakana
        ("张三".encode("gb18030"), "cp932", "gb18030", (), "gb18030"),
        ("中文".encode(), "cp932", "", ("utf-8", "gb18030"), "utf-8"),
        ("中文".encode("gb18030"), "cp932", "", ("utf-8", "gb18030"), "gb18030"),
        (b"\xff\xfe\xfd", "utf-8", "", (), "latin-1"),
        (b"plain", "cp932", "gb18030", ("utf-8",), "gb18030"),
        (b"plain", "no such", "", (), "utf-8"),
    ],
)
def test_the_order_of_guessing(
    raw: bytes, codepage: str, known: str, kind: tuple[str, ...], expected: str
) -> None:
    assert guess(raw, codepage, known=known, kind=kind) == expected


@pytest.mark.parametrize(
    ("name", "answer"), [("utf-8", True), ("UTF8", True), ("utf-16", False), ("cp932", False)]
)
def test_names_of_utf8(name: str, answer: bool) -> None:
    assert is_utf8(name) is answer
