"""What IP Messenger for Windows 4.99 keeps: its user list with two indexes, and the keys of those it ever met.

"wire N.M" names the section of the IPMSG wire reference that a rule comes from. Those rules were read in the
source of 4.99r3 and hold for the captures in ``tests/data`` (see ``tests/unit/windows``).
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from camrelay.ipmsg.command import PORT, Option
from camrelay.ipmsg.crypto import carried_key
from camrelay.ipmsg.pubkey import PublicKey, claimed, fits
from camrelay.ipmsg.signed import Signed, signer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from camrelay.ipmsg.ipdict import IPDict

Name = tuple[str, str]
Place = tuple[str, int]

ALLSTAT = 0x1F650300  # the option bits kept of a user, wire 2.2
SETTLED = 7  # seconds without a word before a known name may move to another address, wire 3.3
LOGGED = 32  # packets that the duplicate log holds, wire 3.2


def name_of(logon: str, host: str) -> Name:
    """Who this is: logon with fingerprint, and host, in any case (wire 3.3)."""
    return logon.lower(), host.lower()


@dataclass(slots=True)
class Host:
    """One line of the window."""

    logon: str
    host: str
    status: int
    address: str
    port: int
    nick: str
    group: str
    version: str = ""
    updated: int = 0  # by whatever way
    direct: int = 0  # by a packet of its own

    @property
    def name(self) -> Name:
        return name_of(self.logon, self.host)

    @property
    def place(self) -> Place:
        return self.address, self.port

    @property
    def impersonates(self) -> bool:
        """A name with a fingerprint that says it cannot encrypt is not taken, wire 3.6."""
        return bool(claimed(self.logon)) and not self.status & Option.ENCRYPT


class Table:
    """Users by name and by (address, port): both are unique, wire 3.3. ``listed``: address to nick."""

    def __init__(self) -> None:
        self.by_name: dict[Name, Host] = {}
        self.by_place: dict[Place, Host] = {}
        self.dialup: dict[Place, None] = {}
        self.listed: dict[str, str] = {}
        self.moves: list[tuple[Name, str, str]] = []  # who changed its address, from where to where

    def __iter__(self) -> Iterator[Host]:
        return iter(list(self.by_name.values()))

    def __len__(self) -> int:
        return len(self.by_name)

    def add(self, new: Host, now: float, *, entry: bool, by_list: bool, own: bool = False) -> Host:
        """A user was heard (``entry``: by BR_ENTRY, as which every user of a list counts)."""
        seconds = int(now)
        if entry and new.status & Option.DIALUP and not own:
            self.dialup[new.place] = None  # gets our presence by unicast from now on, wire 3.3
        new.status &= ALLSTAT
        known = self.by_name.get(new.name)
        if known is None:
            self._drop(self.by_place.get(new.place))
            known = new
        elif known.place != new.place and abs(seconds - known.updated) >= SETTLED:
            self.moves.append((known.name, known.address, new.address))
            self._drop(self.by_place.get(new.place))
            self._drop(known)
            known.address, known.port = new.place
            # else it keeps its address, and yet counts as heard: two that take turns never move it
        known.status, known.nick, known.group, known.updated = new.status, new.nick, new.group, seconds
        if not by_list:
            known.direct, known.version = seconds, new.version
        self.by_name[known.name] = self.by_place[known.place] = known
        self.listed[known.address] = known.nick
        return known

    def delete(self, place: Place) -> None:
        """Whoever sits there goes, whatever its name is (wire 3.2, 6.5); with it its place as dial-up user."""
        found = self.by_place.get(place)
        if found is not None:
            self.dialup.pop(place, None)
            self._drop(found)

    def clear(self) -> None:
        """Everybody."""
        for host in self:
            self.delete(host.place)

    def twice(self) -> list[str]:
        """Nicks that the window shows in more than one line."""
        shown = Counter(host.nick or host.logon for host in self)
        return [nick for nick, lines in shown.items() if lines > 1]

    def _drop(self, host: Host | None) -> None:
        if host is not None and self.by_place.get(host.place) is host:
            del self.by_place[host.place]
            del self.by_name[host.name]
            self.listed.pop(host.address, None)
            usual = self.by_place.get((host.address, PORT))
            if usual is not None:  # a line with a wrong port beside it
                self.listed[usual.address] = usual.nick


class Keys:
    """The first key of a name is its only one, for 180 days, over restarts (wire 6.4)."""

    def __init__(self) -> None:
        self.by_name: dict[Name, tuple[PublicKey, int]] = {}
        self.refused: Counter[str] = Counter()

    def proves(self, packet: Signed) -> bool:
        """Is it signed, and by the key of that name? A key that it brings is kept if none was known."""
        name = name_of(packet.logon, packet.host)
        known = self.by_name.get(name)
        key = signer(packet, known[0] if known else None)
        if key is None:
            self.refused["another key than the first" if known else "bad signature"] += 1
            return False
        if known is None:
            if b"EC" not in packet.fields or carried_key(packet.fields) is None:
                self.refused["no key with it"] += 1
                return False
            self.by_name[name] = key, packet.fields.number(b"EC")
        return True

    def learn(self, logon: str, host: str, key: PublicKey, capability: int) -> None:
        """From ANSPUBKEY: only if it fits the name; replaces a known one if the capability is another (7.2)."""
        known = self.by_name.get(name_of(logon, host))
        if fits(logon, key) and (known is None or known[1] != capability):
            self.by_name[name_of(logon, host)] = key, capability


class Log:
    """The last packets that were not presence or lists: number, logon and host, exactly as written (wire 3.2)."""

    def __init__(self) -> None:
        self._last: deque[tuple[int, str, str]] = deque(maxlen=LOGGED)

    def has(self, number: int, logon: str, host: str) -> bool:
        return (number & 0xFFFFFFFF, logon, host) in self._last

    def add(self, number: int, logon: str, host: str) -> None:
        self._last.append((number & 0xFFFFFFFF, logon, host))


def read_hosts(fields: IPDict) -> list[tuple[Host, bool]]:
    """The users of a signed list with their ACT. Raises MalformedPacket where Windows gives up (wire 6.5)."""
    found = []
    for one in fields.listed(b"HLST"):
        host = Host(
            logon=one.text(b"UID"),
            host=one.text(b"HID"),
            status=one.number(b"STAT"),
            address=one.text(b"IPAD"),
            port=one.number(b"PORT"),
            nick=one.text(b"NCK", ""),
            group=one.text(b"GRP", ""),
            version=one.text(b"CVER", ""),
        )
        found.append((host, one.number(b"ACT", 0) != 0))
    return found
