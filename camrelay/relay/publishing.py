"""Whom peers are told of, and when. Rule kept here (design rule 8): only of users that we hear ourselves, so nothing
goes round in circles; a change is told once, at the end of the call in which it was decided.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from camrelay.relay.copy import Copy
from camrelay.relay.messages import Changes, Reach, Row
from camrelay.relay.outputs import Tell
from camrelay.relay.telling import row_of, same
from camrelay.relay.user import State, User

if TYPE_CHECKING:
    from camrelay.relay.context import Context
    from camrelay.relay.messages import RelayId
    from camrelay.relay.peers import Peer, Peers
    from camrelay.relay.user import Key

TOGETHER = 256  # rows in one message of changes
View = tuple[str, "RelayId"]  # name and id of a peer about whom there are sharing rules
EVERYBODY: View = ("", "")  # of all others: whom they are told of
Said = tuple["Key", User, Row | None, bool]


class Publishing:
    """Our home users as rows, one copy for each ``View`` that a peer has; none as long as there is no fleet."""

    def __init__(self, context: Context, peers: Peers) -> None:
        self._context = context
        self._peers = peers
        self._copies: dict[View, Copy] = {}
        self.dirty: dict[Key, tuple[User, bool]] = {}  # to be told anew; True: even if nothing changed
        self.unsaid: deque[User] = deque()  # who was here when the fleet, or another view, began
        self._said: Reach | None = None
        self.ready = True  # do we know who is where?

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

    def say_since(self, peer: Peer, started: float) -> None:
        """Who came since then, to a peer whose digest has to wait."""
        by_key = self._context.roster.by_key
        copy = self.of(peer)
        rows = [copy.rows[key] for key in copy.rows if (user := by_key.get(key)) and user.joined >= started]
        self._say([peer], rows, [])

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
