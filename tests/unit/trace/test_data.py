"""The texts and verdicts as data: complete, consistent, in both languages."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from camrelay.trace.reading import ABSENT, ANY, borrows, checks, put_in, rules, verdicts
from camrelay.trace.words import LANGUAGES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from camrelay.trace.reading import Conditions, Rule

ABOUT = ("host", "pair", "path", "why", "doctor")
ROLES = {"", "far", "pair", "1", "2", "1far", "2far"}
EVERY_RULE = [rule for about in ABOUT for rule in rules(about)]
PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
SUBJECT = {
    "host": {"target", "user", "here", "here_address", "far", "far_address"},
    "pair": {"here", "there", "here_address", "there_address"},
    "path": {
        "first", "second", "first_address", "second_address", "first_relay", "second_relay",
        "first_relay_address", "second_relay_address",
    },
    "why": {"user", "address", "here"},
}  # fmt: skip
KEYS = {
    "host": {"", "far", "pair"},
    "pair": {""},
    "path": {"", "1", "2", "1far", "2far"},
    "why": {""},
    "doctor": {""},
}


def shape(text: str) -> tuple[list[str], int]:
    """What must be the same in both languages: the placeholders, and how many parts are optional."""
    return sorted(PLACEHOLDER.findall(text)), len(re.findall(r"\[\[.*?\]\]", text, re.DOTALL))


@pytest.mark.parametrize("name", checks())
def test_every_outcome_is_said_in_both_languages_with_the_same_details(name: str) -> None:
    check = checks()[name]
    assert check.title.en.strip()
    assert check.title.ja.strip()
    assert check.outcomes
    for outcome, said in check.outcomes.items():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", outcome)
        assert said.en.strip(), outcome
        assert said.ja.strip(), outcome
        assert set(shape(said.en)[0]) == set(shape(said.ja)[0]), outcome


@pytest.mark.parametrize("identifier", verdicts())
def test_every_verdict_says_the_same_in_both_languages(identifier: str) -> None:
    verdict = verdicts()[identifier]
    assert verdict.about in ABOUT
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", identifier)
    for part in ("say", "do"):
        texts = [getattr(getattr(verdict, language), part) for language in LANGUAGES]
        assert set(shape(texts[0])[0]) == set(shape(texts[1])[0]), part
        for text in texts:
            assert text == text.strip(), part
            assert text or (part == "do" and verdict.severity == "note"), part
            assert "\n" not in text, part
            assert text.count("[[") == text.count("]]"), part
            assert text.count("{") == text.count("}"), part
    assert re.search(r"[ぁ-ん]", verdict.ja.say)
    assert verdict.en.say.isascii()
    assert verdict.en.do.isascii()


@pytest.mark.parametrize(
    "rule", EVERY_RULE, ids=lambda rule: "-".join((rule.verdict.id, *rule.given.values()))
)
def test_verdicts_name_only_checks_and_outcomes_that_exist(rule: Rule) -> None:
    for key, outcomes in conditions(
        rule.when, rule.unless, *(each for group in rule.one_of for each in group)
    ):
        role, _, name = key.rpartition(".")
        assert name in checks(), key
        assert role in KEYS[rule.verdict.about], key
        assert set(outcomes) <= set(checks()[name].outcomes) | {ABSENT, ANY}, key


@pytest.mark.parametrize(
    "rule", EVERY_RULE, ids=lambda rule: "-".join((rule.verdict.id, *rule.given.values()))
)
def test_texts_of_verdicts_use_only_details_of_checks_and_of_the_subject(rule: Rule) -> None:
    verdict = rule.verdict
    for text in (verdict.en.say, verdict.en.do, verdict.ja.say, verdict.ja.do):
        whole = put_in(text, rule.given)
        assert not re.search(r"<\w+>", whole), "a word that `each` does not have"
        for names in PLACEHOLDER.findall(whole):
            for name in names.split("|"):
                *key, _ = name.split(".")
                if key:
                    assert key[-1] in checks(), name
                    assert ".".join(key[:-1]) in KEYS[verdict.about], name
                elif verdict.about in SUBJECT:
                    assert name in SUBJECT[verdict.about], name


@pytest.mark.parametrize("about", ABOUT)
def test_what_is_borrowed_is_there(about: str) -> None:
    for borrow in borrows(about):
        assert rules(borrow.of)
        assert set(borrow.roles) <= ROLES
        assert set(borrow.concerns) <= {rule.concern for rule in rules(borrow.of)}
        assert set(borrow.subject) <= SUBJECT[borrow.of]
        assert set(borrow.subject.values()) <= SUBJECT[about]


def test_the_checks_of_the_contract_are_there() -> None:
    host = (
        "name route neighbour arp icmp udp names answer-ttl info pubkey large mtu tcp path path-other others client"
        " view roster pointed segment"
    )
    pair = "udp tcp large calls mtu source speak-own speak-foreign path"
    both = [f"{check}-{way}" for check in pair.split() for way in ("out", "in")]
    assert {*host.split(), "link", *both} <= set(checks())


def conditions(*parts: Conditions) -> Iterator[tuple[str, tuple[str, ...]]]:
    for part in parts:
        yield from part.items()
