"""Who is where, by our own ears and by the words of peers. Rules kept here (design section Versions): first hand beats
hearsay at one address; at two addresses the greater claim counts, and whoever hears the user asks it first; the one
address that answers stays, and the second live one is a twin.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from camrelay.ipmsg.presence import Kind
from camrelay.relay.context import Bucket
from camrelay.relay.outputs import Twin, UserChanged, UserJoined, UserMoved, UserYielded
from camrelay.relay.peers import MOST_CLAIM
from camrelay.relay.registrar import differs
from camrelay.relay.roster import MAX_USERS
from camrelay.relay.telling import said
from camrelay.relay.user import Learned, State, User, key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from camrelay.ipmsg.presence import Presence
    from camrelay.relay.announce import Announcer
    from camrelay.relay.context import Context
    from camrelay.relay.liveness import Liveness
    from camrelay.relay.messages import RelayId, Row
    from camrelay.relay.peers import Peers, Told
    from camrelay.relay.registrar import Registrar
    from camrelay.relay.segment import Segment
    from camrelay.relay.user import Key

AT_ONCE = 300.0  # users announced one by one when many are told of; the others with one round for all
OURS = MAX_USERS // 4  # places in the roster that no peer can take
ANSWERED_WITHIN = 20.0  # seconds: four questions take up to 6.8, the way there and back the rest
MAX_BLOCKED = 4_096  # users told at an address where somebody else lives


class Settling:
    """``changed(user)`` is called with home users that peers are to hear of anew."""

    def __init__(
        self,
        context: Context,
        peers: Peers,
        registrar: Registrar,
        announcer: Announcer,
        liveness: Liveness,
        now: float,
    ) -> None:
        self._context = context
        self._peers = peers
        self._registrar = registrar
        self._announcer = announcer
        self._liveness = liveness
        self._pace = Bucket(AT_ONCE, AT_ONCE, now)
        self._blocked: dict[str, set[Key]] = {}  # by the address where somebody else lives
        self.me: RelayId = ""
        self.round_due = False  # somebody was not announced one by one
        # Who was told before a restart, by address, and was not settled since.
        self.remembered: dict[Key, dict[str, Row]] = {}
        self.contested: dict[
            Key, float
        ] = {}  # users of peers that we heard elsewhere, and until when that counts
        self.changed: Callable[..., None] = lambda *_: None
        self.again: Callable[[Iterable[Key]], None] = lambda *_: None  # settle these, in helpings
        self.neighbour: Callable[[float], None] = lambda *_: None  # a relay was heard on a wire of ours
        self.ask: Callable[[str, bool], None] = lambda *_: None

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
                self._gone_meanwhile(row, now)

    def _settle(self, key: Key, now: float, fresh: bool) -> None:
        user = self._context.roster.by_key.get(key)
        if user is not None and user.is_relay:
            return
        told = self._peers.best(key)
        if user is None or user.state is State.OFFLINE:
            if told is not None:
                self._bring(user, key, told, now)
        elif user.home:
            if told is not None and told.live:
                self._compare(user, told, now)
        elif told is None and self._peers.unsure(key):
            return  # the digest will tell
        elif told is None or (user.candidate is not None and not told.live):
            self._registrar.left(user, "exit" if told is None else "away", now)
        elif told.row.address != user.address:
            self._move(user, told, now)
        else:
            self._update(user, told, now)
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

    def freed(self, address: str, now: float) -> None:
        """Nobody lives at ``address`` any more: soon, for one that comes may free the place of the next."""
        self.again(self._blocked.pop(address, ()))

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
            self._announcer.reshared(user, before, now)
            self._announce(user, now)
        user.candidate = None
        user.rival = None
        self._context.emit(UserYielded(user))
        self.changed(user)
        if told.row.address != user.address:
            self._move(user, told, now)
        else:
            self._update(user, told, now)

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

    # -- users by the word of a peer -----------------------------------------------------------------------------

    def _bring(self, user: User | None, key: Key, told: Told, now: float) -> None:
        """The user comes, or comes back."""
        found = self._place(key, told, now)
        if found is None:
            return
        segment, presence, datagram = found
        row = told.row
        if user is None:
            if len(self._context.roster) >= MAX_USERS - OURS:
                self._context.count("users of peers not taken: roster full")
                return
            user = User(presence, datagram, row.address, row.port, segment, now)
            user.via = told.peer.name
            user.learned = Learned.PEER
            user.key = key  # the same object as in the peer's copy
            self._context.roster.add(user)
        else:
            self._seat(user, told, segment, presence, datagram, now)
            user.joined = now
        user.claim = row.claim
        self._context.emit(UserJoined(user))
        self._announce(user, now)

    def _place(self, key: Key, told: Told, now: float) -> tuple[Segment, Presence, bytes] | None:
        """Where, and as what, the user can be seated; None if it cannot."""
        row = told.row
        segment = self._context.segments.of(row.address)
        if segment is None:
            self._context.count("users of peers not taken: address is nobody's or ours")
            return None
        if not self._free(key, told, now):
            return None
        presence, datagram = said(row)
        if key_of(presence) != key or presence.kind is Kind.CAMRELAY:
            self._context.count("users of peers not taken: name cannot be written")
            return None
        return segment, presence, datagram

    def _free(self, key: Key, told: Told, now: float) -> bool:
        """May the user have its address? Somebody whom we hear there is asked, and stays if it answers."""
        address = told.row.address
        sitting = self._context.roster.at.get(address)
        if sitting is None or sitting.key == key:
            return True
        if sitting.home:
            self._liveness.suspect(sitting, now)
        else:
            other = self._peers.best(sitting.key)
            here = other is not None and other.row.address == address
            if other is None or not here or told[:3] > other[:3]:
                self._registrar.replaced(sitting, now)
                self._block(address, sitting.key)
                return True
        self._block(address, key)
        return False

    def _gone_meanwhile(self, row: Row, now: float) -> None:
        """While we were away the user of another relay left: clients here may still list it."""
        segment = self._context.segments.of(row.address)
        if segment is not None and row.address not in self._context.roster.at:
            presence, datagram = said(row)
            user = User(presence, datagram, row.address, row.port, segment, now)
            self._announcer.farewell(user, row.address, now)

    def _block(self, address: str, key: Key) -> None:
        if address in self._blocked or len(self._blocked) < MAX_BLOCKED:
            self._blocked.setdefault(address, set()).add(key)

    def _seat(
        self, user: User, told: Told, segment: Segment, presence: Presence, datagram: bytes, now: float
    ) -> None:
        """The user, seated nowhere, lives where a peer told."""
        roster, row = self._context.roster, told.row
        roster.leave_gone(user)
        user.address, user.port, user.segment = row.address, row.port, segment
        user.say(presence, datagram)
        user.state = State.ONLINE
        user.via = told.peer.name
        user.learned = Learned.PEER
        user.heard = now
        user.claim = row.claim
        user.twin = None
        roster.seat(user)

    def _move(self, user: User, told: Told, now: float) -> None:
        """The user, not heard by us, lives at another address now."""
        was = user.address
        found = self._place(user.key, told, now)
        if found is None:
            self._registrar.left(user, "moved", now)
            return
        self._context.roster.unseat(user)
        self._announcer.farewell(user, was, now)
        self._seat(user, told, *found, now)
        self._context.emit(UserMoved(user, was))
        self._announce(user, now)
        self.freed(was, now)

    def _update(self, user: User, told: Told, now: float) -> None:
        """The user, not heard by us, may say something else of itself."""
        row = told.row
        user.claim = row.claim
        user.port = row.port
        user.via = told.peer.name
        user.heard = now
        before = user.shares
        self._context.roster.reclassify(user)  # another peer may tell of it now
        presence, datagram = said(row)
        changed = key_of(presence) == user.key and differs(presence, user.presence)
        if changed:
            self._context.roster.say(user, presence, datagram)
            self._context.emit(UserChanged(user))
        if changed or user.shares != before:
            self._announcer.reshared(user, before, now)
            self._announce(user, now)

    def _announce(self, user: User, now: float) -> None:
        """All are told of the user; and the user of others, if that is our part once it has answered us."""
        segment = user.segment
        if segment.served and not segment.told:
            self.ask(user.address, True)
        elif segment.ours_only:
            self._registrar.list_to(user, now)
        if self._pace.take(now):
            self._announcer.announce(user, now)
        else:
            self.round_due = True
