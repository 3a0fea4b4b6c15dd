"""What happened to users lately, for ``trace why``: who moved to and fro, who shares an address.

Rule kept here: bounded (2,048 users, 8 events of each, the longest untouched out first), and free while nothing
happens: a user that only ever joined takes no place, for when it came is in the roster. Full it is 3.0 MB (measured).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from camrelay.relay.outputs import Twin, UserChanged, UserForgotten, UserJoined, UserLeft, UserMoved

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from camrelay.relay.outputs import Event
    from camrelay.relay.user import Key, User

MOST_USERS: Final = 2_048
MOST_EVENTS: Final = 8
WITHIN: Final = 3600.0  # seconds in which changes to and fro count ...
TIMES: Final = 3  # ... from so many on: there, back and there again is no move of a desk


class Happened(NamedTuple):
    """One event. ``address``: where the user is, or was when it left."""

    at: float  # monotonic seconds
    what: str  # "joined", "changed", "moved", "left", "replaced" (somebody else sits there now), "twin"
    address: str
    detail: str = ""  # moved: from where; left: why; twin: the other address; changed: the nick now


class Flap(NamedTuple):
    """A user changed between two addresses, so often."""

    first: str
    second: str
    times: int


class Crowd(NamedTuple):
    """Several names drove each other from one address, so often in all."""

    names: int
    times: int


class History:
    """The last events of each user."""

    def __init__(self) -> None:
        self._of: dict[Key, list[Happened]] = {}  # whom something happened to last stands last

    def __len__(self) -> int:
        return len(self._of)

    def note(self, event: Event, now: float) -> None:
        """The relay decided this."""
        match event:
            case UserJoined(user):
                if user.key in self._of:
                    self._add(user, Happened(now, "joined", user.address))
            case UserChanged(user):
                self._add(user, Happened(now, "changed", user.address, user.presence.nick_text))
            case UserMoved(user, was):
                self._add(user, Happened(now, "moved", user.address, was))
            case UserLeft(user, "replaced"):
                self._add(user, Happened(now, "replaced", user.address))
            case UserLeft(user, reason):
                self._add(user, Happened(now, "left", user.address, reason))
            case Twin(user, other):
                self._add(user, Happened(now, "twin", user.address, other))
            case UserForgotten(user):
                self._of.pop(user.key, None)

    def of(self, key: Key) -> Sequence[Happened]:
        """What happened to this user, the latest last."""
        return tuple(self._of.get(key, ()))

    def _add(self, user: User, happened: Happened) -> None:
        events = self._of.pop(user.key, None)
        if events is None:
            events = []
            if len(self._of) >= MOST_USERS:
                del self._of[next(iter(self._of))]
        elif len(events) >= MOST_EVENTS:
            del events[0]
        events.append(happened)
        self._of[user.key] = events


def flapping(events: Iterable[Happened], now: float) -> Flap | None:
    """Did the user change between the same two addresses lately, again and again?"""
    changes: Counter[frozenset[str]] = Counter()
    before = ""
    for one in events:
        if one.what == "moved":
            before = one.detail
        if one.what != "twin":
            if before and one.address != before and now - one.at <= WITHIN:
                changes[frozenset((before, one.address))] += 1
            before = one.address
    for pair, times in changes.most_common(1):
        if times >= TIMES:
            first, second = sorted(pair)
            return Flap(first, second, times)
    return None


def crowd(address: str, histories: Iterable[Sequence[Happened]], now: float) -> Crowd | None:
    """Did two or more of these users drive each other from ``address`` lately, again and again?"""
    times = [
        sum(e.what == "replaced" and e.address == address and now - e.at <= WITHIN for e in events)
        for events in histories
    ]
    names = sum(map(bool, times))
    return Crowd(names, sum(times)) if names >= 2 and sum(times) >= TIMES else None
