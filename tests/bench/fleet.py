"""What it costs that two relays know the same: one process's 100,000 users in another one's memory, over TLS.

As in the daemon: its keys, sessions and messages, an empty copy that answers a digest with its marks, one bucket at a
time. Loopback has no line between the two, so what is measured is the work. Bytes are those that TCP carries.

    python -m tests.bench.fleet CERTIFICATE     the receiving side, started by the other one
"""

from __future__ import annotations

import gc
import json
import random
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import trio

from camrelay.daemon.peerkey import PeerKey, peer_key_of
from camrelay.daemon.service import GC
from camrelay.daemon.session import PING_EVERY, Line, Session, frame
from camrelay.daemon.stalls import Stalls
from camrelay.daemon.wire import Hello, Ping
from camrelay.relay.copy import Copy, row_key
from camrelay.relay.messages import Changes, Digest, Marks, Rows
from tests.bench.daemon import ROOT, environment
from tests.bench.figures import Figure
from tests.bench.office import users

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from camrelay.daemon.session import Message
    from camrelay.daemon.wire import LinkMessage
    from camrelay.relay.messages import PeerMessage, Row

PART = "fleet"
USERS = 100_000
CHANGES = 200
WITHIN = 60.0  # seconds
HELLO = Hello(1, "bench", "camrelay", 1, 1, 0)
IDLE_DIGESTS = 0.5  # per hour and direction
HEADERS = 52  # bytes of IP and TCP (with its time stamps) around a segment, or an acknowledgement


def measure(number: int, rounds: int, say: Callable[[str], None]) -> tuple[list[Figure], dict[str, Any]]:
    """The figures, and everything for the JSON."""
    say(f"fleet: {number:,} users, {rounds} times over TLS on loopback")
    rows = list(users(number))
    found = [_round(rows) for _ in range(rounds)]
    return _figures(found, number), {"users": number, "rounds": found}


def _figures(found: list[dict[str, Any]], number: int) -> list[Figure]:
    seconds = [one["seconds"] for one in found]
    first = found[0]
    stall = max(max(one["stall"], one["peer"]["stall"]) for one in found)
    ping, digest = first["ping"], first["digest"]
    idle = 3600 / PING_EVERY * ping + IDLE_DIGESTS * digest
    packets = 3600 / PING_EVERY * 2 + IDLE_DIGESTS * 2  # each is acknowledged
    cpu = " and ".join(
        f"{min(one['cpu'] for one in side):.2f}" for side in (found, [f["peer"] for f in found])
    )
    how = f"digest to digest; {min(seconds):.2f} to {max(seconds):.2f} s in {len(found)} rounds; CPU {cpu} s"
    return [
        Figure(PART, f"{number:,} users synced", median(seconds), "s", 1.0, None, how),
        Figure(PART, "per user on the wire", first["bytes"] / number, "bytes", 32, None, "TLS included"),
        Figure(PART, "longest loop stall", stall * 1e3, "ms", 50, 10, "of both sides"),
        Figure(PART, "the copy made, before", median(one["made"] for one in found), "s", note="user by user"),
        Figure(
            PART, "memory of a copy, per user", first["peer"]["memory"] / number, "bytes", note="receiver"
        ),
        Figure(PART, "one user changes", first["change"], "bytes", note=f"TLS included, mean of {CHANGES}"),
        Figure(PART, "one user leaves", first["leaves"], "bytes", note="the same"),
        Figure(PART, "digest, when all is equal", digest, "bytes", note="every two hours"),
        Figure(
            PART, "idle, per hour and direction", idle / 1e3, "kB", note=f"ping: {ping:.0f} bytes each 10 s"
        ),
        Figure(PART, "the same with TCP and IP", (idle + packets * HEADERS) / 1e3, "kB", note="acknowledged"),
    ]


def _round(rows: list[Row]) -> dict[str, Any]:
    """One sync, then some changes."""
    key = PeerKey.create()
    began = time.perf_counter()
    copy = Copy()
    for row in rows:
        copy.put(row)
    made = time.perf_counter() - began
    command = [sys.executable, "-m", "tests.bench.fleet", key.cert.hex()]
    with (
        subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True) as receiver,
        _as_the_daemon() as stalls,
    ):
        assert receiver.stdout is not None
        try:
            there = json.loads(receiver.stdout.readline())
            found = trio.run(_tell, copy, key, there, instruments=[stalls])
            found["peer"] = json.loads(receiver.stdout.readline())
        finally:
            receiver.kill()
    return {"made": made, "stall": stalls.longest, **found}


@contextmanager
def _as_the_daemon() -> Iterator[Stalls]:
    """Collections are as rare as there."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC)
    try:
        yield Stalls()
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


class Counted(trio.abc.Stream):
    """A TCP stream that counts what is sent."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.sent = 0

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += len(data)
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def receive_some(self, most: int | None = None) -> bytes:
        return bytes(await self.stream.receive_some(most))

    async def aclose(self) -> None:
        await self.stream.aclose()


