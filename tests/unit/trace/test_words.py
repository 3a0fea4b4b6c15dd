"""What is said about facts and findings: both languages, placeholders, and text of strangers."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from observed import HOST, PAIR, ROUTED, facts

from camrelay.trace import words
from camrelay.trace.facts import Fact, Finding
from camrelay.trace.judge import judge
from camrelay.trace.reading import reasons

# Language


@pytest.mark.parametrize(
    ("option", "locales", "expected"),
    [
        (None, ("", "", "ja_JP.UTF-8"), "ja"),
        (None, (None, None, "en_US.UTF-8"), "en"),
        (None, ("C.UTF-8", "ja_JP.UTF-8", "ja_JP.UTF-8"), "en"),
        (None, (None, "ja_JP.eucJP", "de_DE.UTF-8"), "ja"),
        (None, (), "en"),
        ("ja", ("en_US.UTF-8",), "ja"),
        ("en", ("ja_JP.UTF-8",), "en"),
        ("JA", (), "ja"),
    ],
)
def test_the_option_decides_then_the_first_locale(
    option: str | None, locales: tuple[str | None, ...], expected: str
) -> None:
    assert words.language(option, *locales) == expected


# Placeholders


@pytest.mark.parametrize(
    ("text", "detail", "expected"),
    [
        ("at {by}", {"by": "10.0.0.1"}, "at 10.0.0.1"),
        ("at {by}", {}, "at ?"),
        ("at {udp.by|tcp.by}", {"tcp.by": "10.0.0.1"}, "at 10.0.0.1"),
        ("at {udp.by|tcp.by}", {"udp.by": "", "tcp.by": None}, "at ?"),
        ("answers[[ in {ms} ms]][[, TTL {ttl}]].", {"ttl": 63}, "answers, TTL 63."),
        ("[[{bits} bits]]", {}, ""),
        ("[[said]]", {}, "said"),
        ("{ms} ms", {"ms": 0.123456}, "0.123 ms"),
        ("{ms} ms", {"ms": 4100.7}, "4101 ms"),
        ("{count} of it", {"count": 0}, "0 of it"),
        ("{names}", {"names": ["a", "b"]}, "a, b"),
        ("{names}", {"names": []}, "?"),
        ("{names}", {"names": list("abcdefghijk")}, "a, b, c, d, e, f, g, h … (+3)"),
    ],
)
def test_placeholders(text: str, detail: dict[str, Any], expected: str) -> None:
    assert words.fill(text, detail) == expected


def test_lists_are_joined_as_the_language_does() -> None:
    assert words.fill("{names}", {"names": ["花子", "太郎"]}, "ja") == "花子、太郎"


@pytest.mark.parametrize("name", ["{by}", "{0.__class__}", "[[x]]", "%s", "<way>", "{", "}}", "[[{by}]]"])
def test_text_of_strangers_is_never_read_as_ours(name: str) -> None:
    assert words.fill("{nick} at {by}", {"nick": name, "by": "10.0.0.1"}) == f"{name} at 10.0.0.1"
    assert words.fill("[[{nick}, ]]at {by}", {"nick": name, "by": "10.0.0.1"}) == f"{name}, at 10.0.0.1"


def test_a_long_value_is_cut() -> None:
    assert len(words.fill("{nick}", {"nick": "x" * 10_000})) < 300


@given(
    st.text(),
    st.dictionaries(st.text(), st.text() | st.none() | st.integers() | st.floats() | st.lists(st.text())),
)
def test_filling_never_raises(text: str, detail: dict[str, Any]) -> None:
    words.fill(text, detail)


# Reasons


def test_reasons_are_said_in_japanese_where_we_can() -> None:
    fact = Fact("view", "not-given", detail={"why": "iptux has no such question"})
    assert (
        words.meaning(fact, "ja")
        == "このクライアントは一覧を開示しません: iptux にはこの問い合わせがありません"
    )
    assert words.meaning(fact, "en") == "its client does not show its list: iptux has no such question"
    assert words.reason("something new") == "something new"


@pytest.mark.parametrize(("pattern", "japanese"), reasons())
def test_every_reason_has_its_japanese_with_what_varies_in_order(
    pattern: re.Pattern[str], japanese: str
) -> None:
    assert pattern.groups == japanese.count("{}")
    assert re.search(r"[ぁ-ん]|指定|可能", japanese)


def test_what_varies_in_a_reason_is_not_read_as_ours() -> None:
    assert words.reason("{} says: refused") == "{} が「拒否」と通知しました"
    assert words.reason(r"\1 says: refused") == r"\1 が「拒否」と通知しました"


# Facts


def test_a_fact_is_said_in_both_languages() -> None:
    fact = Fact("udp", "answered", detail={"ms": 12.0})
    assert words.title("udp", "en") == "UDP 2425 (are you there?)"
    assert words.title("udp", "ja") == "UDP 2425(存在確認)"
    assert words.meaning(fact, "en") == "answers in 12 ms"
    assert words.meaning(fact, "ja") == "応答あり(12 ms)"
    assert words.good(fact) is True
    assert words.good(Fact("icmp", "silent")) == "neutral"
    assert words.good(Fact("udp", "silent")) is False


def test_directions_have_titles() -> None:
    assert words.title("udp-out", "en") == "UDP 2425, out"
    assert words.title("udp-in", "ja") == "UDP 2425(受け)"


def test_what_a_newer_peer_says_is_shown_as_it_is() -> None:
    for fact in (Fact("moon", "full"), Fact("udp", "sung", detail={"by": "x"})):
        assert words.meaning(fact, "en") == fact.outcome
        assert words.good(fact) == "neutral"
    assert words.title("moon", "ja") == "moon"


# Findings


def test_a_finding_says_what_is_the_matter_and_what_to_do() -> None:
    (finding,) = judge("host", facts(ROUTED | {"pointed": "yes"}), HOST)
    assert words.say(finding, "en").startswith("Only one side has the broadcast setting: 10.77.2.11 sends")
    assert words.do(finding, "en").startswith("Nothing to do: camrelay announces both sides")
    assert words.say(finding, "ja").startswith("片側だけにブロードキャスト設定があります。10.77.2.11 は")
    assert words.severity(finding.severity, "ja") == "参考"


def test_a_direction_names_both_ends() -> None:
    seen = facts({"udp-out": "passes", "udp-in": "silent"})
    (finding,) = judge("pair", seen, PAIR)
    assert words.say(finding, "en").startswith(
        "UDP 2425 passes from tokyo to osaka, but not from osaka to tokyo"
    )
    assert "osaka のセグメント(10.77.2.2)から tokyo のセグメント(10.77.1.2)" in words.do(finding, "ja")


def test_only_words_of_ours_become_part_of_a_text() -> None:
    """``from`` and ``to`` of a finding are written into the text before it is filled: not so a stranger's."""
    forged = Finding("pair-one-way", "fault", {"way": "out", "back": "in", "from": "{here}", "to": "there"})
    assert "{" not in words.say(forged, "en").replace("{<", "")
    assert words.say(Finding("pair-one-way", "fault", {}), "en")


def test_an_unknown_verdict_is_shown_by_its_id() -> None:
    finding = Finding("from-the-future", "alarm", {})
    assert (words.say(finding, "en"), words.do(finding, "en")) == ("from-the-future", "")
    assert words.severity("alarm", "en") == "alarm"
