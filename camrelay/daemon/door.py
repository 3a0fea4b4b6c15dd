"""TCP port 2425: relays come in here, and IP Messenger clients that take the relay for one of them.

They are told apart by the first byte, which is only looked at. Rules kept here: who has not proven to be a peer gets
ten seconds, one of a few places, and is never waited for by anybody else.
"""

from __future__ import annotations

import os
import socket
import ssl
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, NamedTuple, Never

import trio

from camrelay.daemon.dialling import NO_FLEET, NO_ROOM
from camrelay.daemon.peerkey import peer_key_of
from camrelay.daemon.session import Line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from camrelay.daemon.links import Links
    from camrelay.daemon.log import Log

TLS: Final = b"\x16"  # a handshake record (RFC 8446, 5.1); an IPMSG packet begins with a digit or "IP2:"
MOST_OF_ONE: Final = 4  # connections of one address that are not sessions yet
MOST: Final = 64  # and of all
MOST_FAILED: Final = (
    20  # handshakes of one address in ``Times.failed`` seconds; a fleet member fails a few a minute
)
MOST_FAILING: Final = 1_024  # addresses for which that is counted
LONGEST_PACKET: Final = 65_536  # of a file request, and of a ClientHello that is not answered
PART_WITHIN: Final = 2.0  # seconds for who was refused to read that


class Times(NamedTuple):
    """In seconds."""

    first_byte: float = 10.0
    handshake: float = 10.0
    try_again: float = 60.0  # while the port is somebody else's
    failed: float = 10.0  # for which failed handshakes of an address are counted together


TIMES: Final = Times()


class Door:
    """See above. ``port`` 0 is for tests; ``listening`` says which one it became, None while it is busy."""

    def __init__(
        self, port: int, links: Links, log: Log, bind: str = "0.0.0.0", times: Times = TIMES
    ) -> None:
        self.counters: dict[str, int] = {}
        self.problem = ""  # why nobody can come in
        self.listening: int | None = None
        self._port = port
        self._bind = bind
        self._times = times
        self._links = links
        self._log = log
        self._guests: dict[str, int] = {}  # by address: connections that are not sessions yet
        self._failed: dict[str, tuple[float, int]] = {}  # by address, oldest first: since when, handshakes
        self._refused = 0  # connections that are being told so

    async def run(self) -> Never:
        """Take connections until cancelled."""
        while True:
            listener = await self._open()
            if listener is not None:
                self.listening = listener.socket.getsockname()[1]
                try:
                    await trio.serve_listeners(self._guest, [listener])
                finally:
                    self.listening = None
            await trio.sleep(self._times.try_again)

    async def _open(self) -> trio.SocketListener | None:
        sock = trio.socket.socket()
        listener = None
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            await sock.bind((self._bind, self._port))
            sock.listen(MOST)
            listener = trio.SocketListener(sock)
        except OSError as error:
            self._complain(error)
        finally:
            if listener is None:
                sock.close()
        if listener and self.problem:
            self._log.info("the door for other relays is open", port=self._port)
            self.problem = ""
        return listener

    def _complain(self, error: OSError) -> None:
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        self.problem = f"TCP port {self._port}: {reason}: other relays cannot connect to this one"
        self._log.warning(
            "no door for other relays", port=self._port, cause=reason,
            remedy="stop what listens there, or set [peers] port here",
        )  # fmt: skip

    def _count(self, cause: str) -> None:
        self.counters[cause] = self.counters.get(cause, 0) + 1

    # -- one connection -------------------------------------------------------------------------------------

    async def _guest(self, stream: trio.SocketStream) -> None:
        """Whatever comes of it, the connection is closed in the end, and nothing is raised for what it does."""
        try:
            try:
                address, port = stream.socket.getpeername()
            except OSError:  # it has gone again
                return
            if self._is_full(address):
                if self._refused < MOST:
                    await self._refuse(stream, NO_ROOM)
                return
            with self._place(address):
                line = await self._find_out(stream, f"{address}:{port}")
                session = await self._links.admit(line) if line else None
            if session is not None:
                await session.run()
        finally:
            await trio.aclose_forcefully(stream)

    def _is_full(self, address: str) -> bool:
        if self._guests.get(address, 0) >= MOST_OF_ONE:
            self._count("connections refused: too many of one address")
        elif sum(self._guests.values()) >= MOST:
            self._count("connections refused: too many")
        else:
            return False
        return True

    @contextmanager
    def _place(self, address: str) -> Iterator[None]:
        """Until it is known who that is, it takes one of few places."""
        self._guests[address] = self._guests.get(address, 0) + 1
        try:
            yield
        finally:
            self._guests[address] -= 1
            if not self._guests[address]:
                del self._guests[address]

    async def _find_out(self, stream: trio.SocketStream, where: str) -> Line | None:
        """A relay that has proven a key we know; everybody else is dealt with here."""
        first = b""
        with trio.move_on_after(self._times.first_byte), suppress(OSError):
            first = await stream.socket.recv(1, socket.MSG_PEEK)
        if not first:
            self._count("connections closed: nothing said in time")
        elif first != TLS:
            self._count("connections closed: file requests to the relay")
            await self._refuse(stream, b"")
        elif self._links.context is None:
            self._count("connections closed: a relay, and we are in no fleet")
            await self._refuse(stream, NO_FLEET)
        elif self._fails_too_often(where):
            self._count("connections refused: too many of one address")
            await self._refuse(stream, NO_ROOM)
        else:
            return await self._handshake(stream, self._links.context, where)
        return None

    async def _handshake(self, stream: trio.SocketStream, context: ssl.SSLContext, where: str) -> Line | None:
        tls = trio.SSLStream(stream, context, server_side=True)
        with trio.move_on_after(self._times.handshake):
            try:
                await tls.do_handshake()
                return Line(tls, where, peer_key_of(tls), stream.socket)
            except trio.BrokenResourceError as error:
                if isinstance(error.__cause__, ssl.SSLCertVerificationError):
                    self._note_failure(where)
                    self._links.refused(where, "unknown key")
                    await self._refuse(stream, b"")  # the other side is to see an end, not a reset
                    return None
        self._note_failure(where)
        self._count("connections closed: no handshake")
        return None

    def _fails_too_often(self, where: str) -> bool:
        since, times = self._failed.get(where.rpartition(":")[0], (0.0, 0))
        return times >= MOST_FAILED and trio.current_time() < since + self._times.failed

    def _note_failure(self, where: str) -> None:
        """A handshake costs a thousand times what a refusal does."""
        address, now = where.rpartition(":")[0], trio.current_time()
        since, times = self._failed.get(address, (now, 0))
        if now >= since + self._times.failed:
            del self._failed[address]
            since, times = now, 0
        elif not times and len(self._failed) >= MOST_FAILING:
            del self._failed[next(iter(self._failed))]
        self._failed[address] = since, times + 1

    async def _refuse(self, stream: trio.SocketStream, answer: bytes) -> None:
        """Take what it sends first, answer, and wait a little until it has read that."""
        self._refused += 1
        try:
            with trio.move_on_after(PART_WITHIN):
                await stream.receive_some(LONGEST_PACKET)
                if answer:
                    await stream.send_all(answer)
                await stream.send_eof()
                while await stream.receive_some(LONGEST_PACKET):
                    pass
        except trio.BrokenResourceError:
            pass
        finally:
            self._refused -= 1