class Side:
    """Owner of a session, whichever side it is."""

    def __init__(self, copy: Copy) -> None:
        self.copy = copy
        self.session: Session | None = None
        self.ended = trio.Event()

    def heard(self, session: Session, message: Message) -> None:
        """The one side tells what the other one lacks."""
        raise NotImplementedError

    def emptied(self, session: Session) -> None:
        """Nothing waits."""

    def over(self, session: Session, cause: str, text: str = "", *words: LinkMessage) -> None:
        """As the daemon does."""
        if cause not in ("closed", "broken"):
            raise RuntimeError(f"{cause}: {text}")
        self.ended.set()
        session.close()


class Teller(Side):
    """Has users."""

    def __init__(self, copy: Copy) -> None:
        super().__init__(copy)
        self.owed: list[int] = []
        self.told = False
        self.equal = trio.Event()
        self.empty = trio.Event()

    def heard(self, session: Session, message: Message) -> None:
        """What the copy lacks, or that it lacks nothing."""
        if isinstance(message, Marks):
            self.owed = self.copy.differing(message)[::-1]
            self.emptied(session)
        elif message == self.copy.digest():
            self.equal.set()
        else:
            raise RuntimeError(f"expected {self.copy.digest()}, found {message}")

    def emptied(self, session: Session) -> None:
        """The next piece of what is owed."""
        if self.owed:
            n = self.owed.pop()
            session.put(frame(Rows(n, self.copy.bucket(n))))
            if not self.owed:
                session.put(frame(self.copy.digest()))
        else:
            self.empty.set()


class Hearer(Side):
    """Has a copy."""

    cpu = 0.0  # seconds that the process had used when the last rows were taken in

    def heard(self, session: Session, message: Message) -> None:
        """Take it in. A digest that is equal is repeated, any other one answered with marks."""
        if isinstance(message, Rows):
            self.copy.replace(message.bucket, message.rows)
            self.cpu = time.process_time()
        elif isinstance(message, Digest):
            ours = self.copy.digest()
            session.put(frame(ours if ours == message else self.copy.marks()))


async def _tell(copy: Copy, key: PeerKey, there: dict[str, Any]) -> dict[str, Any]:
    """The sending side."""
    counted = Counted(await trio.open_tcp_stream("127.0.0.1", there["port"]))
    stream = trio.SSLStream(counted, key.client_context())
    await stream.do_handshake()
    if peer_key_of(stream) != there["key"]:
        raise RuntimeError("somebody else answers")
    side = Teller(copy)
    session = Session(Line(stream, "127.0.0.1", there["key"]), "b", HELLO, 1, True, side)

    async def costs(messages: Iterable[PeerMessage | LinkMessage]) -> float:
        """Bytes of each of these on the wire, sent one by one."""
        before, number = counted.sent, 0
        for message in messages:
            number += 1
            side.empty = trio.Event()
            session.put(frame(message))
            await side.empty.wait()
        return (counted.sent - before) / number

    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.run)
        with trio.fail_after(WITHIN):
            before, began, used = counted.sent, time.perf_counter(), time.process_time()
            session.put(frame(copy.digest()))
            await side.equal.wait()
            found: dict[str, Any] = {
                "seconds": time.perf_counter() - began,
                "cpu": time.process_time() - used,
                "bytes": counted.sent - before,
            }
            rows = random.Random(1).sample(list(copy.rows.values()), CHANGES)
            renamed = [row._replace(nick=f"{row.nick} 休暇中", number=row.number + 9) for row in rows]
            found["change"] = await costs(Changes((row,), ()) for row in renamed)
            found["leaves"] = await costs(Changes((), (row_key(row),)) for row in rows)
            found["ping"] = await costs([Ping()])
            found["digest"] = await costs([copy.digest()])
        session.close()
    return found


async def _hear(cert: bytes) -> None:
    """The receiving side, on standard output: where, and at the end what it cost."""
    key = PeerKey.create()
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    side = Hearer(Copy())
    stalls = Stalls()
    memory = _memory()
    with _as_the_daemon():
        port = listener.socket.getsockname()[1]
        print(json.dumps({"port": port, "key": key.fingerprint}), flush=True)
        tcp = await listener.accept()
        stream = trio.SSLStream(tcp, key.server_context([cert]), server_side=True)
        await stream.do_handshake()
        used = time.process_time()
        trio.lowlevel.add_instrument(stalls)
        await Session(Line(stream, "127.0.0.1"), "a", HELLO, 1, False, side).run()
    result = {"users": len(side.copy), "stall": stalls.longest, "memory": _memory() - memory}
    print(json.dumps({"cpu": side.cpu - used, **result}), flush=True)


def _memory() -> int:
    """Resident bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


if __name__ == "__main__":
    trio.run(partial(_hear, bytes.fromhex(sys.argv[1])))
