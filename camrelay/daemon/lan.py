"""The one UDP socket on the LAN: batches of datagrams in, a bounded queue of datagrams out.

The rule kept here: nothing that a stranger, a dead link or one bad destination does ends the daemon or holds
up the others. Every datagram that gets lost on our side is counted under its cause.
"""

from __future__ import annotations

import errno
import os
import time
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Final, Protocol, Self

import trio

from camrelay.daemon import lansocket
from camrelay.daemon.mmsg import OURS, Receiver, Sender
from camrelay.ipmsg.command import PORT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from socket import socket
    from typing import Never

    from camrelay.relay.outputs import Datagram, Transmit

# One batch: long enough to spread the cost of waking up, short enough (2 to 6 ms) that nothing else stalls.
BATCH: Final = 256
BATCH_SECONDS: Final = 0.005
SEND_AT_ONCE: Final = 1024  # some 6 ms of sending; the rest is left to drain()
QUEUE: Final = 16384  # datagrams: two full rosters of 500 users for 16 joining clients
QUEUE_BYTES: Final = 16 << 20
BACKOFF_FIRST: Final = 0.005
BACKOFF_LONGEST: Final = 0.2


class LanLike(Protocol):
    """What the service needs of the LAN; ``Lan`` is the real one, a virtual one stands in for it in tests."""

    @property
    def backlog(self) -> int:
        """Datagrams waiting to be sent."""

    @property
    def limit(self) -> int:
        """How many may wait; what comes on top is dropped and counted."""

    @property
    def can_speak(self) -> bool:
        """May datagrams carry a source address that is not ours?"""

    @property
    def counters(self) -> Mapping[str, int]:
        """Datagrams by fate; short phrases, only those that happened."""

    @property
    def warnings(self) -> list[str]:
        """What is not as good as it could be, one line each with the remedy."""

    @property
    def receive_buffer(self) -> int:
        """Bytes that the kernel granted."""

    @property
    def send_buffer(self) -> int:
        """Bytes that the kernel granted."""

    async def receive(self) -> list[Datagram]:
        """Wait until something is there, then one capped batch (may be empty). Always a checkpoint."""

    def send(self, transmits: Iterable[Transmit]) -> None:
        """Send what goes at once, queue the rest. Never waits, never raises for what the network does."""

    async def drain(self) -> Never:
        """The task that sends the queue."""

    def set_broadcasts(self, addresses: Iterable[str]) -> None:
        """The broadcast addresses of our segments, after every change of them (255.255.255.255 is known)."""

    def close(self) -> None:
        """Give the socket back. Whoever uses it then or later gets trio.ClosedResourceError."""


