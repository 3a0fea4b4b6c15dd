"""The fleet, as one relay sees it: who is in it and linked, and what is told to us (what we tell: ``publishing``).

Rule kept here (design rule 8): what a peer told is compared with its digest, one number, on each new link and every
``sync_every``; what differs is asked for.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from camrelay.relay.absence import Absence
from camrelay.relay.copy import row_key
from camrelay.relay.messages import Changes, Digest, Marks, Reach, Row, Rows
from camrelay.relay.outputs import PeerSaid, Tell
from camrelay.relay.parts import LINKED_WITHIN
from camrelay.relay.peers import MOST_TOLD, Peer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from camrelay.relay.context import Context
    from camrelay.relay.messages import PeerMessage, RelayId
    from camrelay.relay.parts import Parts
    from camrelay.relay.peers import Peers
    from camrelay.relay.publishing import Publishing
    from camrelay.relay.settling import Settling
    from camrelay.relay.user import Key

STEP = 0.02  # seconds between two helpings of what is settled
HELPING = 200  # users in one: some 10 ms
REPAIRED = 5.0  # seconds after our marks in which a digest that differs shows that the repair failed
MOST_AT_ONCE = 50  # users of one message that are settled at once; more of them in helpings


class Peering:
    """See above."""

    def __init__(
        self,
        context: Context,
        peers: Peers,
        publishing: Publishing,
        settling: Settling,
        parts: Parts,
        now: float,
    ) -> None:
        self._context = context
        self._peers = peers
        self._publishing = publishing
        self._settling = settling
        self._parts = parts
        self._absence = Absence(context, peers, parts, settling)
        self._started = self._tick = now
        self._planned = math.inf
        self._handle: dict[type, Callable[..., None]] = {
            Reach: self._reach,
            Digest: self._digest,
            Marks: publishing.repair,
            Rows: self._rows,
            Changes: self._changes,
        }

    # -- members and links -----------------------------------------------------------------------------------------

    def enlist(self, me: RelayId, members: Mapping[RelayId, str], now: float) -> None:
        """These are the members of the fleet now, but for us."""
        self._settling.me = me
        for id_, name in members.items():
            peer = self._peers.setdefault(id_, Peer(id_, name, now))
            if peer.name != name:
                peer.name = name
                self._settling.later(peer.copy.rows)
        for peer in [peer for id_, peer in self._peers.items() if id_ not in members]:
            self._absence.forget(peer)
            del self._peers[peer.id]
        self._publishing.enlist()
        self._parts.assign(now)
        self._plan()

    def reshare(self, now: float) -> None:
        """Other rules say whom peers may know of."""
        self._publishing.enlist()
        self._publishing.everybody()
        self.sync((), now)

    def begin(self) -> None:
        """We start: whom we knew before is here."""
        self._publishing.everybody()
        self._publishing.ready = not self._peers

    def _get_ready(self, now: float) -> None:
        """Whoever is linked has told us everything, or time is up: serve what is our part."""
        if self._publishing.ready or self._settling.pending:
            return
        synced = all(peer.synced is not None for peer in self._peers.values())
        if synced or now >= self._started + LINKED_WITHIN:
            self._absence.accept(now)
            self._publishing.ready = True
            self._publishing.say_reach()
            self._parts.assign(now)

    def linked(self, id_: RelayId, now: float) -> None:
        """There is a link to this peer."""
        peer = self._peers.get(id_)
        if peer is None:
            return
        peer.link(now)
        self._publishing.linked(peer)
        self._parts.assign(now)
        self._plan()

    def unlinked(self, id_: RelayId, now: float) -> None:
        """The link is gone: its users stay for a while, and what it did for segments is another's part."""
        peer = self._peers.get(id_)
        if peer is None or not peer.linked:
            return
        self._absence.begin(peer, now)
        self._parts.assign(now)
        self._plan()

    def restore(self, id_: RelayId, rows: Iterable[Row], age: float, now: float) -> None:
        """Who was told before a restart, ``age`` seconds ago."""
        peer = self._peers.get(id_)
        if peer is not None:
            self._absence.restore(peer, rows, age, now)
            self._plan()

    def more(self, id_: RelayId) -> None:
        """The link to this peer is idle."""
        peer = self._peers.get(id_)
        if peer is not None:
            self._publishing.more(peer)

    # -- what is told to us ------------------------------------------------------------------------------------------

    def hear(self, id_: RelayId, message: PeerMessage, now: float) -> None:
        """A peer said this."""
        peer = self._peers.get(id_)
        if peer is None or not peer.linked:
            self._context.count("dropped: said by no peer of ours")
            return
        self._handle[type(message)](peer, message, now)

    def _reach(self, peer: Peer, reach: Reach, now: float) -> None:
        if reach == peer.reach and peer.realm is not None:
            return
        peer.reach = reach
        self._parts.believe(peer, now)
        self._settling.later(peer.copy.rows)

    def _digest(self, peer: Peer, digest: Digest, now: float) -> None:
        if digest == peer.copy.digest():
            peer.asked = -math.inf
            peer.synced = now
            if not peer.confirmed:
                peer.confirmed, peer.stale = True, False
                self._settling.later(peer.copy.rows)
                peer.fresh.clear()
                peer.sure.clear()
                self._get_ready(now)
        elif now - peer.asked >= REPAIRED:
            peer.asked = now
            self._context.count("digests of peers that differed")
            self._context.emit(Tell(peer.id, peer.copy.marks()))
        else:
            self._context.count("digests of peers that differ after a repair")

    def _rows(self, peer: Peer, part: Rows, now: float) -> None:
        rows = part.rows[: max(0, MOST_TOLD - len(peer.copy))]
        changed, gone, strays = peer.copy.replace(part.bucket, rows)
        if strays or len(rows) < len(part.rows):
            self._context.count("rows of peers not taken")
        self._told(peer, changed, gone, now)

    def _changes(self, peer: Peer, changes: Changes, now: float) -> None:
        rows = changes.rows[: max(0, MOST_TOLD - len(peer.copy))]
        if len(rows) < len(changes.rows):
            self._context.count("rows of peers not taken")
        gone = []
        for key in changes.gone:
            row = peer.copy.drop(key)
            if row is not None:
                gone.append(key)
                self._settling.doubt(key, row, now)
                self._absence.given_up(key, row.address, now)
        for row in rows:
            peer.copy.put(row)
        self._told(peer, rows, gone, now, fresh=True)

    def _told(
        self, peer: Peer, rows: Sequence[Row], gone: Sequence[Key], now: float, fresh: bool = False
    ) -> None:
        if not rows and not gone:
            return
        # What it cannot hear is not kept: after a restart its rows say where it hears users.
        believed = tuple(row for row in rows if peer.tells(row))
        others = [row_key(row) for row in rows if not peer.tells(row)] if len(believed) < len(rows) else []
        self._context.emit(PeerSaid(peer.id, believed, (*gone, *others)))
        keys = dict.fromkeys([*gone, *map(row_key, rows)])
        self._absence.back(rows)
        if not peer.confirmed:
            peer.fresh.update(keys)
        if peer.stale:
            peer.sure.update(keys)
        if self._settling.pending or len(keys) > MOST_AT_ONCE:
            self._settling.later(keys)
            return
        for key in keys:
            self._settling.settle(key, now, fresh)

    # -- time --------------------------------------------------------------------------------------------------------

    def sync(self, peers: Sequence[RelayId], now: float) -> None:
        """Compare with these (all, if none is named), both ways, as soon as we know who is here."""
        for peer in self._peers.linked:
            if not peers or peer.id in peers:
                peer.digest_due = now
                peer.asked = now
                self._context.emit(Tell(peer.id, peer.copy.marks()))
        self._plan()

    def next_due(self) -> float:
        """When there is something to do."""
        waiting = self._publishing.unsaid or self._settling.waiting
        due = self._tick + STEP if waiting else math.inf
        if not self._publishing.ready:
            due = min(due, max(self._started + LINKED_WITHIN, self._tick + STEP))
        return min(due, self._planned, self._parts.next_due(), self._settling.next_due())

    def _plan(self) -> None:
        """Whatever is due at peers, found once for all who ask."""
        peers = self._peers.values()
        due = (min(peer.digest_due, peer.settles, peer.leaves) for peer in peers)
        self._planned = min(due, default=math.inf)

    def tick(self, now: float) -> None:
        """Whatever is due."""
        if now >= self._planned:
            for peer in self._peers.values():
                if now >= peer.digest_due:
                    self._publishing.say_digest(peer, now)
                self._absence.go_on(peer, now)
            self._plan()
        self._get_ready(now)
        self._settling.expire(now)
        self._parts.tick(now)
        if now - self._tick >= STEP / 2:
            self._tick = now
            self._publishing.go_on(HELPING)
            self._settling.go_on(HELPING, now)
