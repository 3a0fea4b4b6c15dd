"""What we know of each relay of our fleet: is there a link, where does it hear users, whom did it tell us of."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from camrelay.relay.copy import Copy

if TYPE_CHECKING:
    from camrelay.relay.duty import Realm
    from camrelay.relay.messages import Reach, RelayId, Row
    from camrelay.relay.user import Key

MOST_CLAIM = 2**62  # no honest claim comes near; who claims more cannot be outbid, and breaks nothing
MOST_TOLD = 131_072  # users of one peer: all addresses of two networks of 16 bits


class Peer:
    """One member of the fleet. Times are monotonic seconds."""

    __slots__ = (
        "asked",
        "claimed",
        "confirmed",
        "copy",
        "digest_due",
        "fresh",
        "id",
        "lacks",
        "leaves",
        "linked",
        "name",
        "owed",
        "reach",
        "realm",
        "repaired",
        "settles",
        "since",
        "stale",
        "sure",
        "synced",
    )

    def __init__(self, id_: RelayId, name: str, now: float) -> None:
        self.id = id_
        self.name = name
        self.linked = False
        self.since = now  # of the present state
        self.copy = Copy()  # whom it told us of
        self.reach: Reach | None = None
        self.claimed = 0  # segments that are only known from it
        self.realm: Realm | None = None
        self.owed: deque[int] = deque()  # buckets that it is still to get
        self.lacks: set[int] = set()  # those of which it has nothing
        self.asked = -math.inf  # when we sent marks; the digest that ends the repair is to come
        self.repaired = -math.inf  # when it sent marks
        self.digest_due = math.inf
        self.synced: float | None = None  # when its digest was equal to ours of it
        self.confirmed = False  # was it, on this link? What we have of before may be long over
        self.fresh: set[Key] = set()  # of whom it told on this link, as long as it is not confirmed
        self.settles = math.inf  # away: when those go whom a live relay would hear
        self.leaves = math.inf  # away: when all of its users go
        self.stale = (
            False  # what we have of it is of before our restart, and counts only when it was compared
        )
        self.sure: set[Key] = set()  # but for these, of whom it told since

    def tells(self, row: Row) -> bool:
        """Is this of a user where the peer can hear one?"""
        return self.realm is not None and self.realm.holds(row.address)

    def lives(self, key: Key) -> bool:
        """Is what it tells of this user so now?"""
        return self.linked and (self.confirmed or key in self.fresh)

    def unsure(self, key: Key) -> bool:
        """Is what we have of this user of before our restart, and was not confirmed since?"""
        return self.stale and key not in self.sure

    def link(self, now: float) -> None:
        """There is a link, and nothing was said on it yet."""
        self.linked, self.since, self.synced = True, now, None
        self.asked = self.repaired = -math.inf
        self.confirmed = False
        self.leaves = self.settles = math.inf
        self.owed.clear()
        self.fresh.clear()
        self.digest_due = now

    def unlink(self, now: float) -> None:
        """There is none any more."""
        self.linked, self.since = False, now
        self.owed.clear()
        self.fresh.clear()
        self.digest_due = math.inf

    def __repr__(self) -> str:
        return f"<Peer {self.name} {'linked' if self.linked else 'away'} {len(self.copy)} users>"


class Told(NamedTuple):
    """The row that counts among those of all peers."""

    live: bool
    claim: int
    by: RelayId
    peer: Peer
    row: Row

    @property
    def rank(self) -> tuple[int, RelayId]:
        """Greater wins among what is live, everywhere the same."""
        return self.claim, self.by


class Peers(dict["RelayId", Peer]):
    """All members but us."""

    @property
    def linked(self) -> list[Peer]:
        """Those with whom we speak."""
        return [peer for peer in self.values() if peer.linked]

    def best(self, key: Key, live: bool = False) -> Told | None:
        """Who tells of this user and counts most. What is not sure to be so now counts least; ``live``: not at all."""
        found: Told | None = None
        for peer in self.values():
            row = peer.copy.rows.get(key)
            if row is None or peer.unsure(key) or not peer.tells(row):
                continue
            told = Told(peer.lives(key), row.claim, peer.id, peer, row)
            if (told.live or not live) and (found is None or told[:3] > found[:3]):
                found = told
        return found

    def unsure(self, key: Key) -> bool:
        """Does what counts about this user depend on a digest to come?"""
        return any(peer.unsure(key) and key in peer.copy.rows for peer in self.values())

    def claim_above(self, key: Key) -> int:
        """The claim that outranks whatever was told of this user."""
        claims = (row.claim for peer in self.values() if (row := peer.copy.rows.get(key)) is not None)
        return 1 + max(claims, default=0)
