"""What the control socket answers: the state of everything, taken at one instant."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import trio

from camrelay import __version__
from camrelay.daemon.answers import Configuration, Database, FleetView, Sockets, Status
from camrelay.daemon.control import Pass
from camrelay.daemon.lansocket import RECEIVE_BUFFER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from camrelay.config import Config
    from camrelay.daemon.events import Router
    from camrelay.daemon.lan import LanLike
    from camrelay.daemon.peers import Peers
    from camrelay.daemon.stalls import Stalls
    from camrelay.daemon.store import Store
    from camrelay.daemon.tracing import Stand
    from camrelay.relay.relay import Relay
    from camrelay.relay.snapshot import UserRow


class Answering:
    """The ``control.Answers`` of the running daemon. The tasks keep its public attributes current."""

    def __init__(
        self,
        config: Config,
        *,
        lan: LanLike,
        store: Store,
        relay: Relay,
        router: Router,
        source: str,
        warnings: Sequence[str],
        stalls: Stalls | None,
        reload: Callable[[], None],
        wake: Callable[[], None],
    ) -> None:
        self.config = config
        self.loaded = self._started = trio.current_time()
        self.problem: str | None = None  # why a newer configuration was refused
        self.more: list[str] = []  # warnings that came up after the start
        self.peers: Peers | None = None  # where there may be a fleet
        self.stand: Stand | None = None  # where faults are looked for
        self._lan = lan
        self._store = store
        self._relay = relay
        self._router = router
        self._source = source
        self._warnings = warnings
        self._stalls = stalls
        self._reload = reload
        self._wake = wake

    def status(self) -> Status:
        """Everything there is to see."""
        now = trio.current_time()
        store, lan = self._store, self._lan
        snapshot = self._relay.snapshot(now)
        stall = {"longest loop stall in ms": round(self._stalls.longest * 1000)} if self._stalls else {}
        control = self._router.control.counters if self._router.control else {}
        peers = self.peers.counters if self.peers else {}
        traces = self.stand.counters if self.stand else {}
        return Status(
            version=__version__,
            pid=os.getpid(),
            uptime=now - self._started,
            relay=snapshot,
            sockets=Sockets(self._source, lan.receive_buffer, RECEIVE_BUFFER, lan.send_buffer),
            database=Database(
                str(store.path),
                store.users,
                None if store.last_write is None else now - store.last_write,
                store.error,
            ),
            config=Configuration(self.config.path, now - self.loaded, self.problem),
            warnings=self.warnings(),
            counters={
                **stall,
                **lan.counters,
                **snapshot.counters,
                **control,
                **peers,
                **traces,
                **store.counters,
            },
            fleet=self.peers.desk.view() if self.peers else FleetView(),
        )

    def warnings(self) -> list[str]:
        """What is not as good as it could be, with the remedy."""
        peers = self.peers.warnings() if self.peers else []
        if self.peers and self.config.share:
            peers += self.peers.desk.unmatched(self.config.settings("").shares)
        return [*self._lan.warnings, *self._warnings, *self.more, *peers, *self.config.notes]

    def status_line(self) -> str:
        """For ``systemctl status``."""
        here, elsewhere = self._relay.present
        return f"STATUS={here} users here, {elsewhere} elsewhere"

    def users(self) -> Iterable[UserRow]:
        """The roster."""
        return self._relay.users(trio.current_time())

    def sweep(self, segments: Sequence[str]) -> Pass:
        """Begin a pass over these segments (none: all). UsageError for an unknown one."""
        now = trio.current_time()
        total = self._relay.sweep_now(now, segments)
        # A single address of the configuration is part of the segment it lives in.
        named = {f"{text.rpartition('.')[0]}.*" for text in segments}
        rows = [row for row in self._relay.snapshot(now).segments if row.kind == "remote" and row.addresses]
        asked = Pass(total, [row.name for row in rows if not named or row.name in named])
        self._router.passes.append(asked)
        self._wake()
        return asked

    def sweeping(self) -> int:
        """Addresses left in all passes."""
        return self._relay.sweeping

    def reload(self) -> None:
        """Read the configuration again. BadConfig if it cannot be used."""
        self._reload()
