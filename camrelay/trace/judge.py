"""Which verdicts fit the facts. No verdict is known here by name: the first that fits of a concern is the finding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from camrelay.trace.facts import FAULT, NOTE, WARNING, Fact, Finding
from camrelay.trace.reading import ABSENT, ANY, NOT_CHECKED, borrows, first, rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from camrelay.trace.reading import Borrow, Conditions, Rule

WORST_FIRST = (FAULT, WARNING, NOTE)
TURNED = {"-out": "-in", "-in": "-out"}

Outcomes = dict[str, set[str]]


def judge(about: str, facts: Iterable[Fact], subject: Mapping[str, Any] | None = None) -> list[Finding]:
    """The findings, worst first, in the order of the verdict files.

    ``about``: "host", "pair", "path", "why" or "doctor". ``subject``: what the texts call by a plain name. Of a host:
    target, user, here, here_address, far. Of a pair: here, there, here_address, there_address. Of a path: first,
    second, first_address, second_address, first_relay, second_relay, first_relay_address, second_relay_address. Of why:
    user, address, here. A name that is missing is shown as "?". Never raises, whatever the facts are.
    """
    known = list(facts)
    called = dict(subject or {})
    found, spare = _fitting(about, known, called)
    filled: set[str] = set()
    outcomes = _outcomes(known)
    for borrow in borrows(about):
        if borrow.slot not in filled and _holds(borrow.when, borrow.unless, outcomes):
            filled.add(borrow.slot)
            found += _or_spare(*_borrowed(borrow, known, called))
    found = _or_spare(found, spare)
    return sorted(found, key=lambda finding: WORST_FIRST.index(finding.severity))


def exit_code(findings: Iterable[Finding]) -> int:
    """1 if somebody should act, else 0: notes are for the reader's peace of mind."""
    return int(any(finding.severity != NOTE for finding in findings))


def _fitting(
    about: str, facts: list[Fact], subject: dict[str, Any], concerns: tuple[str, ...] = ()
) -> tuple[list[Finding], list[Finding]]:
    """The findings, and those of last resort."""
    outcomes = _outcomes(facts)
    detail = _details(facts) | subject
    found: dict[str, Finding] = {}
    spare: dict[str, Finding] = {}
    for rule in rules(about):
        wanted = not concerns or rule.concern in concerns
        if wanted and rule.concern not in found and _fits(rule, outcomes, detail):
            finding = Finding(rule.verdict.id, rule.verdict.severity, detail | rule.given)
            (spare if rule.verdict.last_resort else found).setdefault(rule.concern, finding)
    return list(found.values()), [finding for concern, finding in spare.items() if concern not in found]


def _or_spare(found: list[Finding], spare: list[Finding]) -> list[Finding]:
    return found if any(finding.severity == FAULT for finding in found) else [*found, *spare]


def _borrowed(
    borrow: Borrow, facts: list[Fact], subject: dict[str, Any]
) -> tuple[list[Finding], list[Finding]]:
    seen = [
        msgspec.structs.replace(
            fact, role=borrow.roles[fact.role], check=_turned(fact.check) if borrow.swap else fact.check
        )
        for fact in facts
        if fact.role in borrow.roles
    ]
    called = {there: subject[here] for there, here in borrow.subject.items() if here in subject}
    return _fitting(borrow.of, seen, called or subject, borrow.concerns)


def _turned(check: str) -> str:
    for end, other in TURNED.items():
        if check.endswith(end):
            return check.removesuffix(end) + other
    return check


def _outcomes(facts: Iterable[Fact]) -> Outcomes:
    outcomes: Outcomes = {}
    for fact in facts:
        outcomes.setdefault(fact.key, set()).add(fact.outcome)
    return outcomes


def _details(facts: Iterable[Fact]) -> dict[str, Any]:
    """Every detail as "udp.by"; the first fact of a key counts. "far.udp.relay": who looked."""
    detail: dict[str, Any] = {}
    for fact in facts:
        for name, value in fact.detail.items():
            detail.setdefault(f"{fact.key}.{name}", value)
        if fact.by:
            detail.setdefault(f"{fact.key}.relay", fact.by)
    return detail


def _fits(rule: Rule, outcomes: Outcomes, detail: dict[str, Any]) -> bool:
    return (
        _holds(rule.when, rule.unless, outcomes)
        and all(any(_holds(each, {}, outcomes) for each in group) for group in rule.one_of)
        and all(_same(detail, name, text) is True for name, text in rule.equal.items())
        and all(_same(detail, name, text) is False for name, text in rule.unequal.items())
    )


def _holds(when: Conditions, unless: Conditions, outcomes: Outcomes) -> bool:
    return all(_is(outcomes.get(key, set()), wanted) for key, wanted in when.items()) and not any(
        _is(outcomes.get(key, set()), unwanted) for key, unwanted in unless.items()
    )


def _is(found: set[str], wanted: tuple[str, ...]) -> bool:
    real = found - {NOT_CHECKED}
    return bool(found & set(wanted)) or (ANY in wanted and bool(real)) or (ABSENT in wanted and not real)


def _same(detail: dict[str, Any], name: str, text: str) -> bool | None:
    """Whether a detail reads like the text, "{name}" being another detail. None: one of them is not known."""
    right = first(text[1:-1], detail) if text.startswith("{") else text
    left = first(name, detail)
    return None if left is None or right is None else str(left) == str(right)
