"""Follows one sort of datagram through the chains of a firewall, in three-valued logic. Pure.

Rule kept here: what cannot be told is "unsure" and names the rule, never a guess. A packet stands for many (all hosts
of a segment as sources), so a rule about one of them is "unsure" as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Network
from typing import Final, NamedTuple

Truth = bool | None  # None: cannot be told, or true of some and not of others
MOST_RULES: Final = 200_000  # looked at for one packet; the largest real rulesets have some 10,000
DEEPEST: Final = 16  # jumps; the kernel allows as many


class Span(NamedTuple):
    """Numbers (addresses, ports) from ``low`` to ``high``, both included."""

    low: int
    high: int


class Packet(NamedTuple):
    """What comes in: from any of ``source`` to us."""

    interface: str
    source: Span
    destination: Span
    protocol: str  # "udp" or "tcp"
    sport: Span
    dport: Span
    state: str  # of connection tracking: "new" or "established"
    broadcast: bool = False


Test = Callable[[Packet], Truth]


class Act(NamedTuple):
    """What a rule does. ``kind``: accept, drop, jump, goto, return, or unsure; ``when``: only then."""

    kind: str
    target: str = ""
    when: Test | None = None


class Rule(NamedTuple):
    """Tests and acts in their order; ``text``: how a person finds it."""

    text: str
    steps: tuple[Test | Act, ...]


class Outcome(NamedTuple):
    """``word``: accept, drop or unsure; ``rule``: which one decides or leaves it open, "" if none."""

    word: str
    rule: str = ""


ACCEPT: Final = Outcome("accept")
ENDS: Final = {
    "accept": ("accept",),
    "drop": ("drop",),
    "return": ("return",),
    "unsure": ("accept", "drop", "pass"),
}


class _Ends(NamedTuple):
    """Where a packet may end up: outcome -> text of a rule, and whether that one is certain to fit what gets so far."""

    found: dict[str, tuple[str, bool]]

    def add(self, word: str, text: str, sure: bool) -> None:
        if word not in self.found or (sure and not self.found[word][1]):
            self.found[word] = text, sure


class Walker:
    """One packet, and what each chain does with it: found once each, so jumps cost nothing."""

    def __init__(self, chains: Mapping[str, Iterable[Rule]], packet: Packet) -> None:
        self._chains = chains
        self._packet = packet
        self._known: dict[str, _Ends] = {}
        self._left = MOST_RULES

    def base(self, name: str, policy: str, label: str) -> Outcome:
        """What becomes of the packet in a base chain. ``policy``: "accept" or "drop"; ``label``: for people."""
        ends = _Ends(dict(self._chain(name, 0).found))
        for through in ("pass", "return"):
            if through in ends.found:
                del ends.found[through]
                ends.add(policy, f"{label}: policy {policy}", True)
        if len(ends.found) == 1:
            ((word, (text, _)),) = ends.found.items()
            return Outcome(word, text if word == "drop" else "")
        # The rule in doubt: the one that may drop if that is not certain, else the one that may accept.
        doubtful = [text for text, sure in (ends.found["drop"], ends.found["accept"]) if not sure]
        return Outcome("unsure", doubtful[0] if doubtful else ends.found["drop"][0])

    def _chain(self, name: str, depth: int) -> _Ends:
        if name not in self._known:
            if depth > DEEPEST:
                return _Ends(dict.fromkeys(ENDS["unsure"], (f"{name}: too many jumps", False)))
            self._known[name] = self._follow(name, depth)
        return self._known[name]

    def _follow(self, name: str, depth: int) -> _Ends:
        ends = _Ends({})
        for rule in self._chains.get(name, ()):
            self._left -= 1
            if self._left < 0:
                for word in ENDS["unsure"]:
                    ends.add(word, "too many rules", False)
                return ends
            if not self._rule(rule, ends, depth):
                return ends
        ends.add("pass", "", True)
        return ends

    def _rule(self, rule: Rule, ends: _Ends, depth: int) -> bool:
        """Adds where the packet may end; may it go on behind the rule?"""
        sure, goes_on = True, False
        for step in rule.steps:
            if not isinstance(step, Act):
                holds = step(self._packet)
                if holds is False:
                    return True
                if holds is None:
                    sure, goes_on = False, True
                continue
            holds = True if step.when is None else step.when(self._packet)
            if holds is False:
                continue
            sure = sure and holds is True
            passes = self._act(step, rule.text, sure, ends, depth)
            goes_on = goes_on or passes
            if holds is True:
                return goes_on
        return True

    def _act(self, act: Act, text: str, sure: bool, ends: _Ends, depth: int) -> bool:
        """May the packet go on behind the rule?"""
        if act.kind not in ("jump", "goto"):
            for word in ENDS[act.kind]:
                if word != "pass":
                    ends.add(word, text, sure and act.kind != "unsure")
            return act.kind == "unsure"
        passes = False
        for word, (inner, certain) in self._chain(act.target, depth + 1).found.items():
            if word not in ("pass", "return"):
                # In doubt is the rule that jumps if it is, else the one inside.
                ends.add(word, inner if sure else text, sure and certain)
            elif act.kind == "jump":
                passes = True
            else:
                ends.add("return", inner, sure and certain)
        return passes


def span_of(text: str) -> Span:
    """ "10.1.2.0/24", "10.1.2.3" as numbers. ValueError for anything else."""
    network = IPv4Network(text, strict=False)
    return Span(int(network.network_address), int(network.broadcast_address))


def covered(span: Span, by: Iterable[Span]) -> Truth:
    """Is all of ``span`` in these (True), none of it (False), or a part (None)?"""
    at, touched = span.low, False
    for low, high in sorted(by):
        if high < span.low or low > span.high:
            continue
        touched = True
        if low <= at <= high:
            at = high + 1
    return True if at > span.high else None if touched else False


def opposite(truth: Truth) -> Truth:
    """Not."""
    return None if truth is None else not truth


def every(truths: Iterable[Truth]) -> Truth:
    """And."""
    found = list(truths)
    return False if False in found else None if None in found else True


def some(truths: Iterable[Truth]) -> Truth:
    """Or."""
    found = list(truths)
    return True if True in found else None if None in found else False


def all_of(outcomes: Iterable[Outcome]) -> Outcome:
    """What becomes of a packet that must pass several base chains one after the other."""
    unsure: Outcome | None = None
    for outcome in outcomes:
        if outcome.word == "drop":
            return outcome
        if outcome.word == "unsure" and unsure is None:
            unsure = outcome
    return unsure or ACCEPT
