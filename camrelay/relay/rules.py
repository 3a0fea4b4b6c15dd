"""Every number the relay decides by, with its reason. What an admin may change is in ``Settings``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Share(NamedTuple):
    """Who is shown where: see ``sharing``. "192.168.1.*", "10.1.2.0/24", "group:Sales", "peer:hq", "here" and "*"."""

    who: tuple[str, ...]  # the users it is about
    to: tuple[str, ...]  # and who would see them; no groups
    allow: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """What the configuration says to the relay. Times in seconds, addresses as dotted text."""

    name: str = "camrelay"
    group: str = "CAMRelay"
    remote: tuple[str, ...] = ()  # "192.168.1.*" or "10.1.5.20", own segments may be among them (skipped)
    accept_from: tuple[str, ...] = ()  # further networks "10.9.0.0/16" whose clients may speak to us
    codepage: str = "cp932"  # what a client without any sign of its charset is read in
    sweep_every: float = 600.0  # known and recently used addresses
    sweep_unknown_every: float = 3600.0  # addresses that never answered
    sweep_rate: float = (
        150.0  # datagrams per second; above 200 an ordinary router's neighbour table overflows
    )
    announce_every: float = 7200.0  # the whole external roster again, to every segment
    master: bool = False  # appoint agents among the clients that poll us (IP Messenger's member master)
    between_remote: bool = False  # announce users of one remote segment to another: depends on the routers
    silent_after: float = 200.0  # a local user silent for so long is gone, the last 40 s of it spent probing
    forget_after: float = 604800.0  # an offline user is dropped from the roster
    sync_every: float = 7200.0  # a digest to every peer
    keep_users: float = 3600.0  # the users of a peer that is away stay listed for so long
    shares: tuple[Share, ...] = ()  # who is shown where
