"""The users of one segment in fixed groups of three, each signed as one datagram. Rule kept here: who comes or goes
touches one group, so the signatures of all others stay good: 20,000 users cost 6,667 signatures once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from camrelay.relay.user import User

# Users of IP Messenger 4.99 in 1,400 bytes: 160 each, and 820 for the relay's name, key and signature. A fourth would
# need a datagram and a signature of its own.
TOGETHER = 3


class Slot:
    """Users that the same sharing rules are about. ``sealed`` says of them what ``words`` tell (``Signing.chunk``)."""

    __slots__ = ("sealed", "shares", "users", "words")

    def __init__(self, shares: int) -> None:
        self.shares = shares
        self.users: list[User] = []
        self.words: tuple[object, ...] = ()
        self.sealed: tuple[bytes, ...] = ()


class Slots:
    """All groups of one segment."""

    __slots__ = ("_of", "_room")

    def __init__(self) -> None:
        self._of: dict[User, Slot] = {}
        self._room: dict[int, dict[Slot, None]] = {}  # groups with a place left, by ``shares``; none is empty

    def add(self, user: User) -> None:
        """``user`` is here; a second time is as good as once. Another number of sharing rules: ``discard`` it first."""
        if user in self._of:
            return
        room = self._room.get(user.shares)
        slot = next(reversed(room)) if room else Slot(user.shares)
        slot.users.append(user)
        self._of[user] = slot
        if len(slot.users) in (1, TOGETHER):
            self._note(slot)

    def discard(self, user: User) -> None:
        """``user`` is not here (any more)."""
        slot = self._of.pop(user, None)
        if slot is not None:
            slot.users.remove(user)
            self._note(slot)

    def of(self, user: User) -> Slot | None:
        """The group that ``user`` is in."""
        return self._of.get(user)

    def __iter__(self) -> Iterator[Slot]:
        return iter(dict.fromkeys(self._of.values()))

    def _note(self, slot: Slot) -> None:
        """Has it room for one more?"""
        room = self._room.setdefault(slot.shares, {})
        room.pop(slot, None)
        if 0 < len(slot.users) < TOGETHER:
            room[slot] = None
        elif not room:
            del self._room[slot.shares]
