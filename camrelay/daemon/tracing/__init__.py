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

from camrelay.daemon.history import History
from camrelay.errors import CamrelayError, FleetError, causes
from camrelay.relay.context import Budget

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from types import ModuleType

    from camrelay.config import Config
    from camrelay.daemon.answers import Request
    from camrelay.daemon.control import Requests, Tell
    from camrelay.daemon.discovered import Discovered
    from camrelay.daemon.links import Traced
    from camrelay.daemon.log import Log
    from camrelay.daemon.peers import Peers
    from camrelay.daemon.samples import Samples
    from camrelay.daemon.tap import Tap
    from camrelay.daemon.tracing.far import Far
    from camrelay.relay.messages import RelayId
    from camrelay.relay.outputs import Interface, Output
    from camrelay.relay.relay import Relay

MOST_AT_ONCE: Final = 8  # traces; a watcher is one, and an admin has two eyes
KEPT: Final = 2  # of these places for root and our own user
OFTEN: Final = 30  # traces in 10 s for all others together, and for each relay of the fleet
SPEAKS: Final = 6  # tests of speaking in 10 s: each says a dozen datagrams to everybody on our wires

# Errors that are no bug: meant for people, or those of a client that has gone.
MEANT: Final = (CamrelayError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError)

# Request -> may only root and our own user ask?, and "module:function" in this folder.
PARTS: Final[dict[str, tuple[bool, str]]] = {
    "watch": (False, "watching:watch"),
    "watch bodies": (True, "watching:watch"),
    "host": (False, "host:host"),
    "pair": (False, "pair:pair"),
    "path": (False, "between:path"),
    "why": (False, "why:why"),
    "search": (True, "searching:search"),
    "discovered": (False, "searching:discovered"),
    "forget": (True, "searching:forget"),
    "samples": (False, "sampling:samples"),
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
    history: History = field(default_factory=History)  # what happened to users lately
    discovered: Discovered | None = None  # hosts that searches added
    resettle: Callable[[], None] = lambda: None  # the discovered hosts are others now
    samples: Samples | None = None  # first words of clients of unknown kinds
    running: int = field(default=0, init=False)
    counters: dict[str, int] = field(default_factory=dict, init=False)
    often: Budget = field(default_factory=lambda: Budget(OFTEN), init=False)  # by relay; "" for people
    spoken: Budget = field(default_factory=lambda: Budget(SPEAKS), init=False)
    _far: Far | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if self.peers is not None:
            self.peers.links.traced = self._heard

    @property
    def far(self) -> Far:
        """Asks other relays, and answers them. FleetError where there can be none."""
        if self._far is None:
            if self.peers is None:
                raise FleetError("this relay is in no fleet: see `camrelay peer --help`")
            from camrelay.daemon.tracing.far import Far

            self._far = Far(self, self.peers)
        return self._far

    def _heard(self, peer: RelayId, message: Traced | None) -> None:
        if message is not None or self._far is not None:
            self.far.hear(peer, message)

    def requests(self) -> Requests:
        """For the control socket."""
        return {name: (root, partial(self._answer, place)) for name, (root, place) in PARTS.items()}

    async def _answer(self, place: str, request: Request, tell: Tell) -> object:
        if self.running >= MOST_AT_ONCE - (0 if request.trusted else KEPT):
            self.count("traces refused: too many at once")
            raise CamrelayError(f"busy: {self.running} traces are running: try again when one has ended")
        if not (request.trusted or self.often.spend("", trio.current_time())):
            self.count("traces refused: asked too often")
            raise CamrelayError("asked too often: try again in 10 s, or as root")
        self.running += 1
        try:
            answer = await find(place)
            return await answer(self, request, tell)
        except Exception as error:  # noqa: BLE001 - who looks for a fault may never end the relay
            raise self.meant(error, place) from None
        finally:
            self.running -= 1

    def count(self, cause: str) -> None:
        """One more of ``cause``, as ``status`` shows it."""
        self.counters[cause] = self.counters.get(cause, 0) + 1

    def meant(self, error: Exception, place: str) -> Exception:
        """What to tell of an error: what was meant for people or for the control socket; else that it is a bug."""
        inside = list(causes(error))
        if all(isinstance(one, MEANT) for one in inside):
            return next((one for one in inside if isinstance(one, CamrelayError)), error)
        self.count("traces ended by a bug")
        self.log.bug("bug in a trace: the relay goes on", error, trace=place)
        what = f"{type(inside[0]).__name__}: {inside[0]}"
        return CamrelayError(f"a bug of camrelay ended this trace ({what}): please send a `camrelay report`")


_loaded: dict[str, ModuleType] = {}


async def find(place: str) -> Callable[..., Awaitable[Any]]:
    """The function at "module:function" of this folder, imported beside the loop if it is not yet."""
    module, _, name = place.partition(":")
    if module not in _loaded:  # sys.modules also holds those that another thread has only begun to import
        path = f"camrelay.daemon.tracing.{module}"
        _loaded[module] = await trio.to_thread.run_sync(import_module, path)
    found: Callable[..., Awaitable[Any]] = getattr(_loaded[module], name)
    return found
