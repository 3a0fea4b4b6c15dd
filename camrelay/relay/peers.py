"""What we know of each relay of our fleet: is there a link, where does it hear users, whom did it tell us of."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from camrelay.relay.copy import Copy

if TYPE_CHECKING:
    from camrelay.relay.duty import Realm
    from camrelay.relay.messages import Reach, RelayId, Row

MOST_TOLD = 131_072  # users of one peer: all addresses of two networks of 16 bits


class Peer:
    """One member of the fleet. Times are monotonic seconds."""

    __slots__ = (
        "asked",
        "copy",
        "digest_due",
        "id",
        "leaves",
        "linked",
        "name",
        "owed",
        "reach",
        "realm",
        "settles",
        "since",
        "stale",
        "synced",
    )

    def __init__(self, id_: RelayId, name: str, now: float) -> None:
        self.id = id_
        self.name = name
        self.linked = False
        self.since = now  # of the present state
        self.copy = Copy()  # whom it told us of
        self.reach: Reach | None = None
        self.realm: Realm | None = None
        self.owed: deque[int] = deque()  # buckets that it is still to get
        self.asked = False  # we sent marks, and the digest that ends the repair is to come
        self.digest_due = math.inf
        self.synced: float | None = None  # when its digest was equal to ours of it
        self.settles = math.inf  # away: when those go whom a live relay would hear
        self.leaves = math.inf  # away: when all of its users go
        self.stale = False  # what we have of it is of long ago, and counts only when it was compared

    def tells(self, row: Row) -> bool:
        """Is this of a user where the peer can hear one?"""
        return self.realm is not None and self.realm.holds(row.address)

    def __repr__(self) -> str:
        return f"<Peer {self.name} {'linked' if self.linked else 'away'} {len(self.copy)} users>"


class Told(NamedTuple):
    """The row that counts among those of all peers."""

    peer: Peer
    row: Row

    @property
    def rank(self) -> tuple[int, RelayId]:
        """Greater wins, everywhere the same."""
        return self.row.claim, self.peer.id


class Peers(dict["RelayId", Peer]):
    """All members but us."""

    @property
    def linked(self) -> list[Peer]:
        """Those with whom we speak."""
        return [peer for peer in self.values() if peer.linked]

    def best(self, key: tuple[str, str], live: bool = False) -> Told | None:
        """Who tells of this user and counts most. Those that are away count least; ``live``: not at all."""
        found: Told | None = None
        for peer in self.values():
            row = peer.copy.rows.get(key)
            if row is None or peer.stale or not peer.tells(row) or (live and not peer.linked):
                continue
            told = Told(peer, row)
            if found is None or (peer.linked, *told.rank) > (found.peer.linked, *found.rank):
                found = told
        return found

    def unsure(self, key: tuple[str, str]) -> bool:
        """Does what counts about this user depend on a digest to come?"""
        return any(peer.stale and key in peer.copy.rows for peer in self.values())

    def claim_above(self, key: tuple[str, str]) -> int:
        """The claim that outranks whatever was told of this user."""
        claims = (row.claim for peer in self.values() if (row := peer.copy.rows.get(key)) is not None)
        return 1 + max(claims, default=0)
