"""Who is where, by our own ears and by the words of peers. Rules kept here (design section Versions): first hand beats
hearsay at one address; at two addresses the greater claim counts, and whoever hears the user asks it first; the one
address that answers stays, and the second live one is a twin.
"""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING

from camrelay.relay.outputs import Twin, UserYielded
from camrelay.relay.peers import MOST_CLAIM
from camrelay.relay.user import Learned, State, User

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from camrelay.relay.context import Context
    from camrelay.relay.liveness import Liveness
    from camrelay.relay.messages import RelayId, Row
    from camrelay.relay.peers import Peers, Told
    from camrelay.relay.registrar import Registrar
    from camrelay.relay.seating import Seating
    from camrelay.relay.segment import Segment
    from camrelay.relay.user import Key

ANSWERED_WITHIN = 20.0  # seconds: four questions take up to 6.8, the way there and back the rest


class Settling:
    """``changed(user)`` is called with home users that peers are to hear of anew."""

    def __init__(
        self,
        context: Context,
        peers: Peers,
        registrar: Registrar,
        liveness: Liveness,
        seating: Seating,
        changed: Callable[..., None],
    ) -> None:
        self._context = context
        self._peers = peers
        self._registrar = registrar
        self._liveness = liveness
        self._seating = seating
        self.changed = changed
        self.me: RelayId = ""
        self.pending: dict[Key, None] = {}  # users to be settled, in helpings
        # Who was told before a restart, by address, and was not settled since.
        self.remembered: dict[Key, dict[str, Row]] = {}
        # Users of peers that we heard elsewhere, and until when that counts.
        self.contested: dict[Key, float] = {}

    def later(self, keys: Iterable[Key]) -> None:
        """Settle these anew, in helpings."""
        self.pending.update(dict.fromkeys(keys))

    @property
    def waiting(self) -> bool:
        """Is there something for ``go_on``?"""
        return bool(self.pending) or self._seating.round_due

    def go_on(self, most: int, now: float) -> None:
        """One helping of ``most`` users; after the last one everybody is announced."""
        for key in list(islice(self.pending, most)):
            del self.pending[key]
            self.settle(key, now)
        if not self.pending:
            self._seating.go_round()

    def settle(self, key: Key, now: float, fresh: bool = False) -> None:
        """Something was told of this user, or is no longer. ``fresh``: it was just heard there."""
        if key in self.remembered and self._peers.unsure(key):
            return  # the digest will tell
        remembered = self.remembered.pop(key, {})
        self._settle(key, now, fresh)
        user = self._context.roster.by_key.get(key)
        there = user.address if user is not None and user.state is not State.OFFLINE else None
        for address, row in remembered.items():
            if address != there:
                self._seating.gone_meanwhile(row, now)

    def _settle(self, key: Key, now: float, fresh: bool) -> None:
        user = self._context.roster.by_key.get(key)
        if user is not None and user.is_relay:
            return
        told = self._peers.best(key)
        if user is None or user.state is State.OFFLINE:
            if told is not None:
                self._seating.bring(user, key, told, now)
        elif user.home:
            if told is not None and told.live:
                self._compare(user, told, now)
        elif told is None and self._peers.unsure(key):
            return  # the digest will tell
        elif told is None or (user.candidate is not None and not told.live):
            self._registrar.left(user, "exit" if told is None else "away", now)
        elif told.row.address != user.address:
            self._seating.move(user, told, now)
        else:
            self._seating.update(user, told, now)
            if fresh and user.candidate is not None:
                self.stays(user)
            elif fresh and user.segment.ours_only:
                self._registrar.list_to(user, now)

    def claim_for(self, user: User) -> int:
        """The claim with which a user, heard by us alone, is ours: above all that is known of others."""
        ours = user.claim if user.home else user.claim + 1
        return min(max(ours, self._peers.claim_above(user.key)), MOST_CLAIM)

    def contest(self, user: User, now: float) -> None:
        """A peer's user was heard by us at another address: its relay asks it. One that is away cannot."""
        there = user.candidate.address if user.candidate else None
        if self._peers.best(user.key, live=True) is None:
            self._registrar.left(user, "away", now)
            return
        if user.twin == there:  # decided before; when the first one goes, the twin is asked
            user.candidate = None
            return
        self.contested.pop(user.key, None)  # the order counts
        self.contested[user.key] = now + ANSWERED_WITHIN
        self.changed(user)

    def doubt(self, key: Key, row: Row, now: float) -> None:
        """A peer gave this user up. If we hear it there as well, we look ourselves."""
        user = self._context.roster.by_key.get(key)
        if user is not None and user.home and user.address == row.address:
            self._liveness.suspect(user, now)

    def next_due(self) -> float:
        """When the oldest contest is over."""
        return next(iter(self.contested.values()), math.inf)

    def expire(self, now: float) -> None:
        """Contests that nobody answered are over."""
        for key in [key for key, until in self.contested.items() if now >= until]:
            del self.contested[key]
            user = self._context.roster.by_key.get(key)
            if user is not None and not user.home:
                self.stays(user)

    def stays(self, user: User) -> None:
        """Still alive where its relay says, and here: a twin, which we do not claim."""
        if user.candidate is not None:
            self.twin(user, user.candidate.address)
            user.candidate = None
            self.contested.pop(user.key, None)
            self.changed(user)

    def twin(self, user: User, other: str) -> None:
        """One name, two live addresses."""
        if user.twin != other:
            user.twin = other
            self._context.count("twins")
            self._context.emit(Twin(user, other))

    def answered(self, user: User) -> None:
        """A home user, whom a peer heard elsewhere, answered us from its own address: it stays, and all are told.

        A peer that claims more is outbid once; what it says after having asked, too, counts (see ``_compare``).
        """
        other, user.rival = user.rival, None
        if other is None:
            return
        self.twin(user, other)
        told = self._peers.best(user.key, live=True)
        if told is not None and told.row.address != user.address and told.rank > (user.claim, self.me):
            user.claim = min(told.row.claim + 1, MOST_CLAIM)
        self.changed(user, True)

    # -- home users ----------------------------------------------------------------------------------------------

    def _compare(self, user: User, told: Told, now: float) -> None:
        """A peer tells of a user that we hear ourselves."""
        row = told.row
        if user.state is State.UNVERIFIED:
            self._yield(user, told, now)
        elif row.address == user.address:
            user.rival = None
            if row.claim > user.claim:
                user.claim = row.claim
                self.changed(user)
        elif row.claim == 0 or user.twin != row.address:
            user.rival = row.address
            self._liveness.suspect(user, now)
        elif told.rank > (user.claim, self.me):
            self._yield(user, told, now)

    def _yield(self, user: User, told: Told, now: float) -> None:
        """The user is the peer's from now on."""
        before = user.shares
        self._context.roster.listen(user, told.peer.name)
        user.learned = Learned.PEER
        user.state = State.ONLINE
        if user.shares != before:
            self._seating.reshared(user, before, now)
        user.candidate = None
        user.rival = None
        self._context.emit(UserYielded(user))
        self.changed(user)
        if told.row.address != user.address:
            self._seating.move(user, told, now)
        else:
            self._seating.update(user, told, now)

    def adopt(self, segment: Segment, now: float) -> None:
        """We are to serve this segment: those there of whom only a lost peer told are ours, and are asked."""
        for user in list(segment.others):
            if self._peers.best(user.key, live=True) is None:
                self._context.roster.listen(user, None)
                self.changed(user)
                if segment.interface is not None:
                    self._liveness.suspect(user, now)
                else:
                    self._liveness.watch(user, now)

    def gave_up(self, user: User, now: float) -> bool:
        """A home user is gone from its address, as far as we can hear. Is it there, or elsewhere, for a peer?"""
        told = self._peers.best(user.key, live=True) if user.home else None
        if told is None:
            return False
        self._yield(user, told, now)
        return user.state is State.ONLINE
