"""Looking for faults, beside the relaying: what people (control socket) and peers (links) ask to be traced.

Rules kept here: what a trace needs is loaded when the first one is asked for; a few run at a time, and none makes
the relay wait. Each part is a function ``async (stand, request, tell) -> result``; ``tell`` shows one event.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import trio

from camrelay.errors import CamrelayError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from camrelay.config import Config
    from camrelay.daemon.answers import Request
    from camrelay.daemon.control import Requests, Tell
    from camrelay.daemon.log import Log
    from camrelay.daemon.peers import Peers
    from camrelay.daemon.tap import Tap
    from camrelay.relay.outputs import Interface, Output
    from camrelay.relay.relay import Relay

MOST_AT_ONCE: Final = 8  # traces; a watcher is one, and an admin has two eyes

# Request -> may only root and our own user ask?, and "module:function" in this folder.
PARTS: Final[dict[str, tuple[bool, str]]] = {
    "watch": (False, "watching:watch"),
    "watch bodies": (True, "watching:watch"),
    "host": (False, "host:host"),
    "pair": (False, "pair:pair"),
    "path": (False, "pair:path"),
    "why": (False, "why:why"),
    "search": (True, "searching:search"),
    "speak": (False, "speaking:speak"),
}


@dataclass(slots=True)
class Stand:
    """What traces stand on: the parts of the running daemon."""

    tap: Tap
    relay: Relay
    act: Callable[[list[Output], float], None]  # lets happen what the relay decided
    log: Log
    config: Callable[[], Config]  # the one in force
    interfaces: Callable[[], Sequence[Interface]]  # our segments now
    peers: Peers | None  # where there may be a fleet
    running: int = field(default=0, init=False)

    def requests(self) -> Requests:
        """For the control socket."""
        return {name: (root, partial(self._answer, place)) for name, (root, place) in PARTS.items()}

    async def _answer(self, place: str, request: Request, tell: Tell) -> object:
        if self.running >= MOST_AT_ONCE:
            raise CamrelayError(f"busy: {MOST_AT_ONCE} traces are running: try again when one has ended")
        self.running += 1
        try:
            answer = await find(place)
            return await answer(self, request, tell)
        finally:
            self.running -= 1


async def find(place: str) -> Callable[..., Awaitable[Any]]:
    """The function at "module:function" of this folder, imported beside the loop if it is not yet."""
    module, _, name = place.partition(":")
    loaded = await trio.to_thread.run_sync(import_module, f"camrelay.daemon.tracing.{module}")
    found: Callable[..., Awaitable[Any]] = getattr(loaded, name)
    return found
