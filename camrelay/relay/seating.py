"""Users by the word of a peer: they come, move and change as it says. Rules kept here: nobody takes the address of
somebody whom we hear there; when many come at once, one round for all announces those beyond the first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from camrelay.ipmsg.presence import Kind
from camrelay.relay.context import Bucket
from camrelay.relay.outputs import UserChanged, UserJoined, UserMoved
from camrelay.relay.registrar import differs
from camrelay.relay.roster import MAX_USERS
from camrelay.relay.telling import said
from camrelay.relay.user import Learned, State, User, key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from camrelay.ipmsg.presence import Presence
    from camrelay.relay.announce import Announcer
    from camrelay.relay.context import Context
    from camrelay.relay.lists import Lists
    from camrelay.relay.liveness import Liveness
    from camrelay.relay.messages import Row
    from camrelay.relay.peers import Peers, Told
    from camrelay.relay.registrar import Registrar
    from camrelay.relay.segment import Segment
    from camrelay.relay.user import Key

AT_ONCE = 300.0  # users announced one by one when many are told of; the others with one round for all
OURS = MAX_USERS // 4  # places in the roster that no peer can take
MAX_BLOCKED = 4_096  # users told at an address where somebody else lives


class Seating:
    """``later(keys)`` is called with users who are to be settled anew."""

    def __init__(
        self,
        context: Context,
        peers: Peers,
        registrar: Registrar,
        announcer: Announcer,
        liveness: Liveness,
        lists: Lists,
        now: float,
    ) -> None:
        self._context = context
        self._peers = peers
        self._registrar = registrar
        self._announcer = announcer
        self._liveness = liveness
        self._lists = lists
        self._pace = Bucket(AT_ONCE, AT_ONCE, now)
        self._blocked: dict[str, set[Key]] = {}  # by the address where somebody else lives
        self.round_due = False  # somebody was not announced one by one
        self.later: Callable[[Iterable[Key]], None] = lambda *_: None  # made later: it needs us

    def bring(self, user: User | None, key: Key, told: Told, now: float) -> None:
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

    def move(self, user: User, told: Told, now: float) -> None:
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
        self.freed(was)

    def update(self, user: User, told: Told, now: float) -> None:
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
            self.reshared(user, before, now)

    def reshared(self, user: User, before: int, now: float) -> None:
        """Others see the user than those of ``before``, or it says something else of itself."""
        self._announcer.reshared(user, before, now)
        self._announce(user, now)

    def gone_meanwhile(self, row: Row, now: float) -> None:
        """While we were away the user of another relay left: clients here may still list it."""
        segment = self._context.segments.of(row.address)
        if segment is not None and row.address not in self._context.roster.at:
            presence, datagram = said(row)
            user = User(presence, datagram, row.address, row.port, segment, now)
            self._announcer.farewell(user, row.address, now)

    # -- addresses -------------------------------------------------------------------------------------------------

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

    def _block(self, address: str, key: Key) -> None:
        if address in self._blocked or len(self._blocked) < MAX_BLOCKED:
            self._blocked.setdefault(address, set()).add(key)

    def freed(self, address: str) -> None:
        """Nobody lives at ``address`` any more: soon, for one that comes may free the place of the next."""
        self.later(self._blocked.pop(address, ()))

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

    # -- announcing ------------------------------------------------------------------------------------------------

    def _announce(self, user: User, now: float) -> None:
        """All are told of the user; and the user of others, if that is our part once it has answered us."""
        segment = user.segment
        if segment.served and not segment.told:
            self._lists.hear_of(user.address, True)
        elif segment.ours_only:
            self._registrar.list_to(user, now)
        if self._pace.take(now):
            self._announcer.announce(user, now)
        else:
            self.round_due = True

    def go_round(self) -> None:
        """Everybody is settled: announce those who were not announced one by one."""
        if self.round_due and not self._announcer.rounds.under_way:
            self.round_due = False
            self._announcer.rounds.everything()
