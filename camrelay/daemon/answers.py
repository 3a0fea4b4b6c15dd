"""The words of the control socket: JSON lines, one request per connection. For both sides: no trio.

Request:  {"v":1,"do":NAME,...}
Answer:   {"v":1,"event":{...}} any number of times, then {"v":1,"ok":true,"result":...} or
          {"v":1,"ok":false,"error":"one line","exit":1}; after a watch's result, events follow without end.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from camrelay.errors import UsageError
from camrelay.relay.snapshot import Snapshot  # noqa: TC001 - msgspec reads the annotations

T = TypeVar("T")

VERSION = 1
LONGEST_REQUEST = 64 << 10  # bytes of the request line: 1,024 segments in full


class Sockets(msgspec.Struct, frozen=True):
    """The presence socket. Buffers in bytes, as granted by the kernel."""

    source: str  # "systemd" or "own"
    receive_buffer: int
    receive_buffer_wanted: int
    send_buffer: int


class Database(msgspec.Struct, frozen=True):
    """The roster on disk. ``last_write`` is an age in seconds, None before the first one."""

    path: str
    users: int
    last_write: float | None
    error: str | None


class Configuration(msgspec.Struct, frozen=True):
    """The configuration in force, ``loaded`` seconds ago; ``problem``: why a newer one was refused."""

    path: str  # "" if there is no file and all defaults apply
    loaded: float
    problem: str | None


class PeerView(msgspec.Struct, frozen=True):
    """One other relay of the fleet. Times are ages or spans in seconds, None where there is nothing to measure."""

    id: str
    name: str  # unique in the fleet
    state: str  # "linked", "connecting", "refused" (a person must act), "away" (was linked), "unreachable"
    since: float
    why: str  # why it is not linked, in words; "" if it is
    address: str  # of the link, or the last one tried
    addresses: list[str]  # all that it is dialled at
    software: str
    rtt: float | None
    users: int  # that it told us of
    owed: int  # parts of our roster, of 256, that it is still to get
    synced: float | None  # age of the last proof that we know exactly its users
    sent: int  # bytes
    received: int
    drops: dict[str, int]  # links that ended, by cause
    words: str  # its key's fingerprint


class InvitationView(msgspec.Struct, frozen=True):
    """A token that was given out. ``left``: seconds that it is good for."""

    id: str
    name: str
    left: float
    used_by: str  # the relay that came with it; "" if none has yet


class FleetView(msgspec.Struct, frozen=True):
    """The fleet as this relay knows it."""

    id: str = ""  # ours; "" as long as this relay has no key
    name: str = ""
    words: str = ""
    addresses: list[str] = []
    problem: str = ""  # why there can be no fleet
    removed_by: str = ""  # who told us that we were removed, and how long ago
    removed: float | None = None
    rotating: bool = False
    awaited: list[str] = []  # who has yet to take our next key
    invitations: list[InvitationView] = []
    peers: list[PeerView] = []


class Status(msgspec.Struct, frozen=True):
    """Everything that ``camrelay status`` shows. Times are ages or spans in seconds."""

    version: str
    pid: int
    uptime: float
    relay: Snapshot
    sockets: Sockets
    database: Database
    config: Configuration
    warnings: list[str]
    counters: dict[str, int]
    fleet: FleetView = FleetView()


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One request line. What each field belongs to stands beside it."""

    v: int
    do: str
    watch: bool = False  # users: events after the result; others: hanging up ends it
    segments: tuple[str, ...] = ()  # sweep
    name: str = ""  # invite
    token: str = ""  # join
    peer: str = ""  # remove
    peers: tuple[str, ...] = ()  # sync
    more: msgspec.Raw = msgspec.Raw(b"{}")  # all others: an object, whose form belongs to the request
    trusted: bool = False  # said by the daemon alone: is it root or our own user who asks?

    def args(self, form: type[T]) -> T:
        """``more`` in the form of this request. Raises UsageError where it does not fit."""
        try:
            return msgspec.json.decode(self.more, type=form)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UsageError(f"{self.do}: {error}") from None


class Invited(msgspec.Struct, frozen=True):
    """The result of an invitation. Who reads ``token`` can join."""

    id: str
    token: str
    left: float  # seconds that it is good for
    name: str
    relay: str  # who invites
    words: str
    addresses: list[str]


class Joined(msgspec.Struct, frozen=True):
    """The result of a join: who took us in, and who we are."""

    inviter: str
    inviter_words: str
    name: str
    words: str
    relays: int  # in the fleet, with us


class Removed(msgspec.Struct, frozen=True):
    """The result of a removal."""

    name: str
    id: str
    ourselves: bool
    told: int  # members with a link, who tell the others


class Rotated(msgspec.Struct, frozen=True):
    """The result of a rotation: what it waits for. None awaited: done."""

    words: str  # of the new key
    awaited: list[str]


class Synced(msgspec.Struct, frozen=True):
    """How it is with one peer after a sync."""

    name: str
    state: str  # "equal" (proven both ways), "told" (it has all of ours), "behind", "away"
    owed: int
    users: int


class Swept(msgspec.Struct, frozen=True):
    """The result of a sweep."""

    asked: int
    answered: int
    seconds: float
