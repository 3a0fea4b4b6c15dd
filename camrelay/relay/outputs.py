"""What crosses the border between deciding (relay) and acting (daemon): datagrams in, datagrams and events out.

Addresses are dotted IPv4 text, times are monotonic seconds, interfaces are kernel indexes (0: not said).
Tuples, because one of these is made for every datagram.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from camrelay.ipmsg.command import PORT

if TYPE_CHECKING:
    from camrelay.relay.messages import PeerMessage, RelayId, Row
    from camrelay.relay.user import Key, User


@dataclass(frozen=True, slots=True)
class Interface:
    """One IPv4 address of one of our interfaces: a segment that we are on."""

    index: int
    name: str
    address: str
    network: str  # "192.168.1.0/24"
    broadcast: str  # "192.168.1.255"
    also: tuple[str, ...] = ()  # more networks on the same wire, from the configuration


class Datagram(NamedTuple):
    """One UDP datagram as it came in on port 2425."""

    data: bytes
    source: str
    port: int
    interface: int
    broadcast: bool  # sent to a broadcast address (read off IP_PKTINFO's ipi_addr)
    ttl: int  # 0: not known


class Transmit(NamedTuple):
    """Send this. ``speak_as`` is the source address to show; None lets the kernel choose ours."""

    data: bytes
    to: str
    port: int = PORT
    speak_as: str | None = None
    interface: int = 0  # a broadcast needs it: the wrong one is lost silently
    ttl: int = 0  # 0: the system's default


class Connect(NamedTuple):
    """Open TCP to this address, write ``data`` once, wait for the other side to close; report how it went."""

    address: str
    port: int
    data: bytes


class Tell(NamedTuple):
    """Say this to a peer that we have a link with."""

    peer: RelayId
    message: PeerMessage


class UserJoined(NamedTuple):
    """A user is here: new, or back."""

    user: User


class UserChanged(NamedTuple):
    """A user who is here changed its nick, group, absence or abilities."""

    user: User


class UserMoved(NamedTuple):
    """A user who is here is at another address now."""

    user: User
    was: str


class UserLeft(NamedTuple):
    """A user is gone; ``reason`` is "exit", "silent" or "replaced"."""

    user: User
    reason: str


class UserForgotten(NamedTuple):
    """A user was offline for so long that nothing of it is kept."""

    user: User


class UserHeard(NamedTuple):
    """A user's last sign of life is worth writing down again (at most every 10 minutes per user)."""

    user: User


class Twin(NamedTuple):
    """The same logon and host speak from two live addresses; the first one stays."""

    user: User
    other: str


class UserYielded(NamedTuple):
    """A user is no longer heard first hand by us, and still here by the word of a peer."""

    user: User


class PeerSaid(NamedTuple):
    """A peer told of these users, and that those with these keys are gone from it: worth keeping."""

    peer: RelayId
    rows: tuple[Row, ...]
    gone: tuple[Key, ...]


class PeerForgotten(NamedTuple):
    """Nothing that this peer told is kept."""

    peer: RelayId


class SweepDone(NamedTuple):
    """One pass over a remote segment has ended."""

    segment: str
    asked: int
    answered: int
    seconds: float


Event = (
    UserJoined
    | UserChanged
    | UserMoved
    | UserLeft
    | UserForgotten
    | UserHeard
    | UserYielded
    | Twin
    | PeerSaid
    | PeerForgotten
    | SweepDone
)
Output = Transmit | Connect | Tell | Event
