"""Facts and findings in words, English or Japanese: texts of ``data/`` with their placeholders filled.

"{udp.by}" is a detail, "{udp.by|tcp.by}" the first that is known, and "[[ ... ]]" is left out if a placeholder in it is
not known. Values are put in once and never read as text of ours again; making strangers' text safe for a terminal is
the caller's business.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Literal

from camrelay.trace.reading import checks, first, put_in, reasons, verdicts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from camrelay.trace.facts import Fact, Finding
    from camrelay.trace.reading import Advice, Mark

Language = Literal["en", "ja"]

LANGUAGES: Final = ("en", "ja")
UNKNOWN: Final = "?"  # in the place of a detail that is not there
MOST_LISTED: Final = 8  # of a list in a sentence: more is not read
MOST_CHARACTERS: Final = 200  # of one value: strangers choose names
SEVERITIES: Final = {
    "fault": {"en": "fault", "ja": "障害"},
    "warning": {"en": "warning", "ja": "警告"},
    "note": {"en": "note", "ja": "参考"},
}

_OPTIONAL = re.compile(r"\[\[(.*?)\]\]", re.DOTALL)
_REASON = re.compile(r"(^|\.)why$")  # the name of a detail that is a reason
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


def language(option: str | None, *locales: str | None) -> Language:
    """The language asked for, else that of the first locale text that says anything (LC_ALL, LC_MESSAGES, LANG)."""
    chosen = option or next((text for text in locales if text), "")
    return "ja" if chosen.casefold().startswith("ja") else "en"


def title(check: str, lang: Language) -> str:
    """A check's name for people; an unknown check's own name (a peer may be newer than we are)."""
    known = checks().get(check)
    return getattr(known.title, lang) if known else check


def meaning(fact: Fact, lang: Language) -> str:
    """What a fact means, in one sentence; of one that we have no words for, its outcome."""
    check = checks().get(fact.check)
    outcome = check.outcomes.get(fact.outcome) if check else None
    if outcome is None:
        return fact.outcome
    return fill(getattr(outcome, lang), {"relay": fact.by} | fact.detail, lang)


def good(fact: Fact) -> Mark:
    """Whether a fact is as it should be: True, False or "neutral"."""
    check = checks().get(fact.check)
    outcome = check.outcomes.get(fact.outcome) if check else None
    return outcome.good if outcome else "neutral"


def say(finding: Finding, lang: Language) -> str:
    """What is the matter."""
    advice, given = _advice(finding, lang)
    return fill(put_in(advice.say, given), finding.detail, lang) if advice else finding.id


def do(finding: Finding, lang: Language) -> str:
    """Who has to do what; empty if nobody."""
    advice, given = _advice(finding, lang)
    return fill(put_in(advice.do, given), finding.detail, lang) if advice else ""


def severity(name: str, lang: Language) -> str:
    """The name of a severity."""
    return SEVERITIES.get(name, {}).get(lang, name)


def fill(text: str, detail: Mapping[str, Any], lang: Language = "en") -> str:
    """``text`` with its placeholders filled from ``detail``."""

    def optional(found: re.Match[str]) -> str:
        whole = all(first(name, detail) is not None for name in _PLACEHOLDER.findall(found[1]))
        return found[1] if whole else ""

    def value(found: re.Match[str]) -> str:
        known = first(found[1], detail)
        if known is None:
            return UNKNOWN
        whole = _written(known, lang)
        return reason(whole) if lang == "ja" and _REASON.search(found[1]) else whole

    return _PLACEHOLDER.sub(value, _OPTIONAL.sub(optional, text)).strip()


def _advice(finding: Finding, lang: Language) -> tuple[Advice | None, dict[str, str]]:
    """The text, and the words of ``each`` that fit: only words of ours become part of a text."""
    verdict = verdicts().get(finding.id)
    if verdict is None:
        return None, {}
    fitting = (
        given
        for given in verdict.each
        if all(finding.detail.get(word) == value for word, value in given.items())
    )
    return getattr(verdict, lang), next(fitting, {})


def reason(text: str) -> str:
    """The Japanese of a reason that a check gave in English; the same text if we have none for it."""
    for pattern, japanese in reasons():
        if found := pattern.fullmatch(text):
            groups = iter(found.groups())
            return "".join(
                part if part != "{}" else next(groups, "") for part in re.split(r"(\{\})", japanese)
            )
    return text


def _written(value: Any, lang: Language) -> str:
    if isinstance(value, list | tuple):
        shown = ("、" if lang == "ja" else ", ").join(_written(each, lang) for each in value[:MOST_LISTED])
        return f"{shown} … (+{len(value) - MOST_LISTED})" if len(value) > MOST_LISTED else shown
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    text = str(value)
    return text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + "…"
