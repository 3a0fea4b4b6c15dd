"""Connections to agents: connect, write once, wait until the other side closes, say how it went.

Rules kept here: at most ``AT_ONCE`` at a time and ``WAITING`` more in line, three seconds for each in all, and nothing
that comes back is looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Never

import trio

from camrelay.relay.agents import Times

if TYPE_CHECKING:
    from collections.abc import Callable

    from camrelay.relay.outputs import Connect

AT_ONCE: Final = 16  # five segments' agents: 100 segments are through in a minute even if nobody answers
WAITING: Final = 1_024
MOST_BACK: Final = 4_096  # bytes; an agent sends none


class Calls:
    """``done(address, ok)`` is called for every connection asked for, from the task ``run``."""

    def __init__(self, done: Callable[[str, bool], None], within: float = Times.CONNECT) -> None:
        self._done = done
        self._within = within
        self._ask, self._asked = trio.open_memory_channel[tuple["Connect", bool]](2 * WAITING)

    def start(self, call: Connect) -> None:
        """Soon; too many of them fail."""
        waiting = self._ask.statistics().current_buffer_used
        if waiting < 2 * WAITING:  # who is not even told is given up by the relay after a while
            self._ask.send_nowait((call, waiting < WAITING))

    async def run(self) -> Never:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(self._work)
            await trio.sleep_forever()

    async def _work(self) -> None:
        async for call, wanted in self._asked.clone():
            self._done(call.address, wanted and await self._call(call))

    async def _call(self, call: Connect) -> bool:
        with trio.move_on_after(self._within), trio.socket.socket() as sock:
            try:
                await sock.connect((call.address, call.port))
                stream = trio.SocketStream(sock)
                await stream.send_all(call.data)
                back = 0
                while back <= MOST_BACK:
                    some = await stream.receive_some()
                    if not some:
                        return True
                    back += len(some)
            except (OSError, trio.BrokenResourceError):
                return False
        return False
