"""The users of one segment in fixed groups of four, each signed as one datagram. Rule kept here: who comes or goes
touches one group, so the signatures of all others stay good: 20,000 users cost 5,000 signatures once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from camrelay.relay.roster import User

TOGETHER = 4  # users with names of usual length in 1,400 bytes, 560 of them the signature's


class Slot:
    """Up to four users. ``data`` says that of them which ``words`` tell (see ``Signing.chunk``)."""

    __slots__ = ("data", "users", "words")

    def __init__(self) -> None:
        self.users: list[User] = []
        self.words: tuple[object, ...] = ()
        self.data: tuple[bytes, ...] = ()


class Slots:
    """All groups of one segment."""

    __slots__ = ("_of", "_room")

    def __init__(self) -> None:
        self._of: dict[User, Slot] = {}
        self._room: dict[Slot, None] = {}  # groups of less than four; none of them is empty

    def add(self, user: User) -> None:
        """``user`` is here; a second time is as good as once."""
        if user in self._of:
            return
        slot = next(reversed(self._room)) if self._room else Slot()
        slot.users.append(user)
        self._of[user] = slot
        if len(slot.users) < TOGETHER:
            self._room[slot] = None
        else:
            self._room.pop(slot, None)

    def discard(self, user: User) -> None:
        """``user`` is not here (any more)."""
        slot = self._of.pop(user, None)
        if slot is None:
            return
        slot.users.remove(user)
        self._room.pop(slot, None)
        if slot.users:
            self._room[slot] = None

    def of(self, user: User) -> Slot | None:
        """The group that ``user`` is in."""
        return self._of.get(user)

    def __iter__(self) -> Iterator[Slot]:
        return iter(dict.fromkeys(self._of.values()))
