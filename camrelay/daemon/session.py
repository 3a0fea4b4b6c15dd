"""Frames over one stream: a ``Line`` says and hears messages one by one, a ``Session`` is two relays talking on it.

A frame is its length (4 bytes, big-endian) and a payload that ``wire`` reads. Rules kept here: frames and the queue are
bounded, nobody is waited for without a limit, and what one peer sends is dealt with in pieces of 5 ms.
"""

from __future__ import annotations

import socket
import struct
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

import trio

from camrelay.daemon import wire
from camrelay.errors import LineEnded, LinkError, MalformedFrame

if TYPE_CHECKING:
    from camrelay.daemon.wire import Hello, LinkMessage
    from camrelay.relay.messages import PeerMessage

    Message = PeerMessage | LinkMessage | wire.Unknown

LENGTH: Final = struct.Struct(">I")
FIRST_FRAME: Final = 64 << 10  # bytes; before the other side is accepted, it needs no more to say who it is
MOST_FRAME: Final = 1 << 20  # one bucket of a million users is 130 KiB
QUEUE_BYTES: Final = 8 << 20  # waiting for one peer: twice the roster of 100,000 users
PIECE: Final = 64 << 10  # handed to TLS at once
RECEIVE: Final = 64 << 10
FIRST_WITHIN: Final = 10.0  # seconds for one message while two sides get to know each other
PING_EVERY: Final = 10.0  # seconds without having sent anything
DEAD_AFTER: Final = 25.0  # seconds without a byte: two pings were lost, and a third one is late
WRITE_WITHIN: Final = 30.0  # seconds for one PIECE: slower than 2 kB/s nothing can be kept equal
PART_WITHIN: Final = 1.0  # seconds for a good-bye
TURN: Final = 0.005  # seconds of work for one peer before the others have their turn
RTT: Final = struct.Struct("@I")  # tcpi_rtt of struct tcp_info, in microseconds
RTT_AT: Final = 68
TCP_RTO_MAX_MS: Final = 44  # linux/tcp.h, since 6.15
LONGEST_RTO: Final = 2_000  # ms; after an outage TCP would wait as long again as it lasted


def frame(message: PeerMessage | LinkMessage) -> bytes:
    """A message as it goes on the line. MalformedFrame if the other side would refuse it."""
    payload = wire.encode(message)
    if len(payload) > MOST_FRAME:
        raise MalformedFrame(f"{type(message).__name__} of {len(payload)} bytes")
    return LENGTH.pack(len(payload)) + payload


class Line:
    """One stream to another relay. ``key``: SHA-256 of the public key it has proven, in hex; "" if none."""

    def __init__(
        self, stream: trio.abc.Stream, address: str, key: str = "", sock: trio.socket.SocketType | None = None
    ) -> None:
        self.stream = stream
        self.address = address  # "10.1.2.3:2425"
        self.key = key
        self.most = FIRST_FRAME
        self.sent = self.received = 0  # bytes of frames
        self._socket = sock
        self._buffer = bytearray()
        self._read = 0  # so much of it is done with
        if sock is not None:
            with suppress(OSError):  # an older kernel waits longer
                sock.setsockopt(socket.IPPROTO_TCP, TCP_RTO_MAX_MS, LONGEST_RTO)

    async def say(self, message: LinkMessage, within: float = FIRST_WITHIN) -> None:
        """Send one message. LinkError if the line ends or does not take it in time."""
        data = frame(message)
        try:
            with trio.fail_after(within):
                await self.stream.send_all(data)
        except trio.TooSlowError:
            raise LinkError(f"took nothing for {within:g} s") from None
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise LineEnded("the connection broke") from None
        self.sent += len(data)

    async def listen(self, within: float = FIRST_WITHIN) -> Message:
        """The next message. LinkError if the line ends or is silent for so long, MalformedFrame for nonsense."""
        try:
            with trio.fail_after(within):
                while (message := self.next()) is None:
                    if not await self.receive():
                        raise LineEnded("closed the connection without a word")
        except trio.TooSlowError:
            raise LinkError(f"said nothing for {within:g} s") from None
        return message

    async def receive(self) -> bool:
        """Wait for bytes; False at the end of the line, orderly or not."""
        try:
            data = await self.stream.receive_some(RECEIVE)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        del self._buffer[: self._read]
        self._read = 0
        self._buffer += data
        self.received += len(data)
        return bool(data)

    def next(self) -> Message | None:
        """The next whole message of what was received. MalformedFrame; then the line is of no use any more."""
        buffer, start = self._buffer, self._read
        if len(buffer) - start >= LENGTH.size:
            (length,) = LENGTH.unpack_from(buffer, start)
            if length > self.most:
                raise MalformedFrame(f"a frame of {length} bytes")
            start += LENGTH.size
            if len(buffer) - start >= length:
                self._read = start + length
                return wire.decode(bytes(memoryview(buffer)[start : start + length]))
        return None

    def forget(self) -> None:
        """What was received is of no interest any more."""
        self._buffer.clear()
        self._read = 0

    async def part(self, *words: LinkMessage) -> None:
        """Close; if there are last words, say them first and let them be read, within PART_WITHIN."""
        try:
            with trio.move_on_after(PART_WITHIN):
                for word in words:
                    await self.stream.send_all(frame(word))
                # Closing now, with bytes of theirs unread, would tear the words from their hands (RST).
                while words and await self.receive():
                    self.forget()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            await self.close()

    async def close(self) -> None:
        """At once."""
        await trio.aclose_forcefully(self.stream)

    @property
    def rtt(self) -> float | None:
        """Seconds to the other side and back, as the kernel measures it."""
        if self._socket is None or self._socket.fileno() < 0:
            return None
        info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, RTT_AT + RTT.size)
        microseconds: int = RTT.unpack_from(info, RTT_AT)[0]
        return microseconds / 1e6


