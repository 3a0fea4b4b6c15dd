"""Who wants to see datagrams sees them here: in both directions, and what became of each.

Rule kept here: looking costs the relay nothing while nobody looks, and never makes it wait: who reads too slowly
loses datagrams and is told how many.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

import trio

from camrelay.daemon.events import NAMES
from camrelay.relay.outputs import Datagram, Transmit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from camrelay.relay.outputs import Output

ROOM: Final = 1024  # datagrams that a reader may lag behind
HEARD: Final = "datagrams heard"  # counted for every one, so it says nothing about any


class Seen(NamedTuple):
    """One datagram that came in or went out. ``fate``: what the relay counted for one that came in, and who came."""

    at: float  # monotonic seconds
    packet: Datagram | Transmit
    fate: str = ""

    @property
    def outgoing(self) -> bool:
        """Did we send it?"""
        return isinstance(self.packet, Transmit)

    @property
    def address(self) -> str:
        """That of the other side."""
        return self.packet.to if isinstance(self.packet, Transmit) else self.packet.source


class Ear:
    """What one reader gets: ``async for seen in ear``. ``lost``: what it was too slow for."""

    def __init__(self, wanted: Callable[[Seen], bool], room: int) -> None:
        self.lost = 0
        self._wanted = wanted
        self._send, self._receive = trio.open_memory_channel[Seen](room)

    def __aiter__(self) -> Ear:
        return self

    async def __anext__(self) -> Seen:
        return await self._receive.receive()

    def more(self, most: int) -> list[Seen]:
        """What else is there now, without waiting."""
        found: list[Seen] = []
        with suppress(trio.WouldBlock):
            while len(found) < most:
                found.append(self._receive.receive_nowait())
        return found

    def offer(self, seen: Seen) -> None:
        """For the tap. Raises nothing: this is in the middle of relaying."""
        try:
            if self._wanted(seen):
                self._send.send_nowait(seen)
        except Exception:  # noqa: BLE001 - no room; or a bug of the reader's own, which costs it this datagram
            self.lost += 1


class Tap:
    """See above. Asked for every batch, so ``active`` is a plain attribute."""

    def __init__(self) -> None:
        self.active = False
        self._ears: list[Ear] = []

    @contextmanager
    def listen(self, wanted: Callable[[Seen], bool], room: int = ROOM) -> Iterator[Ear]:
        """All that ``wanted`` says yes to, from now on. It is asked for every datagram: keep it cheap."""
        ear = Ear(wanted, room)
        self._ears.append(ear)
        self.active = True
        try:
            yield ear
        finally:
            self._ears.remove(ear)
            self.active = bool(self._ears)

    def receive(
        self,
        receive: Callable[[Datagram, float], list[Output]],
        counters: Mapping[str, int],
        datagrams: Sequence[Datagram],
        now: float,
    ) -> list[Output]:
        """Let the relay ``receive`` these; whoever looks sees each with what the relay counted for it."""
        outputs: list[Output] = []
        if not self._ears:
            for datagram in datagrams:
                outputs += receive(datagram, now)
            return outputs
        before = list(counters.values())  # causes are added, never removed: their order stays
        for datagram in datagrams:
            made = receive(datagram, now)
            outputs += made
            after = list(counters.values())
            fate = [
                cause for cause, was, is_now in zip(counters, before, after, strict=False) if was != is_now
            ]
            fate += islice(counters, len(before), None)
            before = after
            fate += [f"user {NAMES[type(one)]}" for one in made if type(one) in NAMES]
            self._offer(Seen(now, datagram, ", ".join(cause for cause in fate if cause != HEARD)))
        return outputs

    def sent(self, transmits: Sequence[Transmit], now: float) -> None:
        """These go out."""
        for transmit in transmits:
            self._offer(Seen(now, transmit))

    def _offer(self, seen: Seen) -> None:
        for ear in self._ears:
            ear.offer(seen)
