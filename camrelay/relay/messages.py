"""What relays of a fleet tell each other about their users. Plain tuples; ``daemon.wire`` turns them into bytes.

Rule kept here: a relay tells of its home users only, each in one ``Row``; nothing in a row changes while its user says
the same, so equal rosters have equal digests (design section Versions).
"""

from __future__ import annotations

from typing import NamedTuple

RelayId = str  # SHA-256 of the first peer key's public part, 64 hex digits: stays when the key is rotated

BUCKETS = 256  # parts of a roster, by hash of the key: only those that differ travel


class Row(NamedTuple):
    """One user as its relay heard it first hand. Times never travel."""

    logon: str  # with its key fingerprint, if it has one
    host: str
    nick: str
    group: str
    version: bytes  # the VER field
    options: int  # the 24 option bits
    parts: bytes  # what iptux, Nwt and others put behind the group
    line: str  # the VS: line of the trailer
    charset: str  # of the names in its own packets
    address: str
    port: int
    number: int  # packet number of the presence that said this
    claim: int  # Lamport number; 0: contested, the user is another relay's at another address


class Reach(NamedTuple):
    """Where the sender hears users: told first, and again when it changes."""

    local: tuple[str, ...]  # networks of its interfaces, "192.168.1.0/24"
    remote: tuple[str, ...]  # segments that it sweeps, "192.168.2.*"
    pointed: tuple[str, ...]  # segments from which clients were pointed at it, "10.9.3.*"
    can_speak: bool
    ready: bool = True  # False: just started, so others are to serve its segments until it knows who is where


class Digest(NamedTuple):
    """The sender's whole roster in one number. Equal: nothing follows."""

    users: int
    mark: int  # unsigned, 64 bits


class Marks(NamedTuple):
    """The answer to a digest that differs: what the receiver of rows has, bucket by bucket (``BUCKETS`` of them)."""

    marks: tuple[int, ...]


class Rows(NamedTuple):
    """All rows of one bucket of the sender: who is not among them is gone."""

    bucket: int
    rows: tuple[Row, ...]


class Changes(NamedTuple):
    """Who came or changed, and the keys (logon, host; case folded) of those who left, at once."""

    rows: tuple[Row, ...]
    gone: tuple[tuple[str, str], ...]


PeerMessage = Reach | Digest | Marks | Rows | Changes
