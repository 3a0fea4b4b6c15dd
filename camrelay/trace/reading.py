"""Reads ``data/*.toml``, each once, when first asked. Their form is these structs.

A mistake in them is a mistake of ours: it raises at the first reading, and a unit test reads them all.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

ABSENT = "absent"  # an outcome that verdicts may name: no such fact, or "not-checked"
ANY = "any"  # an outcome that verdicts may name: any but the above
NOT_CHECKED = "not-checked"

Conditions = dict[str, tuple[str, ...]]  # key of a fact: the outcomes of which one must be there
Mark = bool | Literal["neutral"]
V = TypeVar("V")

WAYS = (("out", ", out", "(送り)"), ("in", ", in", "(受け)"))  # of checks between two relays


class Text(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One text in both languages."""

    en: str
    ja: str


class Outcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an outcome means, in one short sentence with {placeholders}; ``good`` decides the colour."""

    en: str
    ja: str
    good: Mark


class Check(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One check: its name for people, and everything it can find."""

    title: Text
    outcomes: dict[str, Outcome]


class Advice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is the matter, and who has to do what."""

    say: str
    do: str


class Verdict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What some facts together prove.

    It fits if every condition of ``when`` holds, in each group of ``one_of`` at least one set of conditions does, none
    of ``unless`` does, and every detail named in ``equal`` ("udp.by", or the first known of "udp.by|tcp.by") reads like
    its text ("{target}": the subject's value), in ``unequal`` otherwise. A detail that is not known does neither.
    ``last_resort``: it counts only where no fault was found, of whatever concern. ``each``: sets of words; the verdict
    is tried once with each, "<word>" replaced everywhere.
    """

    id: str
    about: str
    concern: str
    severity: Literal["note", "warning", "fault"]
    when: Conditions
    en: Advice
    ja: Advice
    one_of: tuple[tuple[Conditions, ...], ...] = ()
    unless: Conditions = {}
    equal: dict[str, str] = {}
    unequal: dict[str, str] = {}
    last_resort: bool = False
    each: tuple[dict[str, str], ...] = ({},)


class Borrow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Verdicts about one thing that also serve another: a user at the end of a path is a host.

    Facts with a role of ``roles`` are taken under the role it names, others left out; ``swap``: "-out" is read as
    "-in" and back; ``subject``: name there to name here; ``concerns``: only these, empty for all. Of one ``slot`` the
    first that fits ``when`` and ``unless`` counts.
    """

    about: str
    of: str
    slot: str
    roles: dict[str, str]
    when: Conditions = {}
    unless: Conditions = {}
    swap: bool = False
    subject: dict[str, str] = {}
    concerns: tuple[str, ...] = ()


class _Verdicts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    verdict: tuple[Verdict, ...] = ()
    borrow: tuple[Borrow, ...] = ()


class Rule(msgspec.Struct, frozen=True):
    """A verdict with the words of one of its ``each`` put in: what the judge tries."""

    verdict: Verdict
    given: dict[str, str]
    concern: str
    when: Conditions
    one_of: tuple[tuple[Conditions, ...], ...]
    unless: Conditions
    equal: dict[str, str]
    unequal: dict[str, str]


@cache
def checks() -> dict[str, Check]:
    """Every check by its name. Raises ValueError for one that two files define.

    A name that ends in "-" is written once for both directions, NAME-out and NAME-in.
    """
    found: dict[str, Check] = {}
    for document in _documents("checks"):
        for name, check in msgspec.convert(document, dict[str, Check]).items():
            for each, directed in _directed(name, check).items():
                if each in found:
                    raise ValueError(f"check {each} is defined twice")
                found[each] = directed
    return found


@cache
def verdicts() -> dict[str, Verdict]:
    """Every verdict by its id, in the order of the files. Raises ValueError for an id used twice."""
    found: dict[str, Verdict] = {}
    for part in _parts():
        for verdict in part.verdict:
            if verdict.id in found:
                raise ValueError(f"verdict {verdict.id} is defined twice")
            found[verdict.id] = verdict
    return found


@cache
def rules(about: str) -> tuple[Rule, ...]:
    """What the judge tries about one thing, in order."""
    return tuple(
        _rule(verdict, given)
        for verdict in verdicts().values()
        if verdict.about == about
        for given in verdict.each
    )


@cache
def borrows(about: str) -> tuple[Borrow, ...]:
    """Whose verdicts serve this thing, too."""
    return tuple(borrow for part in _parts() for borrow in part.borrow if borrow.about == about)


@cache
def reasons() -> tuple[tuple[re.Pattern[str], str], ...]:
    """What a reason looks like in English, what varies in groups, and its Japanese with "{}" for each of these."""
    (document,) = _documents("reasons")
    return tuple(
        (re.compile("(.{1,200}?)".join(re.escape(part) for part in said.split("{}"))), japanese)
        for said, japanese in document.items()
    )


def put_in(text: str, given: dict[str, str]) -> str:
    """``text`` with each "<word>" replaced."""
    for word, value in given.items():
        text = text.replace(f"<{word}>", value)
    return text


def first(names: str, detail: Mapping[str, Any]) -> Any:
    """Of "a|b" the first detail that says anything, or None."""
    values = (detail.get(name) for name in names.split("|"))
    return next((value for value in values if value not in (None, "", [], (), {})), None)


def _directed(name: str, check: Check) -> dict[str, Check]:
    if not name.endswith("-"):
        return {name: check}
    return {
        name + way: Check(Text(check.title.en + en, check.title.ja + ja), check.outcomes)
        for way, en, ja in WAYS
    }


def _rule(verdict: Verdict, given: dict[str, str]) -> Rule:
    def keys(conditions: dict[str, V]) -> dict[str, V]:
        return {put_in(key, given): value for key, value in conditions.items()}

    def texts(pairs: dict[str, str]) -> dict[str, str]:
        return {put_in(key, given): put_in(text, given) for key, text in pairs.items()}

    return Rule(
        verdict,
        given,
        put_in(verdict.concern, given),
        keys(verdict.when),
        tuple(tuple(keys(conditions) for conditions in group) for group in verdict.one_of),
        keys(verdict.unless),
        texts(verdict.equal),
        texts(verdict.unequal),
    )


@cache
def _parts() -> tuple[_Verdicts, ...]:
    return tuple(msgspec.convert(document, _Verdicts) for document in _documents("verdicts"))


def _documents(kind: str) -> list[dict[str, Any]]:
    """The package's TOML files whose names begin with ``kind``, by name."""
    folder = files("camrelay.trace").joinpath("data")
    found = (f for f in folder.iterdir() if f.name.startswith(kind) and f.name.endswith(".toml"))
    return [tomllib.loads(file.read_text("utf-8")) for file in sorted(found, key=lambda file: file.name)]
