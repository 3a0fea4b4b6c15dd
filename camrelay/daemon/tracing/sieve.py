"""Which datagrams somebody wants to see: asked for every one, so the cheap questions come first.

Words of one kind widen (this address or that one), kinds narrow (this address and that command).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import trio

from camrelay.errors import UsageError
from camrelay.ipmsg.discreet import command_of, without_body
from camrelay.ipmsg.packet import is_ipdict
from camrelay.ipmsg.summary import command_names, command_number
from camrelay.relay.context import Bucket
from camrelay.relay.outputs import Transmit
from camrelay.relay.segment import EVERYBODY, number
from camrelay.relay.sharing import Span, span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from camrelay.daemon.tap import Seen
    from camrelay.daemon.tracing import Stand
    from camrelay.relay.snapshot import SegmentRow
    from camrelay.relay.user import User

DIRECTIONS: Final = ("in", "out")
MALFORMED: Final = "malformed"  # stands for a command
# Dictionaries that are taken apart to be filtered, per second: 20 to 100 us each. The others are counted as skipped.
DICTIONARIES: Final = 500.0
_REMEMBERED: Final = 32_768  # addresses whose answer is kept: finding it takes 20 us
_MOST_WORDS: Final = 100  # of one kind
_MOST_NAMES: Final = 16  # each is looked for in some charsets, in every datagram
_LONGEST_NAME: Final = 80  # characters
_LOOKED_AT: Final = 8_192  # bytes of a datagram in which names are looked for: 64 KB with 64 forms take 6 ms
_CHARSETS: Final = ("utf-8", "cp932", "gb18030")


class Words(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted, as people write it; nothing of a kind: all."""

    users: list[str] = []  # text in a name
    addresses: list[str] = []  # "10.1.2.3", "10.1.2.*", "10.1.0.0/16"
    segments: list[str] = []  # name, network, or an address in it
    commands: list[str] = []  # "BR_ENTRY", "entry", "0x20", "malformed"
    directions: list[str] = []  # "in", "out"


class Sieve:
    """Made once per watch; raises UsageError for words that mean nothing. ``skipped``: not decided, to save time."""

    def __init__(self, words: Words, stand: Stand) -> None:
        for kind in (words.users, words.addresses, words.segments, words.commands, words.directions):
            if len(kind) > _MOST_WORDS:
                raise UsageError(f"more than {_MOST_WORDS} words of one kind")
        if len(words.users) > _MOST_NAMES:
            raise UsageError(f"--user: more than {_MOST_NAMES} names")
        self.skipped = 0
        self._bucket = Bucket(DICTIONARIES, DICTIONARIES / 10, trio.current_time())
        self._tests: list[Callable[[Seen], bool]] = []
        if directions := {_direction(word) for word in words.directions}:
            self._tests.append(lambda seen: seen.outgoing in directions)
        if words.addresses:
            self._tests.append(Places(map(_address, words.addresses)))
        if words.segments:
            self._tests.append(_segments(words.segments, stand))
        if commands := {_command(word) for word in words.commands}:
            self._tests.append(lambda seen: self._may_look(seen) and command_of(seen.packet.data) in commands)
        if words.users:
            self._tests.append(self._users(words.users, stand))

    def __call__(self, seen: Seen) -> bool:
        """Is it wanted?"""
        for test in self._tests:  # noqa: SIM110 - half the price of all()
            if not test(seen):
                return False
        return True

    def _may_look(self, seen: Seen) -> bool:
        if not is_ipdict(seen.packet.data) or self._bucket.take(seen.at):
            return True
        self.skipped += 1
        return False

    def _users(self, words: Sequence[str], stand: Stand) -> Callable[[Seen], bool]:
        about = People(words, stand.relay.look.at)
        named = Names(words, stand.config().relay.codepage)
        return lambda seen: about(seen) or (self._may_look(seen) and named(seen.packet.data))