class Lan:
    """See ``LanLike``. Made by ``Lan.open``; a receiver and a sender of one's own are for tests."""

    limit: Final = QUEUE

    def __init__(self, prepared: lansocket.Prepared, receiver: Receiver, sender: Sender) -> None:
        self.port = prepared.port
        self.can_speak = prepared.can_speak
        self.warnings = prepared.warnings
        self.receive_buffer = prepared.receive_buffer
        self.send_buffer = prepared.send_buffer
        self._socket: socket = prepared.socket
        self._receiver = receiver
        self._sender = sender
        self._counts: dict[str, int] = {}
        self._more = False  # the last batch was cut off: do not wait, look again
        self._queue: deque[Transmit] = deque()
        self._queued_bytes = 0
        self._obstacle = 0  # errno of what made us stop sending
        self._waiting = trio.Event()  # set while something is queued
        self._drops_before = lansocket.drops(prepared.socket)
        self._overflow = 0

    @classmethod
    def open(cls, port: int = PORT, bind: str = "0.0.0.0", fd: int | None = None) -> Self:
        """A socket of our own, or the one that systemd hands over as ``fd``. Raises StartError."""
        prepared = lansocket.adopt(fd, port) if fd is not None else lansocket.create(port, bind)
        number = prepared.socket.fileno()
        return cls(prepared, Receiver(number), Sender(number, prepared.ttl, prepared.address, prepared.port))

    @property
    def backlog(self) -> int:
        return len(self._queue)

    @property
    def counters(self) -> dict[str, int]:
        counts = self._counts | self._sender.failed
        if self._sender.sent:
            counts["datagrams sent"] = self._sender.sent
        lost = self._lost_in_kernel()
        if lost:
            counts["receive buffer overflowed"] = lost
        return counts

    def set_broadcasts(self, addresses: Iterable[str]) -> None:
        known = {"255.255.255.255", *addresses}
        self._receiver.set_broadcasts(known)
        self._sender.set_broadcasts(known)

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            if trio.lowlevel.in_trio_run():
                trio.lowlevel.notify_closing(self._socket)
            self._socket.close()

    # Receiving

    async def receive(self) -> list[Datagram]:
        self._check_open()
        if self._more:
            await trio.lowlevel.checkpoint()
        else:
            await trio.lowlevel.wait_readable(self._socket)
        batch: list[Datagram] = []
        self._more = True
        until = time.monotonic() + BATCH_SECONDS
        while len(batch) < BATCH and time.monotonic() < until:
            got, error = self._receiver.receive()
            batch += got
            if error:
                self._receive_error(error)
            if len(got) < self._receiver.batch:
                self._more = error not in (0, errno.EAGAIN)
                break
        if batch:
            self._count("datagrams received", len(batch))
        return batch

    def _receive_error(self, error: int) -> None:
        if error in OURS:
            raise OSError(error, os.strerror(error))
        if error not in (errno.EAGAIN, errno.EINTR):
            self._count(f"receive error: {os.strerror(error).lower()}")

    def _lost_in_kernel(self) -> int:
        """Datagrams that found the receive buffer full.

        The kernel counts our own broadcasts, which the socket filter throws away, in the same number.
        """
        if self._socket.fileno() >= 0:
            dropped = lansocket.drops(self._socket) - self._drops_before
            self._overflow = max(self._overflow, dropped - self._sender.own_broadcasts)
        return self._overflow

    # Sending

    def send(self, transmits: Iterable[Transmit]) -> None:
        rest = iter(transmits)
        if not self._queue:
            left = SEND_AT_ONCE
            while left > 0 and (batch := list(islice(rest, self._sender.batch))):
                left -= len(batch)
                done = self._send_batch(batch)
                if done < len(batch):
                    self._enqueue(batch[done:])
                    break
        self._enqueue(rest)

    async def drain(self) -> Never:
        pause = BACKOFF_FIRST
        while True:
            if not self._queue:
                pause = BACKOFF_FIRST
                await self._waiting.wait()
            elif self._obstacle == 0:
                await trio.lowlevel.checkpoint()
            elif self._obstacle == errno.EAGAIN:
                await trio.lowlevel.wait_writable(self._socket)
            else:
                await trio.sleep(pause)
                pause = min(2 * pause, BACKOFF_LONGEST)
            if self._send_queued():
                pause = BACKOFF_FIRST

    def _enqueue(self, transmits: Iterable[Transmit]) -> None:
        for transmit in transmits:
            size = len(transmit.data)
            if len(self._queue) >= self.limit or self._queued_bytes + size > QUEUE_BYTES:
                self._count("send queue full")
                continue
            self._queue.append(transmit)
            self._queued_bytes += size
        if self._queue:
            self._waiting.set()

    def _send_queued(self) -> int:
        """Send up to one batch of the queue. Returns how many left it."""
        gone = 0
        self._obstacle = 0
        while self._queue and gone < BATCH and not self._obstacle:
            done = self._send_batch(list(islice(self._queue, self._sender.batch)))
            for _ in range(done):
                self._queued_bytes -= len(self._queue.popleft().data)
            gone += done
        if not self._queue and self._waiting.is_set():
            self._waiting = trio.Event()
        return gone

    def _send_batch(self, batch: list[Transmit]) -> int:
        """Returns how many are dealt with, sent or counted as failed: fewer than all means wait."""
        self._check_open()
        done, self._obstacle = self._sender.send(batch)
        return done

    def _check_open(self) -> None:
        """The descriptor's number may be somebody else's by now."""
        if self._socket.fileno() < 0:
            raise trio.ClosedResourceError

    def _count(self, cause: str, number: int = 1) -> None:
        self._counts[cause] = self._counts.get(cause, 0) + number
