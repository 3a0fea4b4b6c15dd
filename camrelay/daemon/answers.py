"""The words of the control socket: JSON lines, one request per connection. For both sides: no trio.

Request:  {"v":1,"do":NAME,...}
Answer:   {"v":1,"event":{...}} any number of times, then {"v":1,"ok":true,"result":...} or
          {"v":1,"ok":false,"error":"one line","exit":1}; after a watch's result, events follow without end.
"""

from __future__ import annotations

import msgspec

from camrelay.relay.snapshot import Snapshot  # noqa: TC001 - msgspec reads the annotations

VERSION = 1
LONGEST_REQUEST = 64 << 10  # bytes of the request line: 1,024 segments in full


class Sockets(msgspec.Struct, frozen=True):
    """The presence socket. Buffers in bytes, as granted by the kernel."""

    source: str  # "systemd" or "own"
    receive_buffer: int
    receive_buffer_wanted: int
    send_buffer: int


class Database(msgspec.Struct, frozen=True):
    """The roster on disk. ``last_write`` is an age in seconds, None before the first one."""

    path: str
    users: int
    last_write: float | None
    error: str | None


class Configuration(msgspec.Struct, frozen=True):
    """The configuration in force, ``loaded`` seconds ago; ``problem``: why a newer one was refused."""

    path: str  # "" if there is no file and all defaults apply
    loaded: float
    problem: str | None


class Status(msgspec.Struct, frozen=True):
    """Everything that ``camrelay status`` shows. Times are ages or spans in seconds."""

    version: str
    pid: int
    uptime: float
    relay: Snapshot
    sockets: Sockets
    database: Database
    config: Configuration
    warnings: list[str]
    counters: dict[str, int]


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One request line. ``watch`` belongs to "users", ``segments`` to "sweep"."""

    v: int
    do: str
    watch: bool = False
    segments: tuple[str, ...] = ()


class Swept(msgspec.Struct, frozen=True):
    """The result of a sweep."""

    asked: int
    answered: int
    seconds: float
