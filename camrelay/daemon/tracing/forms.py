"""What two relays tell each other while they measure the way between them, and for how long they listen."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Annotated, Final, Literal

import msgspec
import trio
from msgspec import Meta

from camrelay.daemon.tracing import numbered
from camrelay.daemon.tracing.numbered import Address, Arrival, Seconds  # noqa: TC001 - msgspec reads the annotations
from camrelay.ipmsg.command import PORT

MOST_HEARD: Final = 256  # datagrams that are counted for one question
LONGEST: Final = 15.0  # seconds that a port is open, or that somebody listens

Port = Annotated[int, Meta(ge=1, le=65535)]
Number = Annotated[int, Meta(ge=0, le=numbered.MOST_NUMBER)]
Speaking = Literal["", "own", "foreign"]


class Volley(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Datagrams numbered from ``first`` on, one every so many seconds. ``speak``: as whom, if not as ourselves."""

    first: Annotated[int, Meta(ge=0, le=numbered.MOST_NUMBER - 100)]
    count: Annotated[int, Meta(ge=1, le=64)]
    every: Annotated[float, Meta(ge=0.01, le=0.5)] = numbered.PACED_EVERY
    size: Annotated[int, Meta(ge=0, le=numbered.LARGE_BYTES)] = 0
    speak: Speaking = ""
    port: Port = PORT


class Fired(msgspec.Struct, frozen=True):
    """What was sent: when, by number; from which address of ours; as whom. ``cannot``: why not as others."""

    at: dict[Number, Seconds]
    source: Address | Literal[""]
    spoken: dict[Speaking, Address]
    cannot: Annotated[str, Meta(max_length=200)] = ""


class Heard(msgspec.Struct, frozen=True):
    """What arrived."""

    arrived: Annotated[list[Arrival], Meta(max_length=MOST_HEARD)]


class Sizes(msgspec.Struct, frozen=True):
    """What the sender of datagrams of several sizes (bytes of IP) learned. ``errors``: size, MTU told, by whom."""

    own: Annotated[int, Meta(ge=0, le=65535)]
    sizes: Annotated[list[int], Meta(max_length=64)]
    errors: Annotated[list[tuple[int, int, str]], Meta(max_length=64)]
    answered: Annotated[list[int], Meta(max_length=64)]
    why: Annotated[str, Meta(max_length=200)]
    seconds: Seconds


class Opened(msgspec.Struct, frozen=True):
    """Which call ports were listened at, which are another program's, and who was heard at which."""

    open: Annotated[list[Port], Meta(max_length=8)]
    busy: Annotated[list[Port], Meta(max_length=8)]
    arrived: Annotated[dict[Port, Address], Meta(max_length=8)]


@dataclass(slots=True)
class Window:
    """How long to listen: ``seconds`` at the most, until ``expected`` came, or ``quiet`` s after the last that came.

    ``opened`` is set when nothing that comes is missed any more. Who listens here may be told to stop earlier.
    """

    seconds: float
    expected: int = 0
    quiet: float = 0.0
    opened: trio.Event = field(default_factory=trio.Event)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    _limit: float = inf

    def open(self) -> None:
        """Listening begins now."""
        self.close(self.seconds)
        self.opened.set()

    def close(self, within: float) -> None:
        """Nothing more is sent: what is on its way has so many seconds."""
        self._limit = min(self._limit, trio.current_time() + within)
        self.scope.deadline = min(self.scope.deadline, self._limit)

    def note(self) -> None:
        """Something came."""
        if self.quiet:
            self.scope.deadline = min(self._limit, trio.current_time() + self.quiet)
