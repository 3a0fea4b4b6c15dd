"""Who is shown where: the rules of ``[[share]]``, in their order; the first that fits decides, and where none fits
everybody is shown.

Rules kept here: a rule is about one direction only; a segment hears as one, so who is hidden from a part of it is
hidden from all of it, and who may be shown to a part only is not shown by that; everybody has a small number, the same
for all of whom the same rules speak: deciding is one look into a table, and none for whom no rule speaks.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, NamedTuple

from camrelay.relay.segment import number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from camrelay.relay.messages import RelayId
    from camrelay.relay.rules import Share
    from camrelay.relay.segment import Segment
    from camrelay.relay.user import User

MAX_NAMES = 4_096  # of groups and peers for which the rules are remembered; strangers can invent more

_ID = re.compile("[0-9a-f]{8,64}")
_TOLD_APART = re.compile("~(?:[0-9a-f]{4})+\\Z")  # see ``daemon.fleetnames.label``


class Span(NamedTuple):
    """A network as its first and last address."""

    first: int
    last: int

    def holds(self, other: Span) -> bool:
        """Is all of ``other`` in it?"""
        return self.first <= other.first and other.last <= self.last

    def meets(self, other: Span) -> bool:
        """Is any of ``other`` in it?"""
        return self.first <= other.last and other.first <= self.last


class Place(NamedTuple):
    """A segment as the rules see it: its networks, and whether it is one of our own."""

    spans: tuple[Span, ...]
    here: bool = False


def span(text: str) -> Span:
    """ "192.168.1.*", "10.1.2.0/24" or one address; ValueError for anything else."""
    network = IPv4Network(text[:-1] + "0/24" if text.endswith(".*") else text)
    return Span(int(network.network_address), int(network.broadcast_address))


def place_of(segment: Segment) -> Place:
    """A segment of the relay."""
    if segment.interface is None:
        return Place((span(segment.name),))
    return Place(tuple(map(span, (segment.interface.network, *segment.interface.also))), here=True)


def fits(pattern: str, text: str) -> bool:
    """Does ``*`` in ``pattern`` stand for what is missing of ``text``? Without regard to case."""
    front, *rest = pattern.casefold().split("*")
    text = text.casefold()
    if not rest:
        return text == front
    *middle, back = rest
    if not text.startswith(front) or not text.endswith(back):
        return False
    at, end = len(front), len(text) - len(back)
    for part in middle:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return at <= end


def bare(label: str) -> str:
    """The name without the digits that tell relays of one name apart."""
    return _TOLD_APART.sub("", label)


def fits_peer(pattern: str, name: str, id_: RelayId = "") -> bool:
    """Is this peer meant? By eight or more digits of its id, which no other can take; else by the name it has now."""
    wanted = pattern.casefold()
    if _ID.fullmatch(wanted):
        return id_.startswith(wanted)
    return fits(pattern, name) or fits(pattern, bare(name))


def unmatched(shares: Iterable[Share], relays: Iterable[tuple[str, RelayId]]) -> list[str]:
    """The patterns of rules that mean none of these relays, each once."""
    relays = list(relays)
    patterns = _named([text for share in shares for text in (*share.who, *share.to)], "peer:")
    return [
        f"peer:{pattern}"
        for pattern in dict.fromkeys(patterns)
        if not any(fits_peer(pattern, name, id_) for name, id_ in relays)
    ]


def _named(patterns: Iterable[str], what: str) -> tuple[str, ...]:
    return tuple(text[len(what) :] for text in patterns if text.startswith(what))


def _spans(patterns: Iterable[str]) -> tuple[Span, ...]:
    return tuple(span(text) for text in patterns if text[0].isdigit())


class Rule:
    """One rule, ready to be asked."""

    def __init__(self, share: Share) -> None:
        self.allow = share.allow
        self.from_all = "*" in share.who
        self.from_here = "here" in share.who
        self.from_names = {what: _named(share.who, what) for what in ("group:", "peer:")}
        self.from_spans = _spans(share.who)
        self.to_all = "*" in share.to
        self._to_here = "here" in share.to
        self._to_peers = _named(share.to, "peer:")
        self._to_spans = _spans(share.to)

    def is_into(self, place: Place) -> bool:
        """Does it say something about this segment?"""
        if self.to_all or (self._to_here and place.here):
            return True
        if self.allow:
            return all(any(own.holds(other) for own in self._to_spans) for other in place.spans)
        return any(own.meets(other) for own in self._to_spans for other in place.spans)

    def is_to_peer(self, name: str, id_: RelayId) -> bool:
        """Does it say something about this peer?"""
        return self.to_all or any(fits_peer(pattern, name, id_) for pattern in self._to_peers)


class Rules:
    """All rules. Whom they are about is a number with one bit for each rule: the first rule has the lowest."""

    def __init__(self, shares: Iterable[Share] = ()) -> None:
        self._rules = [Rule(share) for share in shares]
        self.by_group = any(rule.from_names["group:"] for rule in self._rules)
        self._by_peer = any(rule.from_names["peer:"] for rule in self._rules)
        self._all = self._bits(lambda rule: rule.from_all)
        self._here = self._bits(lambda rule: rule.from_here)
        self._last_word = self._bits(lambda rule: rule.to_all)
        self._names: dict[tuple[str, RelayId, str], int] = {}
        self._networks: dict[int, dict[int, int]] = {}  # by size, then by first address
        for bit, rule in enumerate(self._rules):
            for first, last in rule.from_spans:
                networks = self._networks.setdefault(last - first, {})
                networks[first] = networks.get(first, 0) | 1 << bit

    def _bits(self, chosen: Callable[[Rule], bool]) -> int:
        return sum(1 << bit for bit, rule in enumerate(self._rules) if chosen(rule))

    def about(self, address: str, group: str, here: bool, peer: str, id_: RelayId = "") -> int:
        """The rules about this user. ``here``: in a segment of ours; ``peer``: who told us, "" if nobody did."""
        bits = self._all | (self._here if here else 0)
        if self.by_group:
            bits |= self._about(group, "group:")
        if peer and self._by_peer:
            bits |= self._about(peer, "peer:", id_)
        value = number(address) if self._networks else 0
        for size, networks in self._networks.items():
            bits |= networks.get(value & ~size, 0)
        final = bits & self._last_word
        return bits & ((final & -final) * 2 - 1) if final else bits

    def _about(self, name: str, what: str, id_: RelayId = "") -> int:
        """The rules about the group or peer of that name."""
        bits = self._names.get((name, id_, what))
        if bits is None:
            if len(self._names) >= MAX_NAMES:
                self._names.clear()
            if what == "peer:":
                bits = self._bits(
                    lambda rule: any(fits_peer(one, name, id_) for one in rule.from_names[what])
                )
            else:
                bits = self._bits(lambda rule: any(fits(one, name) for one in rule.from_names[what]))
            self._names[name, id_, what] = bits
        return bits

    def into(self, bits: int, place: Place) -> int | None:
        """Which rule decides whether users that rules ``bits`` are about are shown there; None: none does."""
        return self._first(bits, lambda rule: rule.is_into(place))

    def to_peer(self, bits: int, name: str, id_: RelayId = "") -> int | None:
        """Which rule decides whether a peer is told of them; None: none does."""
        return self._first(bits, lambda rule: rule.is_to_peer(name, id_))

    def about_peer(self, name: str, id_: RelayId = "") -> bool:
        """Does any rule say what this peer is told of?"""
        return any(rule.is_to_peer(name, id_) for rule in self._rules)

    def _first(self, bits: int, decides: Callable[[Rule], bool]) -> int | None:
        found = (n for n, rule in enumerate(self._rules) if bits >> n & 1 and decides(rule))
        return next(found, None)

    def allows(self, decided: int | None) -> bool:
        """What the rule says that decided."""
        return decided is None or self._rules[decided].allow


def _refused(rules: Rules, decided: int | None) -> int | None:
    return None if decided is None or rules.allows(decided) else decided + 1


class Sharing:
    """The rules in force, for users and segments of the relay.

    ``User.shares`` is what ``classify`` gave, 0 if no rule is about it. What such a number means stays the same when
    the rules change, so that who saw somebody is known afterwards.
    """

    def __init__(self, shares: Iterable[Share] = ()) -> None:
        self._meanings: list[tuple[Rules, int]] = [(Rules(), 0)]
        self._seen: dict[tuple[int, Segment], bool] = {}
        self._told: dict[tuple[int, str, RelayId], bool] = {}
        self._ids: dict[str, RelayId] = {}  # by name; an old one stays until it is another's
        self.take(shares)

    def take(self, shares: Iterable[Share]) -> None:
        """These are the rules from now on: everybody has to be classified anew."""
        self.shares = tuple(shares)
        self.rules = Rules(self.shares)
        self._numbers = {0: 0}

    def enlist(self, ids: dict[str, RelayId]) -> None:
        """These are our peers now, by name. Users of one that was renamed are told anew one by one."""
        known = {} if len(self._ids) >= MAX_NAMES else self._ids
        self._ids = {name: id_ for name, id_ in known.items() if id_ in ids.values()} | ids

    def forget_segments(self) -> None:
        """The segments are others now."""
        self._seen.clear()

    def classify(self, user: User) -> int:
        """The number of all about whom the same rules speak."""
        if not self.shares:
            return 0
        rules = self.rules
        group = user.presence.group_text if rules.by_group else ""
        via = user.via or ""
        bits = rules.about(
            user.address, group, user.segment.interface is not None, via, self._ids.get(via, "")
        )
        found = self._numbers.get(bits)
        if found is None:
            found = self._numbers[bits] = len(self._meanings)
            self._meanings.append((rules, bits))
        return found

    def visible(self, user: User, segment: Segment) -> bool:
        """May ``user`` be shown to those of ``segment``? In its own they see it anyway."""
        return not user.shares or user.segment is segment or self.sees(segment, user.shares)

    def sees(self, segment: Segment, shares: int) -> bool:
        """Are, or were, users of this number shown there?"""
        seen = self._seen.get((shares, segment))
        if seen is None:
            rules, bits = self._meanings[shares]
            seen = self._seen[shares, segment] = rules.allows(rules.into(bits, place_of(segment)))
        return seen

    def hiding(self, user: User, segment: Segment) -> int | None:
        """The rule that hides ``user`` from those of ``segment``: the first is 1. None if it is shown."""
        if self.visible(user, segment):
            return None
        rules, bits = self._meanings[user.shares]
        return _refused(rules, rules.into(bits, place_of(segment)))

    def hiding_from_peer(self, user: User, name: str, id_: RelayId) -> int | None:
        """The same of this peer."""
        if self.visible_to_peer(user, name, id_):
            return None
        rules, bits = self._meanings[user.shares]
        return _refused(rules, rules.to_peer(bits, name, id_))

    def visible_to_peer(self, user: User, name: str, id_: RelayId) -> bool:
        """May this peer be told of ``user``?"""
        if not user.shares:
            return True
        told = self._told.get((user.shares, name, id_))
        if told is None:
            rules, bits = self._meanings[user.shares]
            told = rules.allows(rules.to_peer(bits, name, id_))
            self._told[user.shares, name, id_] = told
        return told
