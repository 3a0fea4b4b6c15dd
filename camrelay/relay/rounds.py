"""Whole lists: to one who joined or refreshed, and every two hours the whole external roster to every segment.

Rules kept here (design rule 4): a list goes to one client alone, in what it reads best: signed, else in the users' own
names; nobody is listed to its own segment.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from camrelay.ipmsg.command import PORT, Command
from camrelay.relay.outputs import Transmit
from camrelay.relay.signing import together
from camrelay.relay.user import NEVER, State, User
from camrelay.relay.visits import News
from camrelay.relay.writing import GOOD_BYE, Form, forms_for, write

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from camrelay.relay.context import Context
    from camrelay.relay.pacing import Items, Pace
    from camrelay.relay.segment import Segment
    from camrelay.relay.signing import Signing
    from camrelay.relay.slots import Slot
    from camrelay.relay.unicast import Unicast
    from camrelay.relay.visits import Reach

CROWD = 4  # clients of one segment who wait for a list at the same time: one by broadcast serves them all
BROADCAST_TTL = 1
FAREWELL_ROUNDS = 3  # who lost 5 farewells, over 6 hours, will not hear the next one either
MAX_GONE = 20_000  # addresses; a farewell beyond is not repeated with the next round

Left = tuple[str, int]  # an address, and the number of those who saw who was there (see ``sharing``)
Departed = dict[tuple["Segment | None", int], list[tuple[News, ...]]]  # farewells by segment and this number


class Gone(NamedTuple):
    """Somebody left an address, and so many rounds will say it again."""

    user: User
    rounds: int


class Rounds:
    """Puts whole lists into the row of what waits to be said."""

    def __init__(
        self, context: Context, signing: Signing, unicast: Unicast, pace: Pace, reach: Reach
    ) -> None:
        self._context = context
        self._reach = reach
        self._signing = signing
        self._unicast = unicast
        self._pace = pace
        self._gone: dict[Left, Gone] = {}
        self._late: set[Segment] = set()  # somebody came while the list for all there was being said
        self._external: dict[Segment, list[User]] = {}  # what _external_to() found in this tick
        self._beyond: dict[Segment, list[Slot]] = {}  # what _slots_beyond() found in this tick

    @property
    def under_way(self) -> bool:
        """Is a round being said?"""
        return bool(self._pace.rounds)

    def new_tick(self) -> None:
        """What was found before may be different now."""
        self._external.clear()
        self._beyond.clear()

    def remember_gone(self, user: User, address: str, shares: int) -> None:
        """The next rounds say farewell to ``address`` once more, where users of this number were shown."""
        if not user.is_relay and len(self._gone) < MAX_GONE:
            self._gone[address, shares] = Gone(user, FAREWELL_ROUNDS)

    def full_list(self, target: User, now: float) -> None:
        """Everybody beyond its segment, to ``target`` alone; begins anew if one is under way.

        Who was given up beyond the routers and is back was perhaps only out of reach: it may list who left since.
        """
        back = target.segment.interface is None and target.listed == NEVER and target.farewell > NEVER
        target.listed = now
        target.wants_list = False
        if not self._unicast.serves(target):
            return
        self._context.count("full lists")
        lists = self._pace.lists
        lists.pop(target, None)
        if self._hears_broadcasts(target) and target.segment in lists:
            self._late.add(target.segment)
        elif self._hears_broadcasts(target) and self._crowded(target.segment):
            lists[target.segment] = self._crowd(target.segment)
        elif back:
            gone = self._who_left()
            lists[target] = self._whole_round(target, gone, self._departed(gone))
        else:
            lists[target] = self._list_for(target)

    def _hears_broadcasts(self, target: User) -> bool:
        """Does it live in a segment of ours, and list whom we announce there?"""
        here = self._context.can_speak and target.segment.interface is not None
        return here and target.dialect.absence and not self._signing.serves(target)

    def _crowded(self, segment: Segment) -> bool:
        """Do so many there wait for a list that one for all is shorter? Then they wait no more."""
        lists = self._pace.lists
        waiting = [
            u for u in lists if isinstance(u, User) and u.segment is segment and self._hears_broadcasts(u)
        ]
        if len(waiting) < CROWD:
            return False
        for user in waiting:
            del lists[user]
        return True

    def list_of(self, target: User, users: list[User], now: float) -> None:
        """``users`` to ``target`` alone: it does not list them."""
        if self._unicast.serves(target) and target not in self._pace.lists:
            target.listed = now
            self._pace.lists[target] = self._list_for(target, users)
            self._context.count("partial lists")

    def everything(self) -> None:
        """The whole external roster again, to every segment: what a client lost comes back (design rule 4), and
        whom it kept, because the farewells were lost, goes.
        """
        if self._unicast.mute or self._pace.rounds:
            return
        gone = self._who_left()
        self._gone = {
            left: Gone(one.user, one.rounds - 1) for left, one in self._gone.items() if one.rounds > 1
        }
        self._begin(self._context.segments.all, gone)

    def take_over(self, segments: Iterable[Segment]) -> None:
        """The same to these, whom a peer told until now: what it did not come to say is said."""
        if not self._unicast.mute:
            self._begin(segments, self._who_left())

    def _who_left(self) -> dict[Left, User]:
        return {left: one.user for left, one in self._gone.items()}

    def _begin(self, segments: Iterable[Segment], gone: dict[Left, User]) -> None:
        departed = self._departed(gone)
        for segment in segments:
            if not (segment.served or segment.ours_only):
                continue
            if segment.interface is not None and self._context.can_speak:
                self._pace.rounds[segment] = self._round(segment, gone)
            else:
                self._pace.rounds[segment] = self._one_by_one(segment, gone, departed)

    def anew(self, owed: bool) -> None:
        """Lists under way begin again, and the round if there was one or one is ``owed``."""
        for target in list(self._pace.lists):
            if isinstance(target, User):
                self._pace.lists[target] = self._list_for(target)
            else:
                del self._pace.lists[target]
                owed = True
        self._late.clear()
        if owed or self._pace.rounds:
            self._pace.rounds.clear()
            self.everything()

    def external_to(self, segment: Segment, signed: bool = False) -> list[User]:
        """Who is announced into ``segment``; ``signed``: to those there who read signed lists."""
        segments = self._context.segments
        anybody = signed or segment.interface is not None or self._context.settings.between_remote
        return [
            user
            for other in (segments.all if anybody else segments.local)
            if other is not segment
            for user in other.users
            if user.state is State.ONLINE
            and not user.is_relay
            and (not user.shares or self._context.sharing.sees(segment, user.shares))
        ]

    def _external_to(self, segment: Segment) -> list[User]:
        """The same list for all whose turn comes in one tick: a floor that starts at once must not stall us."""
        found = self._external.get(segment)
        if found is None:
            found = self._external[segment] = self.external_to(segment)
        return found

    def _slots_beyond(self, segment: Segment) -> list[Slot]:
        """The groups of all other segments, found once in a tick."""
        found = self._beyond.get(segment)
        if found is None:
            sees = self._context.sharing.sees
            others = (other for other in self._context.segments.all if other is not segment)
            found = self._beyond[segment] = [
                slot for other in others for slot in other.slots if sees(segment, slot.shares)
            ]
        return found

    def _departed(self, gone: dict[Left, User]) -> Departed:
        news: dict[tuple[Segment | None, int], list[News]] = {}
        for (address, shares), user in gone.items():
            home = self._context.segments.of(address)
            news.setdefault((home, shares), []).append(News(user, address))
        return {home: together(left) for home, left in news.items()}

    def _gone_from(self, segment: Segment, gone: dict[Left, User]) -> Iterator[News]:
        """Of those who are gone, whom those of ``segment`` may still list."""
        context = self._context
        for (address, shares), user in gone.items():
            elsewhere = context.segments.of(address) is not segment
            if elsewhere and context.sharing.sees(segment, shares) and not context.lists(segment, address):
                yield News(user, address)

    def _list_for(self, target: User, users: list[User] | None = None) -> Items:
        """Everybody beyond its segment, or ``users`` of them, to ``target``."""
        if self._signing.serves(target):
            yield from self._signed_list(target, users)
            return
        for user in self._external_to(target.segment) if users is None else users:
            if target.state is State.OFFLINE:
                return
            here = user.segment is target.segment  # it may have moved since
            if (
                user.state is State.ONLINE
                and not here
                and self._context.sharing.visible(user, target.segment)
            ):
                yield self._unicast.as_user(user, target)

    def _signed_list(self, target: User, users: list[User] | None) -> Items:
        slots: Iterable[Slot | None]
        if users is None:
            slots = self._slots_beyond(target.segment)
        else:
            slots = dict.fromkeys(user.segment.slots.of(user) for user in users)
        for slot in slots:
            if target.state is State.OFFLINE:
                return
            if slot is not None:
                yield from self._unicast.frames(target, partial(self._signing.chunk, slot))

    def _crowd(self, segment: Segment) -> Items:
        """One list by broadcast for all who wait there; again, if somebody came meanwhile."""
        again = True
        while again:
            self._late.discard(segment)
            yield from self._round(segment, None)
            again = segment in self._late

    def _round(self, segment: Segment, gone: dict[Left, User] | None) -> Items:
        """Everything to a segment of ours; with ``gone`` also to those who take no broadcast."""
        for user, address in self._gone_from(segment, gone or {}):
            yield broadcast(user, GOOD_BYE, segment, address or "")
        for user in self._external_to(segment):
            if not segment.served:
                return  # a peer does it now
            here = user.segment is segment  # it may have moved since
            if user.state is State.ONLINE and not here and self._context.sharing.visible(user, segment):
                form, odd = forms_for(user, segment)
                yield broadcast(user, form, segment, user.address)
                for other, group in odd:
                    if gone is not None or other.command == Command.BR_ABSENCE:
                        yield from self._unicast.to_group(user, group, other, None)

    def _one_by_one(self, segment: Segment, gone: dict[Left, User], departed: Departed) -> Items:
        """Everything to each of a segment where no broadcast of ours reaches, or serves."""
        for user in list(segment.users if segment.ours_only else segment.listeners):
            if self._unicast.serves(user):
                yield from self._whole_round(user, gone, departed)

    def _whole_round(self, target: User, gone: dict[Left, User], departed: Departed) -> Items:
        """Everything to one who takes no broadcast of ours."""
        if self._signing.serves(target):
            return self._signed_round(target, departed)
        return self._round_for(target, gone)

    def _round_for(self, target: User, gone: dict[Left, User]) -> Items:
        """Everything to a user of a swept segment."""
        while not self._reach.may(target.address):
            yield None
        for user, address in self._gone_from(target.segment, gone):
            if address is not None and self._unicast.speaks_from(self._context.segments.of(address)):
                yield Transmit(write(user, GOOD_BYE), target.address, target.port, address)
        yield from self._list_for(target)

    def _signed_round(self, target: User, departed: Departed) -> Items:
        """Everything to a user whom no broadcast of ours reaches, and who reads signed lists."""
        while target.segment.interface is None and not self._reach.may(target.address):
            yield None
        for (home, shares), left in departed.items():
            if home is not target.segment and self._context.sharing.sees(target.segment, shares):
                for news in left:
                    yield from self._unicast.frames(
                        target, partial(self._signing.changes, news, target.segment)
                    )
        yield from self._list_for(target)


def broadcast(user: User, form: Form, segment: Segment, speak_as: str) -> Transmit:
    """``user`` in its own name, to all of a segment of ours."""
    index = segment.interface.index if segment.interface else 0
    return Transmit(write(user, form), segment.broadcast, PORT, speak_as, index, BROADCAST_TTL)
