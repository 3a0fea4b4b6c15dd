"""What is told of datagrams that somebody watches: a line for each, a row for each address."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Final

import msgspec
import trio

from camrelay.ipmsg.command import PORT
from camrelay.ipmsg.discreet import without_body
from camrelay.relay.outputs import Datagram, Transmit
from camrelay.relay.segment import number
from camrelay.relay.sharing import span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from camrelay.daemon.tap import Seen
    from camrelay.daemon.tracing import Stand
    from camrelay.relay.outputs import Interface
    from camrelay.relay.user import User

MOST_ROWS: Final = 10_000  # addresses counted one by one; all others in one row
_REMEMBERED: Final = 1024  # addresses to which we know our own


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One datagram. ``data`` travels as base64; with its body blanked unless bodies were asked for."""

    time: float  # Unix seconds
    source: str
    source_port: int
    target: str
    target_port: int
    data: bytes
    out: bool = False
    broadcast: bool = False
    interface: str = ""  # its name, where it is known
    ttl: int = 0  # 0: not known
    name: str = ""  # of the user at the other side's address
    speak_as: str = ""  # the nick of whom we speak for
    charset: str = ""  # proven for the names in it
    fate: str = ""


class Row(msgspec.Struct, frozen=True):
    """What was counted about one address; ``address`` "" for all those that found no room."""

    address: str
    user: str
    logon: str
    host: str
    segment: str
    from_packets: int
    from_bytes: int
    to_packets: int
    to_bytes: int
    as_packets: int  # in this user's name
    as_bytes: int


class Tally:
    """Packets and bytes: in all, and by address. Bounded."""

    def __init__(self) -> None:
        self.heard = [0, 0]
        self.sent = [0, 0]
        self.rows: dict[str, list[int]] = {}  # address: packets and bytes from it, to it, in its name

    @property
    def packets(self) -> int:
        """In both directions."""
        return self.heard[0] + self.sent[0]

    def add(self, seen: Seen) -> None:
        """One more."""
        packet = seen.packet
        size = len(packet.data)
        if isinstance(packet, Datagram):
            total, address, place = self.heard, packet.source, 0
        else:
            total, address, place = self.sent, packet.to, 2
            if packet.speak_as is not None:
                self._count(packet.speak_as, 4, size)
        total[0] += 1
        total[1] += size
        self._count(address, place, size)

    def _count(self, address: str, place: int, size: int) -> None:
        row = self.rows.get(address)
        if row is None:
            if len(self.rows) >= MOST_ROWS:
                address = ""
            row = self.rows.setdefault(address, [0] * 6)
        row[place] += 1
        row[place + 1] += size


class Scribe:
    """Writes lines and rows: who is at an address, and where a datagram goes on our side."""

    def __init__(self, stand: Stand, bodies: bool, toward: Callable[[str], str] | None = None) -> None:
        self._stand = stand
        self._bodies = bodies
        self._toward = toward or own_address
        self._ours: dict[str, str] = {}  # address: that of ours which the kernel speaks from

    def lines(self, batch: Sequence[Seen]) -> Iterator[Line]:
        """One for each."""
        ahead = time.time() - trio.current_time()
        for seen in batch:
            packet = seen.packet
            if isinstance(packet, Transmit):
                yield self._sent(packet, seen.at + ahead)
            else:
                yield self._heard(packet, seen.at + ahead, seen.fate)

    def row(self, address: str, counted: Sequence[int]) -> Row:
        """What was counted about one address."""
        user = self._stand.relay.look.at(address)
        if user is None:
            return Row(address, "", "", "", "", *counted)
        presence = user.presence
        return Row(address, _name(user), presence.logon_text, presence.host_text, user.segment.name, *counted)

    def _heard(self, packet: Datagram, at: float, fate: str) -> Line:
        user = self._stand.relay.look.at(packet.source)
        wire = self._wire(packet.interface, packet.source)
        target = "" if wire is None else wire.broadcast if packet.broadcast else wire.address
        return Line(
            time=at,
            source=packet.source,
            source_port=packet.port,
            target=target,
            target_port=PORT,
            data=self._shown(packet.data),
            broadcast=packet.broadcast,
            interface=wire.name if wire else "",
            ttl=packet.ttl,
            name=_name(user),
            charset=_charset(user),
            fate=fate,
        )

    def _sent(self, packet: Transmit, at: float) -> Line:
        at_target = self._stand.relay.look.at(packet.to)
        spoken = self._stand.relay.look.at(packet.speak_as) if packet.speak_as else None
        wire = self._wire(packet.interface, packet.to) if packet.interface else None
        return Line(
            time=at,
            source=packet.speak_as or (wire.address if wire else self._own(packet.to)),
            source_port=PORT,
            target=packet.to,
            target_port=packet.port,
            data=self._shown(packet.data),
            out=True,
            broadcast=bool(packet.interface),
            interface=wire.name if wire else "",
            ttl=packet.ttl,
            name=_name(at_target),
            speak_as=_name(spoken) or packet.speak_as or "",
            charset=_charset(at_target) or _charset(spoken),
        )

    def _shown(self, data: bytes) -> bytes:
        return data if self._bodies else without_body(data)

    def _wire(self, index: int, address: str) -> Interface | None:
        """The interface of this number; of several networks on it the one that holds ``address``."""
        found = [one for one in self._stand.interfaces() if one.index == index]
        if len(found) < 2:
            return found[0] if found else None
        value = number(address)
        holding = (one for one in found if (s := span(one.network)).first <= value <= s.last)
        return next(holding, found[0])

    def _own(self, address: str) -> str:
        known = self._ours.get(address)
        if known is None:
            if len(self._ours) >= _REMEMBERED:
                self._ours.clear()
            known = self._ours[address] = self._toward(address)
        return known


def own_address(address: str) -> str:
    """The address of ours that the kernel would choose to reach ``address``; "" if there is no way. Sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as looking:
        try:
            looking.connect((address, PORT))
        except OSError:
            return ""
        return str(looking.getsockname()[0])


def _name(user: User | None) -> str:
    return "" if user is None else user.presence.nick_text or user.presence.logon_text


def _charset(user: User | None) -> str:
    return user.presence.charset if user is not None and user.presence.proven else ""
