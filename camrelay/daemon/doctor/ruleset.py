"""What an nftables ruleset (``nft -j list ruleset``) does with one sort of datagram that comes in. Pure.

Looked at: base chains of the hooks ingress, prerouting and input, of the families that IPv4 passes. Bridges' own
chains (family bridge) are not.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from camrelay.daemon.doctor.values import among, elements, field, match
from camrelay.daemon.doctor.walk import Act, Outcome, Rule, Walker, all_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from camrelay.daemon.doctor.values import Sets
    from camrelay.daemon.doctor.walk import Packet, Test, Truth

FAMILIES: Final = ("ip", "inet", "netdev")
HOOKS: Final = {"ingress": 0, "prerouting": 1, "input": 2}  # in the order of the way in
PRIORITIES: Final = {"raw": -300, "mangle": -150, "dstnat": -100, "filter": 0, "security": 50, "srcnat": 100}
VERDICTS: Final = {"accept": "accept", "drop": "drop", "reject": "drop", "return": "return", "continue": ""}
# Statements that decide nothing; those that let pass only so many; those that take the packet elsewhere.
HARMLESS: Final = {
    "counter", "log", "mangle", "notrack", "ct helper", "ct timeout", "ct expectation", "set", "map", "dup", "last",
    "secmark", "flow", "comment",
}  # fmt: skip
LIMITS: Final = {"limit", "quota", "ct count", "meter"}
ELSEWHERE: Final = {"queue", "dnat", "redirect", "tproxy", "synproxy", "fwd", "snat", "masquerade"}
XT_HARMLESS: Final = {"LOG", "NFLOG", "TRACE", "MARK", "CONNMARK", "CHECKSUM", "SET", "CT", "AUDIT"}
XT_DROPS: Final = {"REJECT", "DROP", "TARPIT"}


class Base(NamedTuple):
    """A chain that the kernel enters by itself."""

    hook: str
    priority: int
    name: str
    label: str
    policy: str
    devices: frozenset[str]  # of an ingress hook; empty: not told


class Ruleset:
    """``document``: of ``nft -j``; ``listing``: of ``nft -a``, for the words that people know a rule by."""

    def __init__(self, document: Mapping[str, Any], listing: str = "") -> None:
        self._words = _Words(listing)
        self._chains: dict[str, list[Rule]] = {}
        self._sets: dict[str, dict[str, list[Any]]] = {}
        self._bases: list[Base] = []
        items = [item for item in document.get("nftables", ()) if isinstance(item, dict)]
        for kind in ("set", "map", "chain", "rule"):  # a rule may name a set that is listed after it
            for item in items:
                if isinstance(about := item.get(kind), dict) and about.get("family") in FAMILIES:
                    self._take(kind, about)
        self._bases.sort(key=lambda base: (HOOKS[base.hook], base.priority))

    def _take(self, kind: str, about: Mapping[str, Any]) -> None:
        table = f"{about.get('family')} {about.get('table')}"
        if kind in ("set", "map"):
            self._sets.setdefault(table, {})[str(about.get("name"))] = list(about.get("elem") or ())
        elif kind == "chain":
            name = f"{table} {about.get('name')}"
            self._chains.setdefault(name, [])
            if about.get("hook") in HOOKS:
                self._bases.append(_base(about, name, self._words.devices(name)))
        else:
            name = f"{table} {about.get('chain')}"
            self._chains.setdefault(name, []).append(
                rule(about.get("expr") or (), self._text(name, about), table, self._sets.get(table, {}))
            )

    def _text(self, chain: str, about: Mapping[str, Any]) -> str:
        words = self._words.of(chain, about.get("handle"))
        return f"{chain}: {words}" if words else f"{chain}: rule with handle {about.get('handle')}"

    def outcome(self, packet: Packet) -> Outcome:
        """What becomes of it."""
        walker = Walker(self._chains, packet)
        bases = [base for base in self._bases if not base.devices or packet.interface in base.devices]
        return all_of(
            _doubted(walker.base(base.name, base.policy, base.label), base, packet) for base in bases
        )

    @property
    def of_iptables(self) -> bool:
        """Was all of it made by iptables (its nft variant)? Then ``iptables -S`` says the same in clearer words."""
        tables = {name.rpartition(" ")[0] for name in self._chains}
        return tables <= {f"ip {name}" for name in ("filter", "nat", "mangle", "raw", "security")}


def _doubted(outcome: Outcome, base: Base, packet: Packet) -> Outcome:
    """An ingress chain of we do not know which interface may be that of another one."""
    if outcome.word == "drop" and base.hook == "ingress" and packet.interface not in base.devices:
        return Outcome("unsure", outcome.rule)
    return outcome


def _base(about: Mapping[str, Any], name: str, devices: frozenset[str]) -> Base:
    priority = about.get("prio", 0)
    if not isinstance(priority, int):
        priority = PRIORITIES.get(str(priority).split(" ")[0], 0)
    named = about.get("dev")
    if named:
        devices = frozenset(map(str, named if isinstance(named, list) else [named]))
    policy = "drop" if about.get("policy") == "drop" else "accept"
    return Base(str(about["hook"]), priority, name, name, policy, devices)


def rule(statements: Any, text: str, table: str, sets: Sets) -> Rule:
    """One rule's statements as steps."""
    steps: list[Test | Act] = []
    for statement in statements:
        if isinstance(statement, dict):
            for kind, about in statement.items():
                steps += _steps(kind, about, table, sets)
    return Rule(text, tuple(steps))


