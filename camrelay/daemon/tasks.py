"""The tasks around one ``Relay``: hear, tick, watch segments, clock and signals, answer, write.

Rules kept here: the relay is only ever called from this loop, and an exception out of it ends the process
(systemd starts it again, the roster is on disk); what network, disk or a client does wrong is survived.
"""

from __future__ import annotations

import random
import signal
import time
from typing import TYPE_CHECKING, Final, Never

import trio

from camrelay import __version__
from camrelay.config import BadConfig, load
from camrelay.daemon.adopting import adopt
from camrelay.daemon.answering import Answering
from camrelay.daemon.calls import Calls
from camrelay.daemon.control import Control
from camrelay.daemon.discovered import Discovered
from camrelay.daemon.events import Router
from camrelay.daemon.ownsegments import OwnSegments
from camrelay.daemon.stalls import suspended
from camrelay.daemon.tap import Tap
from camrelay.daemon.tracing import Stand
from camrelay.relay.relay import Relay

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterable, Callable, Sequence

    from camrelay.config import Config
    from camrelay.daemon.keys import Keys
    from camrelay.daemon.lan import LanLike
    from camrelay.daemon.log import Log
    from camrelay.daemon.notify import Notify
    from camrelay.daemon.ownsegments import Interfaces
    from camrelay.daemon.peers import Peers
    from camrelay.daemon.stalls import Stalls
    from camrelay.daemon.store import Store
    from camrelay.relay.outputs import Output
    from camrelay.relay.rules import Settings

PULSE: Final = 5.0  # seconds between two looks at clock and status line, two signs of life at least
PIECE: Final = 32  # datagrams decided on in one go: joins cost up to 100 us each, nothing may wait for long
LEAST_NAP: Final = 0.002  # between two ticks: what is held back by a full queue must not spin the loop
SLEPT: Final = 2.0  # seconds that BOOTTIME gained on MONOTONIC: the machine was suspended
FAREWELL_WITHIN: Final = 2.0  # for the last datagrams to leave
LAST_WRITE_WITHIN: Final = 5.0  # systemd waits 90 s


