"""trace why: a card for people, all of it as JSON, exit codes; in both languages."""

from __future__ import annotations

from typing import Any

import pytest

from camrelay.cli.whycard import MOST_SHOWN, WORDS, age, worded
from camrelay.trace.facts import Fact

ROW: dict[str, Any] = {
    "logon": "wang", "host": "PC-01", "nick": "ﾍｰ\x1b[2J", "group": "g", "address": "10.1.0.5", "port": 2425,
    "segment": "10.1.0.0/24", "kind": "unknown", "version": "", "state": "online", "home": True, "via": None,
    "learned": "broadcast", "pinned": False,
    "words": {
        "command": "BR_ENTRY", "options": [], "number": "7", "line": "1:7:wang:PC-01:1:ﾍｰ␀g", "charset": "cp932",
        "proven": False, "marked": False, "raw": {"nick": "cdf5ceb0"},
        "garbled": {"charset": "gb18030", "names": ["wang", "PC-01", "王伟", "g"], "read_as": ""},
    },
    "holders": [
        {"relay": "hq", "ours": True, "role": "owner", "address": "10.1.0.5", "claim": 1, "linked": True},
        {"relay": "hq-2", "ours": False, "role": "witness", "address": "10.1.0.5", "claim": 1, "linked": False},
    ],
    "audience": [
        {"segment": "10.1.0.0/24", "listeners": 9, "told": [], "why": "own", "rule": None, "by": None},
        {"segment": "10.2.0.*", "listeners": 0, "told": [], "why": "relay", "rule": None, "by": "lab"},
        {"segment": "10.3.0.*", "listeners": 0, "told": [], "why": "relay", "rule": None, "by": "lab"},
        {"segment": "10.4.0.0/24", "listeners": 12, "why": "", "rule": None, "by": None, "told": [
            {"how": "broadcast", "command": "BR_ABSENCE", "charset": "cp932", "listeners": 9},
            {"how": "unicast", "command": "ANSENTRY", "charset": "gb18030", "listeners": 3},
        ]},
        {"segment": "10.5.0.*", "listeners": 4, "told": [], "why": "rule", "rule": 2, "by": None},
    ],
    "more_segments": 0,
    "informed": [{"relay": "lab", "why": "", "rule": None}, {"relay": "shop", "why": "rule", "rule": 3}],
    "alike": [{
        "logon": "wang", "host": "OLD", "nick": "x", "address": "10.1.0.9", "state": "offline", "heard": 90000.0,
        "same": "logon", "same_nick": False,
    }],
    "more_alike": 0,
    "life": {
        "heard": 12.0, "said": 3700.0, "joined": 7300.0, "unanswered": 0, "waiting": ["BR_ENTRY"], "asked_in": 138.0,
        "gone_in": 178.0, "forgotten_in": 604788.0, "listed": 7299.0, "farewell": None,
    },
    "doubts": {"twin": "10.1.0.77", "rival": None, "candidate": None, "decided_in": None},
}  # fmt: skip
FACTS = [
    {"check": "known", "outcome": "yes", "detail": {"nick": "x", "logon": "wang", "host": "PC", "address": "10.1.0.5"}},
    {"check": "heard", "outcome": "broadcast", "detail": {"age": 12.0}},
    {"check": "charset", "outcome": "garbled", "detail": {"charset": "cp932", "likelier": "gb18030", "reads": ["王"]}},
    {"check": "twin", "outcome": "live", "detail": {"other": "10.1.0.77"}},
    {"check": "forgotten", "outcome": "here", "detail": {"asked": 138.0, "gone": 178.0, "forgotten": 604788.0}},
]  # fmt: skip
HISTORY = [{"age": 30.0, "what": "moved", "address": "10.1.0.5", "detail": "10.1.0.6"}]
ANSWER = {
    "word": "wang", "here": "hq", "segment": None, "facts": [],
    "users": [{"row": ROW, "history": HISTORY, "facts": FACTS}],
}  # fmt: skip
NOBODY = {
    "word": "10.9.9.9", "here": "hq", "segment": None, "users": [],
    "facts": [{"check": "known", "outcome": "outside", "detail": {"word": "10.9.9.9"}}],
}  # fmt: skip


@pytest.fixture
def asks(run, daemon):
    daemon.answers("why", ANSWER)
    return lambda *words: run("trace", "why", "--config", daemon.config, *words)


def test_the_card_says_where_from_whose_to_whom_and_how_long(asks, daemon):
    page = asks("wang", "--lang", "en")
    assert daemon.asked[-1] == {"v": 1, "do": "why", "more": {"user": "wang"}}
    for text in (
        "heard on our wire (BR_ENTRY)",
        "here for 2 h 1 min",
        "datagram: 1:7:wang:PC-01:1:ﾍｰ␀g",
        "this relay: owner",
        "hq-2: witness: hears it, too (no link now)",
        "10.1.0.0/24: its own segment",
        "2 x by relay lab",
        "10.4.0.0/24: BR_ABSENCE in cp932 to all (9) + ANSENTRY in gb18030 to each of 3",
        "10.5.0.*: not: hidden by sharing rule 2",
        "relay shop: not: hidden by sharing rule 3",
        "likelier gb18030: wang PC-01 王伟 g",
        "asked in 2 min, given up in 2 min, forgotten in 7 d",
        "asked, no answer yet: BR_ENTRY",
        "same logon: wang/OLD 10.1.0.9, gone, 25 h ago",
        "30 s ago: moved from 10.1.0.6 to 10.1.0.5",
    ):
        assert text in page.out, text
    assert "Two machines say that they are" in page.out
    assert "\x1b" not in page.out
    assert page.code == 1


