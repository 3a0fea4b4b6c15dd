"""Peers that are away, and what they told before. Rules kept here: their users stay listed for ``keep_users``; whom a
live relay would hear and does not is gone sooner; what is known from before a restart counts when it was compared, or
when the peer did not link in time.
"""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING

from camrelay.relay.copy import Copy, row_key
from camrelay.relay.messages import Reach, Row
from camrelay.relay.outputs import PeerForgotten, PeerSaid
from camrelay.relay.parts import LINKED_WITHIN, Parts
from camrelay.relay.peers import MOST_TOLD, Peer, Peers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from camrelay.relay.context import Context
    from camrelay.relay.settling import Settling
    from camrelay.relay.user import Key

SETTLED = 15.0  # seconds: all sides notice that a relay is dead, and who is nearest takes its users over
MOST_GIVEN_UP = 1_024  # users; who else left in the last moment of a relay goes with the rest of its users


class Absence:
    """See above."""

    def __init__(self, context: Context, peers: Peers, parts: Parts, settling: Settling) -> None:
        self._context = context
        self._peers = peers
        self._parts = parts
        self._settling = settling
        self._accepts = False  # is the time over in which peers were to link after our restart?
        self._given_up: dict[tuple[Key, str], float] = {}  # who, where: when a peer said so last

    def begin(self, peer: Peer, now: float) -> None:
        """There is no link to ``peer`` any more."""
        peer.unlink(now)
        peer.leaves = now + self._context.settings.keep_users
        peer.settles = now + SETTLED
        for (key, address), when in self._given_up.items():
            if now - when < SETTLED:  # said by another one, and perhaps not heard from this one any more
                self._overrule(key, address)
                self._settling.later([key])
        self._settling.later(self._settling.contested)
        if self._accepts:
            self._accept(peer)
        for other in self._peers.linked:  # whom another one tells of, too
            self._settling.later(peer.copy.rows.keys() & other.copy.rows.keys())

    def go_on(self, peer: Peer, now: float) -> None:
        """Whatever is due."""
        if now >= peer.settles:
            self._settle_down(peer)
        if now >= peer.leaves:
            self.forget(peer)

    def _settle_down(self, peer: Peer) -> None:
        """It stays away. Whom a live relay would hear, and does not, is gone; the others are kept for longer."""
        peer.settles = math.inf
        heard: dict[str, bool] = {}  # by /24
        gone = []
        for key, row in list(peer.copy.rows.items()):
            front = row.address.rpartition(".")[0]
            if front not in heard:
                heard[front] = self._parts.live(row.address)
            if heard[front]:
                peer.copy.drop(key)
                gone.append(key)
        self._settling.later(gone)
        self._context.emit(PeerSaid(peer.id, (), tuple(gone)))

    def forget(self, peer: Peer) -> None:
        """Nothing that it told counts any more."""
        self._settling.later(peer.copy.rows)
        peer.copy = Copy()
        peer.leaves = peer.settles = math.inf
        peer.linked = peer.stale = False
        peer.sure.clear()
        self._context.emit(PeerForgotten(peer.id))

    # -- what others say meanwhile -------------------------------------------------------------------------------

    def given_up(self, key: Key, address: str, now: float) -> None:
        """A relay that heard this user there gave it up: the word of one that is away does not keep it."""
        self._overrule(key, address)
        self._given_up.pop((key, address), None)  # the latest last
        self._given_up[key, address] = now
        if len(self._given_up) > MOST_GIVEN_UP:
            del self._given_up[next(iter(self._given_up))]

    def back(self, rows: Iterable[Row]) -> None:
        """These are there again."""
        for row in rows if self._given_up else ():
            self._given_up.pop((row_key(row), row.address), None)

    def _overrule(self, key: Key, address: str) -> None:
        for peer in self._peers.values():
            row = peer.copy.rows.get(key)
            if row is not None and row.address == address and not peer.lives(key):
                peer.copy.drop(key)
                self._context.emit(PeerSaid(peer.id, (), (key,)))

    # -- over a restart --------------------------------------------------------------------------------------------

    def restore(self, peer: Peer, rows: Iterable[Row], age: float, now: float) -> None:
        """Who was told before a restart. Where the peer hears users, its rows say."""
        for row in islice(rows, MOST_TOLD):
            peer.copy.put(row)
            self._settling.remembered.setdefault(row_key(row), {})[row.address] = row
        left = max(LINKED_WITHIN, self._context.settings.keep_users - age)
        peer.stale = True
        heard = {row.address.rpartition(".")[0] + ".*": None for row in peer.copy.rows.values()}
        peer.reach = Reach((), tuple(heard), (), False)
        self._parts.believe(peer, now)
        peer.leaves = now + left
        peer.settles = now + SETTLED

    def accept(self, now: float) -> None:
        """Who did not link in time stays away: what it told lately counts."""
        self._accepts = True
        for peer in self._peers.values():
            if not peer.linked and peer.leaves > now:
                self._accept(peer)

    def _accept(self, peer: Peer) -> None:
        if peer.stale:
            peer.stale = False
            peer.sure.clear()
            self._settling.later(peer.copy.rows)