class Tasks:
    """All that runs. Made inside the loop; ``serve`` returns after SIGTERM, with all said and written."""

    def __init__(
        self,
        config: Config,
        *,
        lan: LanLike,
        interfaces: Interfaces,
        store: Store,
        log: Log,
        notify: Notify,
        hostname: str,
        source: str = "own",
        warnings: Sequence[str] = (),
        stalls: Stalls | None = None,
        relay: Callable[..., Relay] = Relay,
        watchdog: float | None = None,
        asleep: Callable[[], float] = suspended,
        chance: random.Random | None = None,
        may_change: frozenset[int] | None = None,
        keys: Callable[[], Keys] | None = None,
        peers: Callable[..., Peers] | None = None,
    ) -> None:
        self._config = config
        self._lan = lan
        self._store = store
        self._log = log
        self._notify = notify
        self._hostname = hostname
        self._stalls = stalls
        self._pulse_every = min(PULSE, watchdog / 3) if watchdog else PULSE
        self._asleep = asleep
        self._keys = keys
        self._nap = trio.CancelScope()
        self._leaving = False
        self._segments = OwnSegments(interfaces, log, config)
        self._discovered = Discovered.open(config.relay.state, log, aside=store.aside)
        chance = chance or random.Random()
        self._relay = relay(
            self._settings(), self._segments.now, hostname=hostname, number=store.first_number,
            random=chance, can_speak=lan.can_speak, now=trio.current_time(),
        )  # fmt: skip
        if self._discovered.damaged:
            self._relay.counters["discovered hosts files found damaged"] += 1
        self._tap = Tap()
        self._router = Router(lan, store, log, self._tap)
        self._answering = Answering(
            config, lan=lan, store=store, relay=self._relay, router=self._router, source=source,
            warnings=warnings, stalls=stalls, reload=self.reload, wake=self._wake,
        )  # fmt: skip
        if self._discovered.problem:
            self._answering.more.append(self._discovered.problem)
        self._peers = peers and peers(
            config, relay=self._relay, store=store, log=log, act=self._act, hostname=hostname, chance=chance
        )
        self._router.links = self._peers.links if self._peers else None
        self._answering.peers = self._peers
        self._calls = self._router.calls = Calls(self._connected)
        self._stand = self._answering.stand = Stand(
            self._tap, self._relay, self._act, log,
            config=lambda: self._config, interfaces=lambda: self._segments.now, peers=self._peers,
            history=self._router.history, discovered=self._discovered, resettle=self._resettle,
            samples=self._router.samples,
        )  # fmt: skip
        fleet = self._peers.desk.requests if self._peers else {}
        self._control = self._router.control = Control(
            self._answering, may_change, {**fleet, **self._stand.requests()}
        )

    # -- life --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Take back the roster, speak up, and tell systemd that we are ready."""
        now = trio.current_time()
        self._relay.restore(self._store.load(), now)
        if self._peers:
            self._peers.restore(now)
        self._lan.set_broadcasts(segment.broadcast for segment in self._segments.now)
        self._act(self._relay.start(now), now)
        self._notify.say("READY=1", self._answering.status_line())

    async def serve(self, listener: socket.socket, signals: AsyncIterable[int]) -> None:
        """Run, once started, until SIGTERM or SIGINT."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._lan.drain)
            nursery.start_soon(self._receive)
            nursery.start_soon(self._calls.run)
            nursery.start_soon(self._tick)
            nursery.start_soon(self._segments.watch, self._readdress)
            nursery.start_soon(self._store.write)
            nursery.start_soon(self._control.serve, listener)
            nursery.start_soon(self._pulse)
            nursery.start_soon(self._say_ready)
            if self._peers:
                self._peers.readdress(self._config, self._segments.now, self._hostname)
                nursery.start_soon(self._peers.run)
            async for number in signals:
                if number == signal.SIGHUP:
                    self._hang_up()
                elif self._leaving:
                    nursery.cancel_scope.cancel()
                else:
                    self._leaving = True
                    nursery.start_soon(self._leave, nursery.cancel_scope)

    async def _say_ready(self) -> None:
        """The first line, after READY=1: loading what renders it takes 7 ms."""
        relay = self._config.relay
        self._log.open(relay.log_level, relay.log_format)
        self._log.info(
            "ready",
            version=__version__, segments=str(self._segments),
            remote=len(self._config.remote.segments), users=self._store.users, speaks=self._lan.can_speak,
        )  # fmt: skip
        for text in self._answering.warnings():
            self._log.warning("not as good as it could be", cause=text)
        self._segments.complain_if_none()
        if self._keys is not None:
            await adopt(self._keys, self._take, self._answering, self._log)
        if self._stalls:
            self._stalls.longest = 0.0

    def _take(self, keys: Keys) -> None:
        now = trio.current_time()
        self._act(self._relay.adopt(keys.key, now, keys.old), now)

    async def _leave(self, scope: trio.CancelScope) -> None:
        now = trio.current_time()
        self._log.info("leaving")
        self._notify.say("STOPPING=1", "STATUS=saying good-bye")
        self._router.take(self._relay.leave(now), now)
        with trio.move_on_after(FAREWELL_WITHIN):
            if self._peers:
                await self._peers.links.leave()
            while self._lan.backlog:  # noqa: ASYNC110 - the queue is drained by its own task, which tells nobody
                await trio.sleep(0.01)
        with trio.move_on_after(LAST_WRITE_WITHIN):
            await self._store.flush()
        scope.cancel()

    # -- tasks -------------------------------------------------------------------------------------------

    async def _receive(self) -> Never:
        receive = self._relay.receive
        while True:
            datagrams = await self._lan.receive()
            for start in range(0, len(datagrams), PIECE):
                now = trio.current_time()
                piece = datagrams[start : start + PIECE]
                self._act(self._tap.receive(receive, self._relay.counters, piece, now), now)
                if start + PIECE < len(datagrams):
                    await trio.lowlevel.checkpoint()

    async def _tick(self) -> Never:
        while True:
            least = trio.current_time() + LEAST_NAP
            self._nap = trio.CancelScope(deadline=max(self._relay.next_due(), least))
            with self._nap:
                await trio.sleep_forever()
            now = trio.current_time()
            self._relay.congested = self._lan.backlog > self._lan.limit // 2
            self._act(self._relay.tick(now), now)

    def _act(self, outputs: list[Output], now: float) -> None:
        """Let happen what the relay decided, and wake ``_tick`` in time for what it has to do next."""
        if self._leaving:
            return
        if outputs:
            self._router.take(outputs, now)
        due = self._relay.next_due()
        if due < self._nap.deadline:
            self._nap.deadline = max(due, now + LEAST_NAP)

    def _wake(self) -> None:
        """Something was asked of the relay that may be due before all else."""
        self._act([], trio.current_time())

    def _connected(self, address: str, ok: bool) -> None:
        self._relay.connected(address, ok, trio.current_time())
        self._wake()

    def _readdress(self) -> None:
        if not self._segments.look(self._config):
            return
        self._log.info("segments changed", segments=str(self._segments))
        self._segments.complain_if_none()
        now, segments = trio.current_time(), self._segments.now
        self._lan.set_broadcasts(segment.broadcast for segment in segments)
        self._act(self._relay.readdress(segments, now), now)
        if self._peers:
            self._peers.readdress(self._config, segments, self._hostname)

    async def _pulse(self) -> Never:
        asleep = self._asleep()
        while True:
            await trio.sleep(self._pulse_every)
            now = trio.current_time()
            self._notify.say("WATCHDOG=1")
            before, asleep = asleep, self._asleep()
            if asleep - before > SLEPT:
                self._log.info("woken up", slept=round(asleep - before), meaning="all users are asked again")
                self._relay.distrust(now)
                self._wake()
                if self._peers:
                    self._peers.links.wake()
            self._router.samples.review(now)
            if self._router.changed:
                self._router.changed = False
                self._notify.say(self._answering.status_line())

    # -- configuration -----------------------------------------------------------------------------------

    def _settings(self) -> Settings:
        """What the relay decides by: the configuration in force, and the hosts that searches added."""
        return self._discovered.merge(self._config.settings(self._hostname))

    def _resettle(self) -> None:
        """One of these is another one now."""
        now = trio.current_time()
        self._act(self._relay.reconfigure(self._settings(), now), now)

    def _hang_up(self) -> None:
        self._notify.say("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            self.reload()
        except BadConfig as error:
            for problem in error.problems:
                self._log.error("configuration not reloaded", problem=problem, running="the one before")
        self._notify.say("READY=1", self._answering.status_line())

    def reload(self) -> None:
        """Take over the configuration file. BadConfig, and the one before goes on, where it has mistakes."""
        try:
            config = load(self._config.path or None)
        except BadConfig as error:
            self._answering.problem = error.summary
            raise
        before, now = self._config, trio.current_time()
        self._config = self._answering.config = config
        self._answering.problem, self._answering.loaded = None, now
        for key in ("state", "control"):
            if getattr(before.relay, key) != getattr(config.relay, key):
                self._log.warning("takes effect after a restart", key=f"relay.{key}")
        if before.peers.port != config.peers.port:
            self._log.warning("takes effect after a restart", key="peers.port")
        self._log.open(config.relay.log_level, config.relay.log_format)
        self._resettle()
        self._readdress()
        if self._peers:  # the same interfaces may be another address to dial
            self._peers.readdress(config, self._segments.now, self._hostname)
        notes = " ".join(config.notes) or "none"
        self._log.info("configuration loaded", path=config.path or "none", notes=notes)
