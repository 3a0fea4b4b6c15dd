"""Whom peers are told of, and when. Rules kept here (design rule 8): only of users that we hear ourselves, so nothing
goes round in circles; a change is told once, at the end of the call in which it was decided; a digest, one number, says
whether a peer has it all, and only parts that differ are sent again.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from camrelay.relay.copy import Copy
from camrelay.relay.messages import Changes, Reach, Row, Rows
from camrelay.relay.outputs import Tell
from camrelay.relay.telling import row_of, same
from camrelay.relay.user import State, User

if TYPE_CHECKING:
    from camrelay.relay.context import Context
    from camrelay.relay.messages import Marks, RelayId
    from camrelay.relay.peers import Peer, Peers
    from camrelay.relay.sweep import Sweep
    from camrelay.relay.user import Key

TOGETHER = 256  # rows in one message of changes
LEARNED = 6.0  # seconds after a start: local clients take 4.1 s to answer, and we know who is here
LEARNED_AT_LAST = 300.0  # if the sweep takes long, or users who were here before do not answer
REPAIR_EVERY = 1.0  # seconds: a peer that asks more often is not answered
View = tuple[str, "RelayId"]  # name and id of a peer about whom there are sharing rules
EVERYBODY: View = ("", "")  # of all others: whom they are told of
Said = tuple["Key", User, Row | None, bool]


class Publishing:
    """Our home users as rows, one copy for each ``View`` that a peer has; none as long as there is no fleet."""

    def __init__(self, context: Context, peers: Peers, sweep: Sweep, now: float) -> None:
        self._context = context
        self._peers = peers
        self._sweep = sweep
        self._started = now
        self._learned = False  # do we know who is here?
        self._copies: dict[View, Copy] = {}
        self.dirty: dict[Key, tuple[User, bool]] = {}  # to be told anew; True: even if nothing changed
        self.unsaid: deque[User] = deque()  # who was here when the fleet, or another view, began
        self._said: Reach | None = None
        self.ready = True  # do we know who is where, so that we serve what is our part?

    # -- the fleet -------------------------------------------------------------------------------------------------

    def enlist(self) -> None:
        """The members, or what they may know, are others now."""
        self._context.sharing.enlist({peer.name: peer.id for peer in self._peers.values()})
        views = {self._view(peer) for peer in self._peers.values()}
        new = not views <= self._copies.keys()
        self._copies = {view: self._copies.get(view) or Copy() for view in views}
        if new:
            self.everybody()
        if not views:
            self.dirty.clear()
            self.unsaid.clear()

    def everybody(self) -> None:
        """All who are here now are to be told of, in helpings."""
        if self._copies:
            self.unsaid.extend(self._context.roster.by_key.values())

    def of(self, peer: Peer) -> Copy:
        """What this peer is to know."""
        return self._copies[self._view(peer)]

    def _view(self, peer: Peer) -> View:
        rules = self._context.sharing.rules
        return (peer.name, peer.id) if rules.about_peer(peer.name, peer.id) else EVERYBODY

    def reach(self) -> Reach:
        """Where we hear users."""
        segments = self._context.segments
        local = tuple(s.name for s in segments.local)
        also = tuple(n for s in segments.local if s.interface for n in s.interface.also)
        remote = tuple(s.name for s in segments.remote)
        pointed = tuple(s.name for s in segments.pointed if s.groups)
        return Reach(local + also, remote, pointed, self._context.can_speak, self.ready)

    def say_reach(self, to: Peer | None = None) -> None:
        """To a peer that is new; to all, if it changed."""
        reach = self.reach()
        if to is not None:
            self._context.emit(Tell(to.id, reach))
        if reach != self._said:
            self._said = reach
            for peer in self._peers.linked:
                if peer is not to:
                    self._context.emit(Tell(peer.id, reach))

    def linked(self, peer: Peer) -> None:
        """There is a link to this peer: say where we hear users; and who came since our start, if the digest waits."""
        self.flush()  # what is known now goes with the digest
        self.say_reach(peer)
        if not self._learned:
            by_key, rows = self._context.roster.by_key, self.of(peer).rows
            new = [
                row for key, row in rows.items() if (user := by_key.get(key)) and user.joined >= self._started
            ]
            self._say([peer], new, [])

    # -- users -----------------------------------------------------------------------------------------------------

    def changed(self, user: User, again: bool = False) -> None:
        """Something is different about a user: if we hear it, peers are told at the end of this call.

        ``again``: also if nothing is, because they asked.
        """
        if self._copies and not user.is_relay:
            before = self.dirty.get(user.key)
            self.dirty[user.key] = user, again or (before is not None and before[1])

    def flush(self) -> None:
        """Tell what has changed."""
        if not self.dirty:
            return
        said = [(key, user, self._row(user), again) for key, (user, again) in self.dirty.items()]
        self.dirty.clear()
        if any(row is not None and user.segment.interface is None for _, user, row, _ in said):
            self.say_reach()  # a client may be the first that was pointed at us from there
        for view, copy in self._copies.items():
            peers = [peer for peer in self._peers.linked if self._view(peer) == view]
            self._tell(view, copy, peers, said)

    def go_on(self, most: int) -> None:
        """The next ``most`` of those who are yet unsaid."""
        for _ in range(min(most, len(self.unsaid))):
            self.changed(self.unsaid.popleft())

    def _tell(self, view: View, copy: Copy, peers: list[Peer], said: list[Said]) -> None:
        visible, limited = self._context.sharing.visible_to_peer, view != EVERYBODY
        rows: list[Row] = []
        gone: list[Key] = []
        for key, user, row, again in said:
            before = copy.rows.get(key)
            if row is None or (limited and not visible(user, *view)):
                if copy.drop(key) is not None:
                    gone.append(key)
            elif before is None or not same(row, before):
                copy.put(row, key)
                rows.append(row)
            elif again:
                rows.append(before)
        self._say(peers, rows, gone)

    def _say(self, peers: list[Peer], rows: list[Row], gone: list[Key]) -> None:
        for start in range(0, max(len(rows), len(gone)), TOGETHER):
            part = slice(start, start + TOGETHER)
            news = Changes(tuple(rows[part]), tuple(gone[part]))
            for peer in peers:
                self._context.emit(Tell(peer.id, news))

    def _row(self, user: User) -> Row | None:
        """What peers are to know of ``user``: nothing, if it is not ours and we do not contest it."""
        if user.state is not State.ONLINE or self._context.roster.by_key.get(user.key) is not user:
            return None
        if user.home and user.port:
            return row_of(user, user.address, user.port, user.presence, user.claim)
        there = user.candidate
        return row_of(user, there.address, there.port, there.presence, 0) if there else None

    # -- comparing -------------------------------------------------------------------------------------------------

    def say_digest(self, peer: Peer, now: float) -> None:
        """The digest that is due. Not just after a start: whoever is not known again yet would be gone for all."""
        if self._has_learned(now):
            every = self._context.settings.sync_every
            peer.digest_due = now + every * self._context.chance.uniform(0.9, 1.1)
            self.flush()
            self._context.emit(Tell(peer.id, self.of(peer).digest()))
        else:
            peer.digest_due = now + LEARNED / 6

    def _has_learned(self, now: float) -> bool:
        """Do we know who is here, after our start?"""
        if not self._learned:
            since = now - self._started
            waiting = self.unsaid or self._sweep.left or self._context.roster.in_doubt
            self._learned = since >= LEARNED_AT_LAST or (since >= LEARNED and not waiting)
        return self._learned

    def repair(self, peer: Peer, marks: Marks, now: float) -> None:
        """What differs there is sent bucket by bucket, as fast as the link takes it.

        Not before we know who is here: our digest will say so then. And not all the time.
        """
        if now - peer.repaired < REPAIR_EVERY or not self._has_learned(now):
            return
        peer.repaired = now
        self.flush()
        copy = self.of(peer)
        owed = copy.differing(marks)
        peer.lacks = {n for n in owed if marks.marks[n] == 0}
        peer.owed.extend(n for n in owed if n not in peer.owed)
        if peer.owed:
            self.more(peer)
        else:
            self._context.emit(Tell(peer.id, copy.digest()))

    def more(self, peer: Peer) -> None:
        """The link to this peer is idle: the next bucket, and after the last one the digest that proves it."""
        if not peer.owed:
            return
        bucket = peer.owed.popleft()
        copy = self.of(peer)
        rows = copy.bucket(bucket)
        if bucket in peer.lacks:  # nobody there can be gone: small buckets go together
            while peer.owed and peer.owed[0] in peer.lacks and len(rows) < TOGETHER:
                rows += copy.bucket(peer.owed.popleft())
            self._context.emit(Tell(peer.id, Changes(rows, ())))
        else:
            self._context.emit(Tell(peer.id, Rows(bucket, rows)))
        if not peer.owed:
            self._context.emit(Tell(peer.id, copy.digest()))
