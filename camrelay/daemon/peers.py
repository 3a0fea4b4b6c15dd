"""All that the daemon has to do with other relays in one place: the fleet, the links to it, and the door.

Rule kept here: a relay in no fleet pays for a listening socket, and for nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from camrelay.daemon.desk import Desk
from camrelay.daemon.dialling import reach
from camrelay.daemon.door import Door
from camrelay.daemon.enrol import Enrolment
from camrelay.daemon.fleet import Fleet
from camrelay.daemon.links import Links

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from camrelay.config import Config
    from camrelay.daemon.links import Reaching
    from camrelay.daemon.log import Log
    from camrelay.daemon.store import Store
    from camrelay.relay.outputs import Interface, Output
    from camrelay.relay.relay import Relay


class Peers:
    """See above. ``act`` lets happen what the relay decided; ``reach`` is for tests."""

    def __init__(
        self,
        config: Config,
        *,
        relay: Relay,
        store: Store,
        log: Log,
        act: Callable[[list[Output], float], None],
        hostname: str,
        chance: random.Random,
        reach: Reaching = reach,
    ) -> None:
        self._relay = relay
        self._store = store
        self._log = log
        self._act = act
        self.fleet = Fleet.open(config.relay.state, config.relay.name or hostname)
        self._enrolment = Enrolment(self.fleet, log, store.boot, reach)
        self.links = Links(
            self.fleet, relay, act=act, log=log, boot=store.boot, chance=chance,
            reach=reach, enrol=self._enrolment.admit, heard=store.peer_heard,
        )  # fmt: skip
        self.door = Door(config.peers.port, self.links, log)
        self.desk = Desk(self.fleet, self._enrolment, self.links, relay, act)
        self.fleet.changed = self._changed
        self.fleet.tell = self.links.tell
        self.fleet.log = log.info

    def restore(self, now: float) -> None:
        """Before the relay starts: who is in the fleet, and what they told before we were started again."""
        members = self.fleet.members
        if members:
            self._enlist(now)
        for peer, age, rows in list(self._store.load_peers()):
            if peer in members:
                self._relay.restore_peer(peer, rows, age, now)
            else:
                self._store.forget_peer(peer)

    async def run(self) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            # Before the door opens: nobody is to be told that we know no one.
            await nursery.start(self.links.run)
            nursery.start_soon(self.door.run)
            nursery.start_soon(self.desk.run)

    def readdress(self, config: Config, interfaces: Sequence[Interface], hostname: str) -> None:
        """Our addresses, or how we are called, may be others now; so may be the way to the other relays."""
        self.desk.readdress(config, interfaces, hostname)
        self.links.wake()

    def _changed(self) -> None:
        self.links.refresh()
        self._enlist(trio.current_time())

    def _enlist(self, now: float) -> None:
        fleet = self.fleet
        names = {peer: fleet.label(peer) for peer in fleet.members}
        self._act(self._relay.enlist(fleet.me.id, names, now), now)

    @property
    def counters(self) -> dict[str, int]:
        """What was counted in all of it."""
        return self.links.counters | self.door.counters | self.fleet.counters | self._enrolment.counters

    def warnings(self) -> list[str]:
        """What is not as good as it could be."""
        return [*self.desk.warnings(), *filter(None, [self.door.problem])]
