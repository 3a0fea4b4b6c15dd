"""Names read in a wrong charset are found out; healthy ones are left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camrelay.ipmsg.mojibake import Likelier, likelier, oddness

CHARSETS = ("utf-8", "cp932", "gb18030", "cp949", "cp950", "cp1252", "cp1251", "latin-1")


def misread(text: str, right: str, wrong: str) -> Likelier | None:
    raw = text.encode(right)
    return likelier([raw.decode(wrong, "replace")], [raw], wrong)


@pytest.mark.parametrize(
    ("text", "right", "wrong"),
    [
        ("José", "utf-8", "cp932"),
        ("Müller", "utf-8", "cp932"),
        ("José", "cp1252", "cp932"),
        ("Иван", "utf-8", "cp932"),
        ("Иван", "cp1251", "cp932"),
        ("王伟", "gb18030", "cp932"),
        ("李娜", "gb18030", "cp932"),
        ("张敏 研发部", "gb18030", "cp932"),
        ("王小明", "gb18030", "utf-8"),
        ("王伟", "gb18030", "latin-1"),
        ("陳大文", "cp950", "cp932"),
        ("陳大文", "cp950", "gb18030"),
        ("田中", "cp932", "gb18030"),
        ("田中", "cp932", "utf-8"),
        ("田中", "utf-8", "gb18030"),
        ("山田太郎", "utf-8", "cp932"),
        ("山田太郎", "cp932", "latin-1"),
    ],
)
def test_bytes_that_we_misread_are_what_they_are_in_the_likelier_charset(
    text: str, right: str, wrong: str
) -> None:
    assert misread(text, right, wrong) == Likelier(right, (text,))


@pytest.mark.parametrize(
    ("text", "right", "wrong"),
    [
        ("田中", "utf-8", "cp1252"),
        ("田中さん", "utf-8", "cp932"),
        ("José", "utf-8", "cp1252"),
        ("王伟明", "gb18030", "utf-16-be"),
        ("王伟", "gb18030", "cp1252"),
    ],
)
def test_names_that_came_garbled_as_utf8_are_told_from_ours(text: str, right: str, wrong: str) -> None:
    found = likelier([text.encode(right).decode(wrong)], [None], "utf-8")
    assert found == Likelier(right, (text,), wrong)


def test_lost_bytes_that_fit_no_charset_are_told() -> None:
    assert likelier(["\ufffd\ufffd"], [None], "utf-8") == Likelier("", ())


@pytest.mark.parametrize(
    "text",
    [
        "田中", "髙橋 﨑", "ﾀﾅｶ ﾀﾛｳ", "営業ﾁｰﾑ", "総務ｸﾞﾙｰﾌﾟ", "ﾐｷ", "NTTﾃﾞｰﾀ", "Webﾁｰﾑ", "さくら★", "王小明", "李喆",
        "陳大文", "김철수", "Größe", "Ångström", "Þór Æsir", "Łukasz", "Иван Петров", "Γιώργος", "(´Д｀)", "田中😀",
        "ｶﾞｯﾃﾝ", "―経理―", "①課", "",
    ],
)  # fmt: skip
def test_healthy_names_are_not_suspected(text: str) -> None:
    for charset in CHARSETS:
        try:
            raw = text.encode(charset)
        except UnicodeError:
            continue
        assert likelier([text], [raw], charset) is None
    assert likelier([text], [None], "utf-8") is None


def _repertoire(charset: str, first: range, second: range) -> list[str]:
    found = []
    for a in first:
        for b in second:
            try:
                found.append(bytes((a, b)).decode(charset))
            except UnicodeError:
                continue
    return [c for c in found if len(c) == 1 and c.isalpha()]


CHINESE = _repertoire("gb2312", range(0xB0, 0xF8), range(0xA1, 0xFF))
JAPANESE = _repertoire("cp932", range(0x82, 0x98), range(0x9F, 0xFD)) + list("あいうえおかきくけこアイウエオ")
JAPANESE = [c for c in JAPANESE if "\u3041" <= c <= "\u9fff"]
LATIN = list("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
SYLLABLES = [c + m for c in "ｱｲｳｴｵｶｷｸｹｺｻｼｽｾｿﾀﾁﾂﾃﾄﾅﾆﾇﾈﾉﾊﾋﾌﾍﾎﾏﾐﾑﾒﾓﾔﾕﾖﾗﾘﾙﾚﾛﾜﾝ" for m in ("", "ｰ")] + [
    "ｶﾞ",
    "ﾊﾟ",
    "ｼｮ",
]
kana = st.lists(st.sampled_from(SYLLABLES), min_size=3, max_size=8).map("".join)
japanese = st.tuples(
    st.text(st.sampled_from(JAPANESE), max_size=6), st.sampled_from(("", " ")), kana | st.just("")
)
chinese = st.text(st.sampled_from(CHINESE), min_size=1, max_size=4)
latin = st.lists(
    st.tuples(
        st.text(st.sampled_from(LATIN), min_size=1, max_size=6), st.sampled_from(["", "é", "ü", "ø", "ñ"])
    ),
    min_size=1,
    max_size=4,
).map(lambda parts: "".join(a + b for a, b in parts))


@given(japanese.map("".join))
def test_no_japanese_name_is_suspected(text: str) -> None:
    assert likelier([text], [text.encode("cp932")], "cp932") is None
    assert likelier([text], [None], "utf-8") is None


@given(chinese)
def test_no_chinese_name_is_suspected(text: str) -> None:
    assert likelier([text], [text.encode("gb18030")], "gb18030") is None
    assert likelier([text], [None], "utf-8") is None


@given(latin)
def test_no_latin_name_is_suspected(text: str) -> None:
    assert likelier([text], [text.encode("cp1252")], "cp1252") is None
    assert likelier([text], [None], "utf-8") is None


@given(st.binary(max_size=64), st.sampled_from(CHARSETS))
def test_any_bytes_in_any_charset_are_survived(raw: bytes, charset: str) -> None:
    text = raw.decode(charset, "replace")
    found = likelier([text, "x"], [raw, None], charset)
    assert found is None or not found.charset or sum(map(oddness, found.texts)) == 0
    likelier([text], [None], "utf-8")
