"""What ``status`` and ``users`` show: plain values, taken at one instant, safe to encode."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class UserRow:
    """One user of the roster. Addresses as dotted text, ages in seconds before the snapshot."""

    logon: str
    host: str
    nick: str
    group: str
    address: str
    port: int
    segment: str
    state: str  # "online", "unverified" (after a restart, being asked), "offline"
    home: bool  # heard first hand by this relay
    kind: str  # "windows", "iptux", "mac", "feiq", "nwt", "camrelay", "unknown"
    version: str  # what the client calls itself
    charset: str
    away: bool
    joined: float  # age of its arrival
    last_seen: float  # age of its last sign of life
    twin: str | None = None  # another live address that claims the same logon and host
    via: str | None = None  # the relay that told us, where ``home`` is False


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """One segment: ours ("local") or reached through routers ("remote")."""

    name: str  # "192.168.1.0/24" or "192.168.1.*"
    kind: str  # "local" or "remote"
    interface: str | None
    address: str | None  # our own address there
    online: int
    offline: int
    addresses: int  # how many are swept (0 for local ones)
    swept: float | None = None  # age of the last full pass
    next_sweep: float | None = None  # seconds until the next question there
    served_by: str | None = None  # the relay whose part it is to tell those there of others; None: ours


@dataclass(frozen=True, slots=True)
class AgentRow:
    """A client that reports its segment to us."""

    address: str
    nick: str
    asks: bool  # the one that asks its segment; the others only report what they hear
    score: int  # -1 to 1: how its last connections went
    polled: float  # age of its last poll


@dataclass(frozen=True, slots=True)
class MasterRow:
    """One network from which clients poll us as their member master."""

    network: str  # "192.168.2.0/24", as the clients know it
    polling: int  # users whose last poll is recent
    agents: list[AgentRow]
    reported: int  # users in the last report
    answered: float | None  # age of that report
    why: str  # why there are no agents; "" if there may be some


@dataclass(frozen=True, slots=True)
class PeerRow:
    """Another relay of the fleet, as far as the users go. Ages in seconds."""

    id: str
    name: str
    linked: bool
    since: float  # age of the present state
    users: int  # that it told us of
    owed: int  # parts of our roster, of 256, that it is still to get
    synced: float | None  # age of the last proof that our copy is equal to what it has
    local: list[str]  # networks that it is on
    remote: list[str]  # segments that it sweeps


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The relay at one instant."""

    name: str
    can_speak: bool  # may we announce with foreign source addresses?
    segments: list[SegmentRow]
    online: int
    offline: int
    unserved: int  # local users who cannot be served because can_speak is False
    waiting: int  # datagrams queued for paced sending
    sweeping: int  # addresses left in the present pass
    logon: str = ""  # "camrelay-<fingerprint>"; "camrelay" as long as there is no key
    signed: int = 0  # users here and elsewhere who get signed lists
    master: list[MasterRow] = field(default_factory=list)
    foreign: dict[str, int] = field(default_factory=dict)  # hosts of networks that are not ours, on our wire
    counters: dict[str, int] = field(default_factory=dict)
