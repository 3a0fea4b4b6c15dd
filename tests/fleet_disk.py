"""What a relay's database holds, event by event, and what of it is left after the last commits were lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from camrelay.relay.copy import row_key
from camrelay.relay.outputs import (
    PeerForgotten,
    PeerSaid,
    UserChanged,
    UserForgotten,
    UserHeard,
    UserJoined,
    UserLeft,
    UserMoved,
    UserYielded,
)

if TYPE_CHECKING:
    from camrelay.relay.messages import RelayId, Row
    from camrelay.relay.user import SavedUser
    from tests.world import World

Key = tuple[str, str]
SAVED = (UserJoined, UserChanged, UserMoved, UserLeft, UserHeard)


class Told(NamedTuple):
    """What a database knows of a peer."""

    peer: RelayId
    rows: tuple[Row, ...]
    age: float  # seconds since it was linked


class Disk:
    """What is written down of what happened, and what of it is there after a loss of the last commits."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._journal: list[tuple[float, Any]] = []

    def write(self, event: object, clock: float) -> None:
        """As the daemon does, event by event."""
        if isinstance(event, SAVED):
            self._journal.append((self._world.now, (event.user.key, event.user.saved(clock))))
        elif isinstance(event, UserForgotten | UserYielded):
            self._journal.append((self._world.now, (event.user.key, None)))
        elif isinstance(event, PeerSaid | PeerForgotten):
            self._journal.append((self._world.now, event))

    def heard(self, peer: RelayId) -> None:
        """A peer was linked until now."""
        self._journal.append((self._world.now, peer))

    def lose(self, since: float) -> None:
        """Nothing that was written since then is there."""
        self._journal = [(time, what) for time, what in self._journal if time < since]

    def users(self) -> list[SavedUser]:
        """Our own users, with the ages that they have now."""
        users: dict[Key, tuple[float, SavedUser]] = {}
        for time, what in self._journal:
            if isinstance(what, tuple) and not isinstance(what, PeerSaid | PeerForgotten):
                key, saved = what
                users.pop(key, None)
                if saved is not None:
                    users[key] = time, saved
        ages = ((self._world.now - time, saved) for time, saved in users.values())
        return [saved._replace(heard=saved.heard + age, joined=saved.joined + age) for age, saved in ages]

    def told(self) -> list[Told]:
        """What peers told."""
        rows: dict[RelayId, dict[Key, Row]] = {}
        heard: dict[RelayId, float] = {}
        for time, what in self._journal:
            if isinstance(what, PeerSaid):
                known = rows.setdefault(what.peer, {})
                known.update((row_key(row), row) for row in what.rows)
                for key in what.gone:
                    known.pop(key, None)
            elif isinstance(what, PeerForgotten):
                rows.pop(what.peer, None)
            elif isinstance(what, str):
                heard[what] = time
        now = self._world.now
        return [Told(peer, tuple(known.values()), now - heard.get(peer, 0.0)) for peer, known in rows.items()]