class Owner(Protocol):
    """Whom a session tells what happens to it. Nothing here may wait."""

    def heard(self, session: Session, message: Message) -> None:
        """A message has come."""

    def emptied(self, session: Session) -> None:
        """All that was put has been sent: there is room for more."""

    def over(self, session: Session, cause: str, text: str = "", *words: LinkMessage) -> None:
        """It cannot go on. ``cause``: one of ``CAUSES``; ``text``: more about it; ``close`` it with these words."""


CAUSES: Final[dict[str, str]] = {
    "closed": "peer links ended: closed by the peer",
    "broken": "peer links ended: connection broken",
    "silent": "peer links ended: nothing heard for 25 s",
    "slow": "peer links ended: peer reads too slowly",
    "malformed": "peer links ended: malformed frame",
    "said": "peer links ended: peer said why",
    "replaced": "peer links ended: replaced by a newer one",
    "removed": "peer links ended: removed from the fleet",
}


class Session:
    """Two relays that have said hello. ``dialled``: by us; ``number``: what the dialling side calls it."""

    def __init__(self, line: Line, peer: str, hello: Hello, number: int, dialled: bool, owner: Owner) -> None:
        line.most = MOST_FRAME
        self.line = line
        self.peer = peer
        self.hello = hello  # the peer's
        self.number = number
        self.dialled = dialled
        self.since = trio.current_time()
        self.queued = 0  # bytes
        self.done = trio.Event()  # the line is closed
        self._owner = owner
        self._queue: deque[bytes] = deque()
        self._news = trio.Event()
        self._closed = self._full = False
        self._scope = trio.CancelScope()

    def put(self, data: bytes) -> bool:
        """Queue a frame. False, once: there is no room, the peer is too slow and the session is to be closed."""
        if self._closed or self._full:
            return True
        if self.queued + len(data) > QUEUE_BYTES:
            self._full = True
            return False
        self._queue.append(data)
        self.queued += len(data)
        self._news.set()
        return True

    def close(self, *words: LinkMessage, flush: bool = False) -> None:
        """Hear nothing more; say these last words, after all that is queued if ``flush``. ``run`` ends soon."""
        if self._closed:
            return
        if not flush:
            self._queue.clear()
            self.queued = 0
        for word in words:
            self._queue.append(frame(word))
            self.queued += len(self._queue[-1])
        self._closed = True
        self._scope.deadline = trio.current_time() + PART_WITHIN
        if not self._queue:
            self._scope.cancel()
        self._news.set()

    async def run(self) -> None:
        """Talk until it is over, and close the line. What a peer does never raises anything here."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    await self._read()
                    nursery.cancel_scope.cancel()
        finally:
            self.done.set()
            await self.line.close()

    async def _read(self) -> None:
        with trio.CancelScope(deadline=trio.current_time() + DEAD_AFTER) as life:
            more = True
            while more:
                await self._hear_all()
                more = await self.line.receive()
                life.deadline = trio.current_time() + DEAD_AFTER
        if life.cancelled_caught:
            self._owner.over(self, "silent", "", wire.Bye("nothing was heard from you"))
            await trio.sleep_forever()  # the writer has PART_WITHIN for that
        self._owner.over(self, "closed")

    async def _hear_all(self) -> None:
        """Tell the owner of all whole messages that are there."""
        until = time.perf_counter() + TURN
        try:
            while not self._closed:
                message = self.line.next()
                if message is None:
                    return
                self._hear(message)
                if time.perf_counter() > until:
                    await trio.lowlevel.checkpoint()
                    until = time.perf_counter() + TURN
        except MalformedFrame as error:
            self._owner.over(self, "malformed", str(error), wire.Bye(f"malformed frame: {error}"))
        self.line.forget()

    def _hear(self, message: Message) -> None:
        if isinstance(message, wire.Bye):
            self._owner.over(self, "said", message.reason)
        elif not isinstance(message, wire.Ping):
            self._owner.heard(self, message)

    async def _write(self) -> None:
        while not self._closed or self._queue:
            if not self._queue:
                self._owner.emptied(self)
            if not self._queue:
                await self._wait()
                continue
            piece = self._next_piece()
            with trio.move_on_after(WRITE_WITHIN) as slow:
                try:
                    await self.line.stream.send_all(piece)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    self._owner.over(self, "broken")
                    return
            if slow.cancelled_caught:
                self._owner.over(self, "slow")
                return
            self.line.sent += len(piece)

    async def _wait(self) -> None:
        """Until there is something to write, if need be a sign of life."""
        self._news = trio.Event()
        with trio.move_on_after(PING_EVERY) as quiet:
            await self._news.wait()
        if quiet.cancelled_caught:
            self.put(frame(wire.Ping()))

    def _next_piece(self) -> bytes:
        """Some frames, to be sent as one."""
        frames = [self._queue.popleft()]
        size = len(frames[0])
        while self._queue and size + len(self._queue[0]) <= PIECE:
            frames.append(self._queue.popleft())
            size += len(frames[-1])
        self.queued -= size
        return b"".join(frames)
