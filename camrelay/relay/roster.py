"""Every user known, by name and by address. Rule kept here: at one address there is at most one live user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from camrelay.relay.user import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from camrelay.ipmsg.presence import Presence
    from camrelay.relay.segment import Segment
    from camrelay.relay.user import Key, User

# Strangers on the wire may invent names without end: the oldest of those who are gone make room.
MAX_USERS = 200_000
# A host that changes its name all day keeps this many of them.
MAX_GONE_PER_ADDRESS = 4


class Roster:
    """Users by name (all of them) and by address (those who are not offline)."""

    def __init__(self, most: int = MAX_USERS) -> None:
        self._most = most
        self.classify: Callable[[User], int] = lambda user: 0  # what ``User.shares`` should be
        self.by_key: dict[Key, User] = {}
        self.at: dict[str, User] = {}
        self._gone: dict[str, list[User]] = {}  # offline users by their last address
        self._oldest_gone: dict[User, None] = {}  # the same, in the order in which they went

    def __len__(self) -> int:
        return len(self.by_key)

    def add(self, user: User) -> User | None:
        """Take in a new user; returns the one that had to be forgotten for it, if any."""
        dropped = None
        if len(self.by_key) >= self._most:
            dropped = next(iter(self._oldest_gone), None) or next(iter(self.by_key.values()))
            self.remove(dropped)
        self.by_key[user.key] = user
        if user.state is State.OFFLINE:
            user.shares = self.classify(user)
            self._keep_gone(user)
        else:
            self.seat(user)
        return dropped

    def seat(self, user: User) -> None:
        """The user lives at its address now; whoever sat there was told to leave before."""
        self.leave_gone(user)
        user.shares = self.classify(user)
        self.at[user.address] = user
        user.segment.add(user)

    def unseat(self, user: User) -> None:
        """The user no longer lives at its address."""
        if self.at.get(user.address) is user:
            del self.at[user.address]
        user.segment.discard(user)

    def say(self, user: User, presence: Presence, datagram: bytes) -> None:
        """The seated user says something else of itself now."""
        user.segment.discard(user)
        user.say(presence, datagram)
        user.shares = self.classify(user)
        user.segment.add(user)

    def reclassify(self, user: User) -> None:
        """The rules of sharing may say something else of the seated user now."""
        shares = self.classify(user)
        if shares != user.shares:
            user.segment.discard(user)
            user.shares = shares
            user.segment.add(user)

    def listen(self, user: User, via: str | None) -> None:
        """The seated user is heard first hand by us from now on (None), or by this peer only."""
        user.segment.discard(user)
        user.via = via
        user.shares = self.classify(user)
        user.segment.add(user)

    def retire(self, user: User) -> User | None:
        """The user is offline; returns one who is to be forgotten because this host had too many names."""
        self.unseat(user)
        user.state = State.OFFLINE
        return self._keep_gone(user)

    def remove(self, user: User) -> None:
        """Nothing of the user is kept."""
        self.unseat(user)
        self.leave_gone(user)
        if self.by_key.get(user.key) is user:
            del self.by_key[user.key]

    def names_at(self, address: str) -> list[User]:
        """Who lives at ``address``, and those who did, as far as they are still known."""
        sitting = self.at.get(address)
        return [*([sitting] if sitting else []), *self._gone.get(address, ())]

    def last_at(self, address: str) -> User | None:
        """Who lives at ``address``, or was the last to."""
        gone = self._gone.get(address)
        return self.at.get(address) or (gone[-1] if gone else None)

    def _keep_gone(self, user: User) -> User | None:
        gone = self._gone.setdefault(user.address, [])
        gone.append(user)
        self._oldest_gone[user] = None
        return gone[0] if len(gone) > MAX_GONE_PER_ADDRESS else None

    def leave_gone(self, user: User) -> None:
        """The user is not among those who are gone (any more)."""
        self._oldest_gone.pop(user, None)
        gone = self._gone.get(user.address)
        if gone and user in gone:
            gone.remove(user)
            if not gone:
                del self._gone[user.address]

    @property
    def in_doubt(self) -> bool:
        """Is anybody still to be asked, who was here before a restart?"""
        return any(user.state is State.UNVERIFIED for user in self.at.values())

    def reseat(self, user: User, segment: Segment) -> None:
        """The seated user's address belongs to ``segment`` now."""
        if segment is not user.segment:
            user.segment.discard(user)
            user.segment = segment
            segment.add(user)

    def online(self) -> Iterator[User]:
        """Everybody who is surely here."""
        return (u for u in self.at.values() if u.state is State.ONLINE)
