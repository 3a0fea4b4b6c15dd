"""Every user known, by name and by address. Rule kept here: at one address there is at most one live user.

A user is what its last presence datagram says; that datagram is kept, so that the user can be spoken for in any
dialect, and so that hearing the same words again costs next to nothing.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from camrelay.ipmsg.command import MODE_MASK, Option
from camrelay.ipmsg.packet import parse
from camrelay.ipmsg.presence import Kind, Presence, read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from camrelay.relay.segment import Segment

Key = tuple[str, str]

# Strangers on the wire may invent names without end: the oldest of those who are gone make room.
MAX_USERS = 200_000
# A host that changes its name all day keeps this many of them.
MAX_GONE_PER_ADDRESS = 4


class State(Enum):
    """``UNVERIFIED``: was here before a restart or a suspend, and is being asked."""

    ONLINE = "online"
    UNVERIFIED = "unverified"
    OFFLINE = "offline"


class SavedUser(NamedTuple):
    """What outlives a restart. Ages in seconds."""

    datagram: bytes  # the last presence datagram, as received
    charset: str  # proven for this client, or ""
    address: str
    port: int
    online: bool
    heard: float
    joined: float


def key_of(presence: Presence) -> Key:
    """Who this is. A key fingerprint (``taro-<16 hex digits>``) is an attribute, not part of the name."""
    logon, host = presence.key
    if logon[-1:] == ">" and logon[-18:-16] == "-<":
        logon = logon[:-18]
    return logon, host


class Candidate(NamedTuple):
    """Another address that claims to be a user who is live at its own."""

    address: str
    port: int
    segment: Segment
    presence: Presence
    datagram: bytes


class Dialect(NamedTuple):
    """What a listener must be sent to list somebody."""

    absence: bool  # BR_ABSENCE adds users; others need an ANSENTRY of their own
    charset: str | None  # what it reads names in; None: it reads the UTF-8 trailer


def dialect_of(presence: Presence) -> Dialect:
    """The dialect that a client with this presence takes (clients.md sections 1 and 3)."""
    absence = presence.kind.takes_absence
    if presence.options & Option.CAPUTF8:
        return Dialect(absence, None if absence else "utf-8")
    return Dialect(absence, presence.charset)


class User:
    """One IPMSG user. Times are monotonic seconds."""

    __slots__ = (
        "address",
        "asked",
        "candidate",
        "dialect",
        "due",
        "farewell",
        "heard",
        "joined",
        "key",
        "listed",
        "number",
        "patience",
        "port",
        "presence",
        "returns",
        "segment",
        "spacing",
        "mode",
        "started",
        "started_number",
        "state",
        "tail",
        "twin",
        "wants_list",
        "written",
    )

    def __init__(
        self, presence: Presence, datagram: bytes, address: str, port: int, segment: Segment, now: float
    ) -> None:
        self.state = State.ONLINE
        self.key: Key = key_of(presence)
        self.address = address
        self.port = port
        self.segment = segment
        self.joined = self.heard = self.written = now
        self.due = 0.0  # liveness: when this user is looked at next
        self.asked = 0  # liveness: questions without an answer
        self.spacing = 0.0  # liveness: seconds between those questions
        self.patience = 1.0  # liveness: grows for users that come back right after their farewell
        self.returns = 0
        self.farewell = -1e9  # when the last farewell was said
        self.listed = -1e9  # when the last full list was begun
        self.wants_list = False  # a list is due when this user has proved itself
        self.started = -1e9  # when the BR_ENTRY of the present start was heard
        self.started_number = b""  # and its packet number
        self.twin: str | None = None
        self.candidate: Candidate | None = None  # heard there too; the old address is asked first
        self.say(presence, datagram)

    def say(self, presence: Presence, datagram: bytes) -> None:
        """Take over what the user says of itself now."""
        self.presence = presence
        self.dialect = dialect_of(presence)
        _, self.number, self.tail = datagram.split(b":", 2)
        self.mode = int(self.tail.split(b":", 3)[2]) & MODE_MASK

    @property
    def datagram(self) -> bytes:
        """The last presence datagram, as received."""
        return b":".join((self.presence.version, self.number, self.tail))

    @property
    def is_relay(self) -> bool:
        """Another camrelay: never announced, never announced to (design rule 1)."""
        return self.presence.kind is Kind.CAMRELAY

    def saved(self, now: float) -> SavedUser:
        """This user as the store keeps it."""
        p = self.presence
        online = self.state is not State.OFFLINE
        proven = p.charset if p.proven else ""
        return SavedUser(
            self.datagram, proven, self.address, self.port, online, now - self.heard, now - self.joined
        )

    def __repr__(self) -> str:
        return f"<User {self.key[0]}/{self.key[1]} {self.address} {self.state.value}>"


def revive(saved: SavedUser, segment: Segment, codepage: str, now: float) -> User:
    """The user that ``saved`` was. Raises MalformedPacket where the bytes are not a presence datagram."""
    presence = read(parse(saved.datagram), codepage, saved.charset)
    user = User(presence, saved.datagram, saved.address, saved.port, segment, now)
    user.heard = user.written = now - saved.heard
    user.joined = now - saved.joined
    return user


class Roster:
    """Users by name (all of them) and by address (those who are not offline)."""

    def __init__(self) -> None:
        self.by_key: dict[Key, User] = {}
        self.at: dict[str, User] = {}
        self._gone: dict[str, list[User]] = {}  # offline users by their last address

    def __len__(self) -> int:
        return len(self.by_key)

    def add(self, user: User) -> User | None:
        """Take in a new user; returns the one that had to be forgotten for it, if any."""
        dropped = None
        if len(self.by_key) >= MAX_USERS:
            dropped = next((u for u in self.by_key.values() if u.state is State.OFFLINE), None)
            dropped = dropped or next(iter(self.by_key.values()))
            self.remove(dropped)
        self.by_key[user.key] = user
        if user.state is State.OFFLINE:
            self._keep_gone(user)
        else:
            self.seat(user)
        return dropped

    def seat(self, user: User) -> None:
        """The user lives at its address now; whoever sat there was told to leave before."""
        self.leave_gone(user)
        self.at[user.address] = user
        user.segment.add(user)

    def unseat(self, user: User) -> None:
        """The user no longer lives at its address."""
        if self.at.get(user.address) is user:
            del self.at[user.address]
        user.segment.discard(user)

    def say(self, user: User, presence: Presence, datagram: bytes) -> None:
        """The seated user says something else of itself now."""
        user.segment.discard(user)
        user.say(presence, datagram)
        user.segment.add(user)

    def retire(self, user: User) -> User | None:
        """The user is offline; returns one who is to be forgotten because this host had too many names."""
        self.unseat(user)
        user.state = State.OFFLINE
        return self._keep_gone(user)

    def remove(self, user: User) -> None:
        """Nothing of the user is kept."""
        self.unseat(user)
        self.leave_gone(user)
        self.by_key.pop(user.key, None)

    def _keep_gone(self, user: User) -> User | None:
        gone = self._gone.setdefault(user.address, [])
        gone.append(user)
        return gone[0] if len(gone) > MAX_GONE_PER_ADDRESS else None

    def leave_gone(self, user: User) -> None:
        gone = self._gone.get(user.address)
        if gone and user in gone:
            gone.remove(user)
            if not gone:
                del self._gone[user.address]

    def online(self) -> Iterator[User]:
        """Everybody who is surely here."""
        return (u for u in self.at.values() if u.state is State.ONLINE)
