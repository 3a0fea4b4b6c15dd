"""What the parts of the relay share: settings, roster, segments, the outbox, and a count for every cause."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

from camrelay import __version__
from camrelay.ipmsg.announcement import announce, own
from camrelay.ipmsg.command import Command
from camrelay.relay.identity import ABILITIES, host_of, identify, logon_of
from camrelay.relay.outputs import Output, Transmit
from camrelay.relay.sharing import Sharing

if TYPE_CHECKING:
    import random

    from camrelay.ipmsg.crypto import PrivateKey
    from camrelay.ipmsg.presence import Presence
    from camrelay.relay.identity import Identity
    from camrelay.relay.roster import Roster
    from camrelay.relay.rules import Settings
    from camrelay.relay.segment import Segment, Segments


class Context:
    """Handed to every part; holds no rules of its own."""

    def __init__(
        self,
        settings: Settings,
        segments: Segments,
        roster: Roster,
        hostname: str,
        number: int,
        chance: random.Random,
        can_speak: bool,
    ) -> None:
        self.settings = settings
        self.sharing = Sharing(settings.shares)
        self.segments = segments
        self.roster = roster
        roster.classify = self.sharing.classify
        self.own: Presence
        self.identity: Identity | None = None
        self._hostname = hostname
        self.chance = chance
        self.can_speak = can_speak
        self.congested = False
        self.hurried = False  # is a pass of the sweep under way?
        self.plus = 0  # option bits of our own presence as a member master
        self.note = b""  # what our BR_ENTRY says to those who poll us
        self.counters: Counter[str] = Counter()
        self.outbox: list[Output] = []
        self.emit = self.outbox.append
        self._number = number
        self.introduce()

    def introduce(self, key: PrivateKey | None = None, old: PrivateKey | None = None) -> None:
        """Name ourselves by the settings; ``key``: and by this key from now on, else by the one that we have."""
        if key is None and self.identity is not None:
            key, old = self.identity.key, self.identity.old
        name, group = self.settings.name, self.settings.group
        if key is None:
            self.own = own(name, group, self._hostname, __version__)
        else:
            self.own = own(name, group, host_of(key), __version__, logon_of(key), ABILITIES)
            self.identity = identify(key, old, self.own, self.plus)

    def sign(self, command: int, extra: bytes = b"", options: int = 0) -> bytes:
        """A signed dictionary of ours: 0.4 ms of work. Only with an identity."""
        assert self.identity is not None
        number = self.next_number()  # numbers begin at the clock, so one passes for the date
        return self.identity.author.sign(command, number, number, extra, options)

    def lists(self, segment: Segment, address: str) -> bool:
        """Do those of ``segment`` list somebody at ``address``, if all they were told has arrived?"""
        user = self.roster.at.get(address)
        return user is not None and self.sharing.visible(user, segment)

    def count(self, cause: str) -> None:
        """One more of ``cause``, as ``status`` shows it."""
        self.counters[cause] += 1

    def next_number(self) -> int:
        """A packet number that we never used before."""
        self._number += 1
        return self._number

    def say(self, command: int, to: str, port: int, interface: int = 0, charset: str | None = None) -> None:
        """Send our own presence."""
        data = announce(self.own, command, self.next_number(), charset, plus=self.plus)
        if command == Command.BR_ENTRY:
            data += self.note
        self.emit(Transmit(data, to, port, None, interface))

    def take(self) -> list[Output]:
        """Everything decided since the last call."""
        out = self.outbox.copy()
        self.outbox.clear()
        return out


class Bucket:
    """Lets through ``rate`` things per second, ``burst`` of them at once."""

    @classmethod
    def never_above(cls, most: float, now: float) -> Bucket:
        """Not more than ``most`` in any one second, however late its owner wakes up."""
        bucket = cls(most, most, now)
        bucket.limit(most)
        return bucket

    def limit(self, most: float) -> None:
        """From now on not more than ``most`` in any one second: rate and burst together."""
        self.rate = most * 0.97
        self.burst = self._level = max(1.0, most * 0.03)

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate = rate
        self.burst = burst
        self._level = burst
        self._at = now

    def ready(self, now: float) -> bool:
        """Could one more go now?"""
        self._level = min(self.burst, self._level + (now - self._at) * self.rate)
        self._at = now
        return self._level > 0.999999  # times are sums of fractions

    def take(self, now: float) -> bool:
        """May one more go now?"""
        if not self.ready(now):
            return False
        self._level -= 1.0
        return True


class Budget:
    """How many datagrams of one source (or network) are looked at in each window of 10 s. Bounded in memory."""

    WINDOW = 10.0
    MAX_SOURCES = 100_000

    def __init__(self, most: int) -> None:
        self._most = most
        self._spent: dict[str, int] = {}
        self._until = 0.0

    def spend(self, source: str, now: float) -> bool:
        """False when the source has used up what it may use."""
        if now >= self._until:
            self._spent.clear()
            self._until = now + self.WINDOW
        spent = self._spent.get(source, 0)
        if spent >= self._most or (spent == 0 and len(self._spent) >= self.MAX_SOURCES):
            return False
        self._spent[source] = spent + 1
        return True


class Recently:
    """Things that happened to an address within the last ``seconds``. Bounded: the oldest are forgotten first."""

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds = seconds
        self._most = most
        self._when: dict[str, float] = {}
        self._order: deque[tuple[float, str]] = deque()

    def note(self, address: str, now: float) -> None:
        """It happened to ``address`` now."""
        self._expire(now)
        if len(self._order) >= self._most:
            self._forget_oldest()
        self._when[address] = now
        self._order.append((now, address))

    def count(self, now: float) -> int:
        """To how many different addresses?"""
        self._expire(now)
        return len(self._when)

    def within(self, address: str, now: float) -> bool:
        """Did it happen to ``address`` recently?"""
        when = self._when.get(address)
        return when is not None and now - when < self._seconds

    def _expire(self, now: float) -> None:
        while self._order and now - self._order[0][0] >= self._seconds:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        when, address = self._order.popleft()
        if self._when.get(address) == when:
            del self._when[address]
