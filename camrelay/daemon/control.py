"""The answering side of the control socket: who may ask what, and slow or silly clients cost nobody anything.

Everybody who can open the socket (group camrelay) may look; only root and the daemon's own user may change, and the
last places are theirs.
"""

from __future__ import annotations

import os
import socket
import struct
from itertools import islice
from typing import TYPE_CHECKING, Any, Never, Protocol

import msgspec
import trio

from camrelay.daemon.answers import LONGEST_REQUEST, VERSION, Request, Status, Swept
from camrelay.daemon.listening import listen
from camrelay.errors import CamrelayError, UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence

    from camrelay.relay.snapshot import UserRow

    # Shows the client something of the work under way: one event line.
    Tell = Callable[[object], Awaitable[None]]
    # What another part of the daemon answers: may only root and our own user ask, and who answers.
    Requests = Mapping[str, tuple[bool, Callable[[Request, Tell], Awaitable[object]]]]

__all__ = ["Answers", "Control", "Pass", "listen"]

MOST_CLIENTS = 16
KEPT_CLIENTS = 4  # of these places: who may only look locks nobody out who came to mend
FIRST_LINE_WITHIN = 10.0  # seconds
WRITE_WITHIN = 10.0  # seconds for one piece of an answer: a stopped reader is let go
EVENTS_BEHIND = 1024  # lines a watcher may lag behind
ROWS_AT_ONCE = 200  # made and encoded between two checkpoints: some 5 ms
PROGRESS_EVERY = 0.5
SIGN_OF_LIFE = 3.0  # seconds: a client gives up after 10 without a line
ANSWERS_WITHIN = 15.0  # seconds after the last question; a segment may be gone from the configuration by then

encode = msgspec.json.encode
_read_request = msgspec.json.Decoder(Request).decode


class Pass:
    """A pass over remote segments that a client waits for; who hears of a segment's end calls ``done``."""

    def __init__(self, total: int, segments: Iterable[str]) -> None:
        self.total = total
        self.segments = set(segments)  # those still being asked
        self.answered = 0

    def done(self, segment: str, answered: int) -> None:
        """This segment has been asked, and so many of it answered."""
        if segment in self.segments:
            self.segments.discard(segment)
            self.answered += answered


class Answers(Protocol):
    """What the service knows; every call returns at once."""

    def status(self) -> Status:
        """Everything there is to see."""

    def users(self) -> Iterable[UserRow]:
        """The roster; rows may be made as they are taken."""

    def sweep(self, segments: Sequence[str]) -> Pass:
        """Begin a pass over these segments (none: all). UsageError for an unknown one."""

    def sweeping(self) -> int:
        """Addresses left in all passes."""

    def reload(self) -> None:
        """Read the configuration again. ConfigError if it cannot be used."""