def test_the_same_in_japanese(asks):
    page = asks("wang", "--lang", "ja")
    for text in (
        "自セグメントのブロードキャストを受信(BR_ENTRY)",
        "共有規則 2 番",
        "2 分後にオフライン扱い",
        "30 秒前",
    ):
        assert text in page.out, text


def test_json_has_everything_and_what_it_means(asks):
    page = asks("wang", "--json", "--lang", "en")
    (one,) = page.json["users"]
    assert one["row"] == ROW
    assert one["history"] == HISTORY
    assert [fact["check"] for fact in one["facts"]] == [fact["check"] for fact in FACTS]
    assert one["facts"][-1]["detail"] == FACTS[-1]["detail"]  # numbers
    assert one["facts"][-1]["meaning"] == "asked in 2 min, gone in 2 min, forgotten in 7 d"
    assert [verdict["id"] for verdict in one["verdicts"]] == ["why-twin", "why-garbled"]
    assert page.json["lang"] == "en"
    assert "facts" not in page.json


def test_nobody_is_a_finding_with_the_next_step(asks, daemon):
    daemon.answers("why", NOBODY)
    page = asks("10.9.9.9", "--lang", "en")
    assert page.code == 1
    assert "in no segment of this relay" in page.out
    assert "accept_from" in page.out
    page = asks("10.9.9.9", "--json")
    assert page.json["users"] == []
    assert [verdict["id"] for verdict in page.json["verdicts"]] == ["why-outside"]


def test_all_well_is_exit_code_0(asks, daemon):
    well = {**ROW, "nick": "Wang", "doubts": dict.fromkeys(ROW["doubts"])}
    daemon.answers("why", ANSWER | {"users": [{"row": well, "history": [], "facts": FACTS[:2]}]})
    page = asks("wang", "--lang", "en")
    assert page.code == 0
    assert "Nothing wrong was found." in page.out


def test_two_users_are_two_cards_and_the_worst_decides(asks, daemon):
    well = {"row": {**ROW, "nick": "Other", "address": "10.1.0.8"}, "history": [], "facts": FACTS[:2]}
    daemon.answers("why", ANSWER | {"users": [well, *ANSWER["users"]]})
    page = asks("wang", "--lang", "en")
    assert page.code == 1
    assert page.out.index("Other") < page.out.index("10.1.0.77")


def test_too_many_is_wrong_usage(asks, daemon):
    daemon.refuses("why", "21 users match 'a'", 2)
    assert asks("a").code == 2


def test_long_sections_are_cut_and_say_so(asks, daemon):
    many = [{**ROW["audience"][4], "segment": f"10.{n}.0.*"} for n in range(40)]
    daemon.answers(
        "why", ANSWER | {"users": [{"row": {**ROW, "audience": many}, "history": [], "facts": []}]}
    )
    page = asks("wang", "--lang", "en")
    assert f"and {40 + 2 - MOST_SHOWN} more (all in --json)" in page.out


@pytest.mark.parametrize("state", ["offline", "unverified", "online"])
@pytest.mark.parametrize("lang", ["en", "ja"])
@pytest.mark.parametrize("home", [True, False])
def test_every_state_has_a_card(asks, daemon, state, lang, home):
    life = {**ROW["life"], "asked_in": None, "unanswered": 2, "listed": None, "gone_in": None}
    row = {**ROW, "state": state, "home": home, "via": None if home else "lab", "life": life, "holders": []}
    daemon.answers("why", ANSWER | {"users": [{"row": row, "history": [], "facts": []}]})
    page = asks("wang", "--lang", lang)
    assert page.code == 0
    assert "None" not in page.out


def test_both_languages_have_the_same_words_with_the_same_places():
    import string

    def places(text):
        return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name)

    assert WORDS["en"].keys() == WORDS["ja"].keys()
    for key, text in WORDS["en"].items():
        assert places(text) == places(WORDS["ja"][key]), key


def test_ages_are_in_words():
    seconds = (0, 119, 120, 7199, 7200, 7260, 90000, 172800)
    assert [age(n, "en") for n in seconds] == [
        "0 s", "119 s", "2 min", "119 min", "2 h", "2 h 1 min", "25 h", "2 d",
    ]  # fmt: skip
    assert [age(n, "ja") for n in seconds][-3:] == ["2 時間 1 分", "25 時間", "2 日"]
    assert age(None, "en") == ""
    assert worded(Fact("heard", "told", detail={"age": 30.0, "relay": "x"}), "ja").detail == {
        "age": 30.0, "ago": "30 秒", "relay": "x",
    }  # fmt: skip