class Places:
    """Does a datagram come from, go to or speak for one of these networks? ``wires``: or is broadcast there?"""

    def __init__(self, spans: Iterable[Span], wires: frozenset[int] = frozenset()) -> None:
        self._spans = tuple(spans)
        self._wires = wires
        self._known: dict[str, bool] = {}

    def __call__(self, seen: Seen) -> bool:
        packet = seen.packet
        if self._holds(seen.address):
            return True
        if isinstance(packet, Transmit):
            on_wire = packet.to == EVERYBODY
            return (on_wire and packet.interface in self._wires) or (
                packet.speak_as is not None and self._holds(packet.speak_as)
            )
        return packet.broadcast and packet.interface in self._wires

    def _holds(self, address: str) -> bool:
        known = self._known.get(address)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            value = number(address)
            known = self._known[address] = any(one.first <= value <= one.last for one in self._spans)
        return known


class People:
    """Does a datagram come from, go to or speak for a known user with one of these texts in its names?"""

    def __init__(self, words: Iterable[str], at: Callable[[str], User | None]) -> None:
        self._words = [_text(word).casefold() for word in words]
        self._at = at
        self._known: dict[
            str, tuple[object, bool]
        ] = {}  # address: what its user said of itself, and the answer

    def __call__(self, seen: Seen) -> bool:
        packet = seen.packet
        spoken = packet.speak_as if isinstance(packet, Transmit) else None
        return self._meant(seen.address) or (spoken is not None and self._meant(spoken))

    def _meant(self, address: str) -> bool:
        user = self._at(address)
        if user is None:
            return False
        known = self._known.get(address)
        if known is None or known[0] is not user.presence:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            names = "\n".join(user.presence.anew().texts).casefold()
            known = self._known[address] = user.presence, any(word in names for word in self._words)
        return known[1]


class Names:
    """Does a datagram itself name somebody so, in a charset that clients use? Messages' bodies are not looked at."""

    def __init__(self, words: Iterable[str], codepage: str) -> None:
        self._forms: set[bytes] = set()
        for word in words:
            for charset in (*_CHARSETS, codepage):
                try:
                    self._forms.add(word.encode(charset).lower())
                except UnicodeEncodeError:
                    continue

    def __call__(self, data: bytes) -> bool:
        shown = without_body(data)[:_LOOKED_AT].lower()
        return any(form in shown for form in self._forms)


def _text(word: str) -> str:
    if not word.strip():
        raise UsageError("--user: an empty name")
    if len(word) > _LONGEST_NAME:
        raise UsageError(f"--user: a name of more than {_LONGEST_NAME} characters")
    return word


def _direction(word: str) -> bool:
    """Outgoing?"""
    if word not in DIRECTIONS:
        raise UsageError(f"--direction {word}: expected in or out")
    return word == "out"


def _address(word: str) -> Span:
    try:
        return span(word)
    except ValueError:
        raise UsageError(
            f"--address {word}: expected an address, 192.168.1.*, or a network such as 10.1.0.0/16"
        ) from None


def _command(word: str) -> int | None:
    if word.lower() == MALFORMED:
        return None
    try:
        return command_number(word)
    except ValueError:
        known = ", ".join(command_names())
        raise UsageError(
            f"--command {word}: expected {MALFORMED}, a number up to 0xff, or one of {known}"
        ) from None


def _segments(words: Sequence[str], stand: Stand) -> Places:
    """The networks of these segments, and the wires of those that are ours."""
    rows = stand.relay.snapshot(trio.current_time()).segments
    also = stand.config().also()
    spans: list[Span] = []
    wires: set[int] = set()
    for word in words:
        row = _segment(word, rows)
        spans += map(span, (row.name, *also.get(row.interface or "", ())))
        wires |= {one.index for one in stand.interfaces() if one.name == row.interface}
    return Places(spans, frozenset(wires))


def _segment(word: str, rows: Sequence[SegmentRow]) -> SegmentRow:
    """The smallest that has this name, or holds this network or address."""
    try:
        wanted = span(word)
    except ValueError:
        wanted = None
    holding = [row for row in rows if row.name == word or (wanted and span(row.name).holds(wanted))]
    if not holding:
        known = ", ".join(row.name for row in rows) or "none"
        raise UsageError(f"--segment {word}: no segment, and no address in one (there: {known})")
    return min(holding, key=lambda row: span(row.name).last - span(row.name).first)
