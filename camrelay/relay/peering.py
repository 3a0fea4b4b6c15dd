"""What goes over the links of the fleet, and what is told to us there.

Rules kept here (design rule 8): a relay tells only of users that it hears itself; changes go at once, and a digest, one
number, finds what differs: on each new link and every ``sync_every``. Only parts that differ are sent again.
"""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING

from camrelay.relay.absence import Absence
from camrelay.relay.copy import row_key
from camrelay.relay.messages import Changes, Digest, Marks, Reach, Row, Rows
from camrelay.relay.outputs import PeerSaid, Tell
from camrelay.relay.parts import LINKED_WITHIN, Parts
from camrelay.relay.peers import MOST_TOLD, Peer
from camrelay.relay.publishing import TOGETHER, Publishing
from camrelay.relay.snapshot import PeerRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from camrelay.relay.announce import Announcer
    from camrelay.relay.context import Context
    from camrelay.relay.messages import PeerMessage, RelayId
    from camrelay.relay.peers import Peers
    from camrelay.relay.settling import Settling
    from camrelay.relay.sweep import Sweep
    from camrelay.relay.user import Key

STEP = 0.02  # seconds between two helpings of what is settled
HELPING = 200  # users in one: some 10 ms
LEARNED = 6.0  # seconds after a start: local clients take 4.1 s to answer, and we know who is here
LEARNED_AT_LAST = 300.0  # if the sweep takes long, or users who were here before do not answer
REPAIRED = 5.0  # seconds after our marks in which a digest that differs shows that the repair failed
MOST_AT_ONCE = 50  # users of one message that are settled at once; more of them in helpings


