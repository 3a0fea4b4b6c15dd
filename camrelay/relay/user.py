"""One user, and who that is. Rule kept here: a key fingerprint is an attribute of a name, not part of it.

A user is what its last presence datagram says; that datagram is kept, so that the user can be spoken for in any
dialect, and so that hearing the same words again costs next to nothing.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from camrelay.errors import MalformedPacket
from camrelay.ipmsg.announcement import announce
from camrelay.ipmsg.command import MODE_MASK, PORT, Command, Option
from camrelay.ipmsg.packet import parse
from camrelay.ipmsg.presence import Kind, Presence, read
from camrelay.ipmsg.pubkey import PublicKey, fits, read_answer, write_answer

if TYPE_CHECKING:
    from camrelay.relay.segment import Segment

Key = tuple[str, str]

NEVER = -1e9  # a time before every other

# What is kept of a presence datagram: all names at their longest, twice, fit in; a stranger's novel does not.
LONGEST = 4096

# Plain numbers: an IntFlag's operators cost a microsecond each.
CAPUTF8 = int(Option.CAPUTF8)
CAPIPDICT = int(Option.CAPIPDICT)
# Others may claim that they do: whoever misreads one would list a user called VER.
TAKES_SIGNED = (Kind.WINDOWS, Kind.MAC)


class State(Enum):
    """``UNVERIFIED``: was here before a restart or a suspend, and is being asked."""

    ONLINE = "online"
    UNVERIFIED = "unverified"
    OFFLINE = "offline"


class Learned(Enum):
    """How a user was taken in, for ``trace why``. Nothing is decided by it."""

    BROADCAST = "broadcast"  # heard on our wire
    UNICAST = "unicast"  # said to us alone, on our wire
    ROUND = "round"  # answered when we asked our own segment
    SWEEP = "sweep"  # answered when its address was asked
    HINT = "hint"  # answered, asked because something was heard that proves nobody
    HEARSAY = "hearsay"  # answered, asked because a client's list, an agent or a peer named the address
    PEER = "peer"  # told
    DISK = "disk"  # known from before a restart


class SavedUser(NamedTuple):
    """What outlives a restart. Ages in seconds."""

    datagram: bytes  # the last presence datagram, as received
    charset: str  # proven for this client, or ""
    address: str
    port: int
    online: bool
    heard: float
    joined: float
    pin: bytes = b""  # the user's public key as in ANSPUBKEY, if one was seen
    claim: int = 1


def key_of(presence: Presence) -> Key:
    """Who this is."""
    return plain(presence.key)


def plain(name: Key) -> Key:
    """A key fingerprint (``taro-<16 hex digits>``) is an attribute, not part of the name."""
    logon, host = name
    if logon[-1:] == ">" and logon[-19:-17] == "-<":
        logon = logon[:-19]
    return logon, host


class Candidate(NamedTuple):
    """Another address that claims to be a user who is live at its own."""

    address: str
    port: int
    segment: Segment
    presence: Presence
    datagram: bytes
    learned: Learned


class Dialect(NamedTuple):
    """What a listener must be sent to list somebody."""

    absence: bool  # BR_ABSENCE adds users; others need an ANSENTRY of their own
    charset: str | None  # what it reads names in; None: it reads UTF-8 that is marked as such
    signed: bool = False  # it takes signed lists, and adds from them as from announcements


def dialect_of(presence: Presence) -> Dialect:
    """The dialect that a client with this presence takes (clients.md sections 1 and 3)."""
    if presence.kind is Kind.IPTUX:  # whatever it sends itself, it takes what is marked as its own for UTF-8
        return _dialect(True, "utf-8")
    capable = presence.options & CAPUTF8
    signed = presence.kind in TAKES_SIGNED and bool(presence.options & CAPIPDICT)
    return _dialect(presence.kind.takes_absence, None if capable else presence.charset, signed)


@lru_cache(256)
def _dialect(absence: bool, charset: str | None, signed: bool = False) -> Dialect:
    """One object for all who take the same: 70 bytes a user."""
    return Dialect(absence, charset, signed)


class User:
    """One IPMSG user. Times are monotonic seconds."""

    __slots__ = (
        "address",
        "asked",
        "candidate",
        "claim",
        "confirmed",
        "dialect",
        "due",
        "farewell",
        "heard",
        "is_relay",
        "joined",
        "key",
        "learned",
        "listed",
        "mode",
        "number",
        "patience",
        "pin",
        "port",
        "presence",
        "returns",
        "rival",
        "segment",
        "shares",
        "spacing",
        "spoke",
        "started",
        "started_number",
        "state",
        "tail",
        "twin",
        "via",
        "wants_list",
        "written",
    )

    def __init__(
        self, presence: Presence, datagram: bytes, address: str, port: int, segment: Segment, now: float
    ) -> None:
        self.state = State.ONLINE
        self.key: Key = key_of(presence)
        self.learned = Learned.DISK  # whoever makes us knows better
        self.address = address
        self.port = port
        self.segment = segment
        self.joined = self.heard = self.written = now
        self.spoke = now  # when it last said who it is (beyond routers: on our own wires everything is heard)
        self.confirmed = False  # broadcast from its address, or answered us from there: no forger's victim
        self.due = 0.0  # liveness: when this user is looked at next
        self.asked = 0  # liveness: questions without an answer
        self.spacing = 0.0  # liveness: seconds between those questions
        self.patience = 1.0  # liveness: grows for users that come back right after their farewell
        self.returns = 0
        self.farewell = NEVER  # when the last farewell was said
        self.listed = NEVER  # when the last full list was begun
        self.wants_list = False  # a list is due when this user has proved itself
        self.started = NEVER  # when the BR_ENTRY of the present start was heard
        self.started_number = b""  # and its packet number
        self.pin: PublicKey | None = None  # the first key seen under this name
        self.shares = 0  # the number of the sharing rules about this user (see ``sharing``)
        self.via: str | None = None  # the peer that told us, of a user whom we do not hear ourselves
        self.claim = 1  # Lamport number of our claim to a home user (see ``peering``)
        self.rival: str | None = None  # where a peer heard the same name; our address is asked first
        self.twin: str | None = None
        self.candidate: Candidate | None = None  # heard there too; the old address is asked first
        self.say(presence, datagram)

    def say(self, presence: Presence, datagram: bytes) -> None:
        """Take over what the user says of itself now."""
        self.presence = presence
        self.dialect = dialect_of(presence)
        # Another camrelay: never announced, never announced to (design rule 1).
        self.is_relay = presence.kind is Kind.CAMRELAY
        long = len(datagram) > LONGEST
        if long:
            number = int(datagram.split(b":", 2)[1])
            datagram = announce(presence, Command.BR_ENTRY, number)
        _, self.number, self.tail = datagram.split(b":", 2)
        if not long:  # else its words are not all there
            self.presence = presence.settled(self.tail)
        self.mode = int(self.tail.split(b":", 3)[2]) & MODE_MASK

    @property
    def datagram(self) -> bytes:
        """The last presence datagram, as received."""
        return b":".join((self.presence.version, self.number, self.tail))

    @property
    def home(self) -> bool:
        """Do we hear this user first hand? Only then we tell it of others, ask whether it is there, tell peers."""
        return self.via is None

    @property
    def known_key(self) -> PublicKey | None:
        """The key that alone proves what this user signs; a name with another fingerprint begins anew."""
        return self.pin if self.pin and fits(self.presence.logon_text, self.pin) else None

    def saved(self, now: float) -> SavedUser:
        """This user as the store keeps it."""
        p = self.presence
        online = self.state is not State.OFFLINE
        proven = p.charset if p.proven else ""
        pin = write_answer(self.pin) if self.pin else b""
        ages = now - self.heard, now - self.joined
        return SavedUser(self.datagram, proven, self.address, self.port, online, *ages, pin, self.claim)

    def __repr__(self) -> str:
        return f"<User {self.key[0]}/{self.key[1]} {self.address} {self.state.value}>"


def revive(saved: SavedUser, segment: Segment, codepage: str, now: float) -> User:
    """The user that ``saved`` was. Raises MalformedPacket where the record is damaged."""
    if not 0 < saved.port < 65_536:
        raise MalformedPacket(f"port {saved.port}")
    presence = read(parse(saved.datagram), codepage, saved.charset)
    port = PORT if saved.port == PORT else saved.port  # one object for nearly all
    user = User(presence, saved.datagram, saved.address, port, segment, now)
    user.heard = user.written = now - saved.heard
    user.joined = now - saved.joined
    user.claim = saved.claim
    user.pin = read_answer(saved.pin)[1] if saved.pin else None
    return user