def _steps(kind: str, about: Any, table: str, sets: Sets) -> Iterator[Test | Act]:
    if kind in HARMLESS:
        return
    if kind == "match" and isinstance(about, dict):
        yield match(about, sets)
    elif kind in LIMITS:
        yield _who_knows
    elif kind == "vmap" and isinstance(about, dict):
        yield from _verdict_map(about, table, sets)
    elif kind == "xt":
        yield from _xt(about)
    elif (act := _act(kind, about, table)) is not None:
        yield act


def _act(kind: str, about: Any, table: str) -> Act | None:
    if kind in ("jump", "goto"):
        return Act(kind, f"{table} {about.get('target') if isinstance(about, dict) else ''}")
    if kind in VERDICTS:
        return Act(VERDICTS[kind]) if VERDICTS[kind] else None
    return Act("unsure")  # ELSEWHERE, and whatever a newer nft knows


def _verdict_map(about: Mapping[str, Any], table: str, sets: Sets) -> Iterator[Act]:
    """One act for each element, and none where no element fits."""
    key = about.get("key")
    for element in elements(about.get("data"), sets):
        if not (isinstance(element, list) and len(element) == 2 and isinstance(element[1], dict)):
            yield Act("unsure")
            continue
        for kind, target in element[1].items():
            if (act := _act(kind, target, table)) is not None:
                yield act._replace(when=_fits(key, element[0]))


def _fits(key: Any, item: Any) -> Test:
    def test(packet: Packet) -> Truth:
        value = field(key, packet)
        if value == frozenset() or (isinstance(value, list) and frozenset() in value):
            return False
        return among(value, elements(item, {}))

    return test


def _xt(about: Any) -> Iterator[Test | Act]:
    """An extension of iptables: nft knows its name at the best."""
    name = str(about.get("name")) if isinstance(about, dict) else ""
    if name in XT_HARMLESS:
        return
    if name in XT_DROPS:
        yield Act("drop")
    elif isinstance(about, dict) and about.get("type") == "target":
        yield Act("unsure")
    else:
        yield _who_knows


def _who_knows(packet: Packet) -> Truth:
    return None


class _Words:
    """The lines of ``nft -a list ruleset`` by chain and handle; devices of ingress chains, too (nft 1.0.6)."""

    def __init__(self, listing: str) -> None:
        self._lines: dict[tuple[str, str], str] = {}
        self._devices: dict[str, frozenset[str]] = {}
        table = chain = ""
        for line in map(str.strip, listing.splitlines()):
            if found := re.match(r"table (\w+) (\S+) \{", line):
                table = f"{found[1]} {found[2]}"
            elif found := re.match(r"chain (\S+) \{", line):
                chain = f"{table} {found[1]}"
            elif found := re.search(r"hook ingress devices? =? ?\{?([^;}]*?)\}? priority", line):
                self._devices[chain] = frozenset(re.findall(r"[^\s,\"]+", found[1]))
            elif found := re.match(r"(.*) # handle (\d+)$", line):
                self._lines[chain, found[2]] = re.sub(r" packets \d+ bytes \d+", "", found[1])

    def of(self, chain: str, handle: Any) -> str:
        return self._lines.get((chain, str(handle)), "")

    def devices(self, chain: str) -> frozenset[str]:
        return self._devices.get(chain, frozenset())