class Peering:
    """The fleet, as one relay sees it."""

    def __init__(
        self,
        context: Context,
        peers: Peers,
        settling: Settling,
        announcer: Announcer,
        sweep: Sweep,
        now: float,
    ) -> None:
        self._context = context
        self._peers = peers
        self._settling = settling
        self._announcer = announcer
        self._sweep = sweep
        self._started = self._tick = now
        self._publishing = Publishing(context, peers)
        self.publishing = self._publishing
        self.dirty = self._publishing.dirty  # is there anything to flush?
        self._planned = math.inf
        self._learned = False  # do we know who is here?
        self._pending: dict[Key, None] = {}  # users to be settled, in helpings
        self.parts = Parts(context, peers, self._publishing, settling, announcer, sweep, now)
        self._absence = Absence(context, peers, self.parts, settling, self._pending)
        self._handle: dict[type, Callable[..., None]] = {
            Reach: self._reach,
            Digest: self._digest,
            Marks: self._marks,
            Rows: self._rows,
            Changes: self._changes,
        }
        settling.changed = self._publishing.changed
        settling.neighbour = self.parts.assign
        settling.again = lambda keys: self._pending.update(dict.fromkeys(keys))

    # -- members and links -----------------------------------------------------------------------------------------

    def enlist(self, me: RelayId, members: Mapping[RelayId, str], now: float) -> None:
        """These are the members of the fleet now, but for us."""
        self._settling.me = me
        for id_, name in members.items():
            peer = self._peers.setdefault(id_, Peer(id_, name, now))
            if peer.name != name:
                peer.name = name
                self._pending.update(dict.fromkeys(peer.copy.rows))
        for peer in [peer for id_, peer in self._peers.items() if id_ not in members]:
            self._absence.forget(peer)
            del self._peers[peer.id]
        self._publishing.enlist()
        self.parts.assign(now)
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
        if self._publishing.ready or self._pending:
            return
        synced = all(peer.synced is not None for peer in self._peers.values())
        if synced or now >= self._started + LINKED_WITHIN:
            self._absence.accept(now)
            self._publishing.ready = True
            self._publishing.say_reach()
            self.parts.assign(now)

    def flush(self) -> None:
        """What was decided is told."""
        self._publishing.flush()

    def linked(self, id_: RelayId, now: float) -> None:
        """There is a link to this peer: say where we hear users, then whom."""
        peer = self._peers.get(id_)
        if peer is None:
            return
        peer.link(now)
        self.flush()  # what is known now goes with the digest
        self._publishing.say_reach(peer)
        if not self._learned:
            self._publishing.say_since(peer, self._started)
        self.parts.assign(now)
        self._plan()

    def unlinked(self, id_: RelayId, now: float) -> None:
        """The link is gone: its users stay for a while, and what it did for segments is another's part."""
        peer = self._peers.get(id_)
        if peer is None or not peer.linked:
            return
        self._absence.begin(peer, now)
        self.parts.assign(now)
        self._plan()

    def restore(self, id_: RelayId, rows: Iterable[Row], age: float, now: float) -> None:
        """Who was told before a restart, ``age`` seconds ago."""
        peer = self._peers.get(id_)
        if peer is not None:
            self._absence.restore(peer, rows, age, now)
            self._plan()

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
        self.parts.believe(peer, now)
        self._pending.update(dict.fromkeys(peer.copy.rows))

    def _digest(self, peer: Peer, digest: Digest, now: float) -> None:
        if digest == peer.copy.digest():
            peer.asked = -math.inf
            peer.synced = now
            if not peer.confirmed:
                peer.confirmed, peer.stale = True, False
                self._pending.update(dict.fromkeys(peer.copy.rows))
                peer.fresh.clear()
                peer.sure.clear()
                self._get_ready(now)
        elif now - peer.asked >= REPAIRED:
            peer.asked = now
            self._context.count("digests of peers that differed")
            self._context.emit(Tell(peer.id, peer.copy.marks()))
        else:
            self._context.count("digests of peers that differ after a repair")

    def _marks(self, peer: Peer, marks: Marks, now: float) -> None:
        """What differs there is sent bucket by bucket, as fast as the link takes it.

        Not before we know who is here: our digest will say so then. And not all the time.
        """
        if now - peer.repaired < REPAIRED / 5 or not (self._learned or self._has_learned(now)):
            return
        peer.repaired = now
        self.flush()
        owed = self._publishing.of(peer).differing(marks)
        peer.lacks = {n for n in owed if marks.marks[n] == 0}
        peer.owed.extend(n for n in owed if n not in peer.owed)
        if peer.owed:
            self.more(peer.id)
        else:
            self._context.emit(Tell(peer.id, self._publishing.of(peer).digest()))

    def more(self, id_: RelayId) -> None:
        """The link to this peer is idle: the next bucket, and after the last one the digest that proves it."""
        peer = self._peers.get(id_)
        if peer is None or not peer.owed:
            return
        bucket = peer.owed.popleft()
        copy = self._publishing.of(peer)
        rows = copy.bucket(bucket)
        if bucket in peer.lacks:  # nobody there can be gone: small buckets go together
            while peer.owed and peer.owed[0] in peer.lacks and len(rows) < TOGETHER:
                rows += copy.bucket(peer.owed.popleft())
            self._context.emit(Tell(id_, Changes(rows, ())))
        else:
            self._context.emit(Tell(id_, Rows(bucket, rows)))
        if not peer.owed:
            self._context.emit(Tell(id_, copy.digest()))

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
        if self._pending or len(keys) > MOST_AT_ONCE:
            self._pending.update(keys)
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

    def _say_if_learned(self, peer: Peer, now: float) -> None:
        """The digest that is due. Not just after a start: whoever is not known again yet would be gone for all."""
        if self._learned or self._has_learned(now):
            every = self._context.settings.sync_every
            peer.digest_due = now + every * self._context.chance.uniform(0.9, 1.1)
            self.flush()
            self._context.emit(Tell(peer.id, self._publishing.of(peer).digest()))
        else:
            peer.digest_due = now + LEARNED / 6

    def _has_learned(self, now: float) -> bool:
        """Do we know who is here, after our start?"""
        since = now - self._started
        waiting = self._publishing.unsaid or self._sweep.left or self._context.roster.in_doubt
        self._learned = since >= LEARNED_AT_LAST or (since >= LEARNED and not waiting)
        return self._learned

    def next_due(self) -> float:
        """When there is something to do."""
        waiting = self._pending or self._publishing.unsaid or self._settling.round_due
        due = self._tick + STEP if waiting else math.inf
        if not self._publishing.ready:
            due = min(due, max(self._started + LINKED_WITHIN, self._tick + STEP))
        return min(due, self._planned, self.parts.next_due(), self._settling.next_due())

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
                    self._say_if_learned(peer, now)
                self._absence.go_on(peer, now)
            self._plan()
        self._get_ready(now)
        self._settling.expire(now)
        self.parts.tick(now)
        if now - self._tick >= STEP / 2:
            self._tick = now
            unsaid = self._publishing.unsaid
            for _ in range(min(HELPING, len(unsaid))):
                self._publishing.changed(unsaid.popleft())
            for key in list(islice(self._pending, HELPING)):
                del self._pending[key]
                self._settling.settle(key, now)
            if self._settling.round_due and not self._pending and not self._announcer.rounds.under_way:
                self._settling.round_due = False
                self._announcer.rounds.everything()

    # -- shown ---------------------------------------------------------------------------------------------------------

    def rows(self, now: float) -> list[PeerRow]:
        """Every member but us."""
        return [
            PeerRow(
                id=peer.id,
                name=peer.name,
                linked=peer.linked,
                since=now - peer.since,
                users=len(peer.copy),
                owed=len(peer.owed),
                synced=None if peer.synced is None else now - peer.synced,
                local=list(peer.reach.local) if peer.reach else [],
                remote=list(peer.reach.remote) if peer.reach else [],
            )
            for peer in self._peers.values()
        ]