class Control:
    """Serves the clients of one listening socket. ``may_change``: user ids that may do more than look."""

    def __init__(
        self, answers: Answers, may_change: Container[int] | None = None, more: Requests | None = None
    ) -> None:
        self.counters: dict[str, int] = {}
        self._answers = answers
        self._may_change = frozenset({0, os.geteuid()}) if may_change is None else may_change
        self._clients = 0
        self._watchers: set[trio.MemorySendChannel[bytes]] = set()
        self._table: dict[str, Callable[[trio.SocketStream, Request], Awaitable[None]]] = {
            "status": self._status,
            "users": self._users,
            "sweep": self._sweep,
            "reload": self._reload,
        }
        self._more = more or {}
        self._table.update(dict.fromkeys(self._more, self._ask))

    async def serve(self, listener: socket.socket) -> None:
        """Answer until cancelled."""
        await trio.serve_listeners(
            self._client, [trio.SocketListener(trio.socket.from_stdlib_socket(listener))]
        )

    @property
    def watched(self) -> bool:
        """Is anybody watching? If not, nothing needs to be published."""
        return bool(self._watchers)

    def publish(self, event: dict[str, Any]) -> None:
        """Tell all watchers. One who lags too far behind is dropped."""
        line = _line({"v": VERSION, "event": event})
        for watcher in list(self._watchers):
            try:
                watcher.send_nowait(line)
            except trio.WouldBlock:
                self._count("control clients dropped: too slow")
                self._watchers.discard(watcher)
                watcher.close()

    def _count(self, cause: str) -> None:
        self.counters[cause] = self.counters.get(cause, 0) + 1

    async def _client(self, stream: trio.SocketStream) -> None:
        _, uid, _ = struct.unpack("3i", stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        trusted = uid in self._may_change
        taken = self._clients < MOST_CLIENTS - (0 if trusted else KEPT_CLIENTS)
        self._clients += taken
        try:
            async with stream:
                if taken:
                    await self._converse(stream, trusted)
                else:
                    self._count("control clients refused: too many at once")
                    await _refuse(stream, f"busy: {self._clients} others are asking: try again")
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            self._count("control clients gone before their answer")
        except* trio.TooSlowError:
            self._count("control clients dropped: too slow")
        finally:
            self._clients -= taken

    async def _converse(self, stream: trio.SocketStream, trusted: bool) -> None:
        request = await self._request(stream)
        if request is None:
            return
        request = msgspec.structs.replace(request, trusted=trusted)  # whatever it says of itself
        try:
            await self._table[request.do](stream, request)
        except CamrelayError as error:
            await _refuse(stream, str(error), error.exit_code)

    async def _request(self, stream: trio.SocketStream) -> Request | None:
        """The request, or None after saying why there is none."""
        line = bytearray()
        with trio.move_on_after(FIRST_LINE_WITHIN):
            while b"\n" not in line and len(line) <= LONGEST_REQUEST:
                got = await stream.receive_some(LONGEST_REQUEST)
                if not got:
                    break
                line += got
            if not line:  # a look whether somebody listens
                return None
        text, end, _ = line.partition(b"\n")
        try:
            if not end or len(text) > LONGEST_REQUEST:
                raise UsageError(
                    f"expected one line of JSON, at most {LONGEST_REQUEST >> 10} KiB, within 10 s"
                )
            request = _read_request(text)
            if request.v != VERSION:
                raise UsageError(
                    f"version {request.v} asked, version {VERSION} spoken: use the camrelay of the daemon"
                )
            if request.do not in self._table:
                raise UsageError(f"unknown request {request.do[:40]!r}: known are {', '.join(self._table)}")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, UsageError) as error:
            self._count("control requests malformed")
            await _refuse(stream, str(error), UsageError.exit_code)
            return None
        return request

    def _check_allowed(self, request: Request) -> None:
        if not request.trusted:
            self._count("control requests not allowed")
            raise CamrelayError(f"not allowed: {request.do} is for root and the daemon's own user: use sudo")

    async def _status(self, stream: trio.SocketStream, request: Request) -> None:
        await _send(stream, _line({"v": VERSION, "ok": True, "result": self._answers.status()}))

    async def _users(self, stream: trio.SocketStream, request: Request) -> None:
        send, receive = trio.open_memory_channel[bytes](EVENTS_BEHIND)
        if request.watch:
            self._watchers.add(send)  # before the roster is taken: no change falls between
        try:
            rows = iter(self._answers.users())
            before = b'{"v":1,"ok":true,"result":['
            while piece := encode(list(islice(rows, ROWS_AT_ONCE)))[1:-1]:
                await _send(stream, before + piece)
                before = b","
            await _send(stream, (b"" if before == b"," else before) + b"]}\n")
            if request.watch:
                await self._watch(stream, receive)
        finally:
            self._watchers.discard(send)
            send.close()

    async def _watch(self, stream: trio.SocketStream, events: trio.MemoryReceiveChannel[bytes]) -> None:
        """Pass events on until the client hangs up."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_until_closed, stream, nursery.cancel_scope)
            async for line in events:
                await _send(stream, line)
            nursery.cancel_scope.cancel()

    async def _sweep(self, stream: trio.SocketStream, request: Request) -> None:
        self._check_allowed(request)
        began = trio.current_time()
        asked = self._answers.sweep(request.segments)
        patience = ANSWERS_WITHIN
        while asked.segments and patience > 0:
            await trio.sleep(PROGRESS_EVERY)
            left = min(self._answers.sweeping(), asked.total) if asked.segments else 0
            patience -= 0 if left else PROGRESS_EVERY
            progress = {"left": left, "total": asked.total, "answered": asked.answered}
            await _send(stream, _line({"v": VERSION, "event": progress}))
        swept = Swept(asked.total, asked.answered, trio.current_time() - began)
        await _send(stream, _line({"v": VERSION, "ok": True, "result": swept}))

    async def _reload(self, stream: trio.SocketStream, request: Request) -> None:
        self._check_allowed(request)
        self._answers.reload()
        await _send(stream, _line({"v": VERSION, "ok": True, "result": {}}))

    async def _ask(self, stream: trio.SocketStream, request: Request) -> None:
        """One of those that came with ``more``; while it works the client is shown that we live.

        Who only looks (or watches, as root) and hangs up is not worked for any longer; what somebody began to change
        is brought to its end.
        """
        changes, ask = self._more[request.do]
        if changes:
            self._check_allowed(request)
        outcome: object = None
        outlet = _Outlet(stream)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outlet.show_life)
            if request.watch or not changes:
                nursery.start_soon(_until_closed, stream, nursery.cancel_scope)
            try:
                outcome = await ask(request, outlet.tell)
            except CamrelayError as error:
                outcome = error
            nursery.cancel_scope.cancel()
        if isinstance(outcome, CamrelayError):
            raise outcome
        try:
            line = _line({"v": VERSION, "ok": True, "result": outcome})
        except (
            TypeError,
            ValueError,
            RecursionError,
        ) as error:  # a lone surrogate, or what a peer nested too deep
            raise CamrelayError(f"a bug of camrelay spoilt this answer ({type(error).__name__})") from None
        await _send(stream, line)


class _Outlet:
    """Event lines to one client, one after the other."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._turn = trio.Lock()

    async def tell(self, event: object) -> None:
        """One line."""
        async with self._turn:
            with trio.CancelScope(shield=True):  # half a line would spoil the answer
                await _send(self._stream, _line({"v": VERSION, "event": event}))

    async def show_life(self) -> Never:
        """An empty one every few seconds."""
        while True:
            await trio.sleep(SIGN_OF_LIFE)
            await self.tell({})


async def _until_closed(stream: trio.SocketStream, scope: trio.CancelScope) -> None:
    while await stream.receive_some(4096):
        pass
    scope.cancel()


async def _refuse(stream: trio.SocketStream, error: str, code: int = 1) -> None:
    line = " ".join(error.split("\n"))
    await _send(stream, _line({"v": VERSION, "ok": False, "error": line, "exit": code}))


async def _send(stream: trio.SocketStream, data: bytes) -> None:
    with trio.fail_after(WRITE_WITHIN):
        await stream.send_all(data)


def _line(value: object) -> bytes:
    return encode(value) + b"\n"
