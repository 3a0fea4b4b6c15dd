"""The TCP port on the loopback, with real TLS: who gets in, who does not and what it is told, and who is waited for."""

from __future__ import annotations

import io
import random
import socket
import ssl
import struct
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
import trio

from camrelay.daemon import dialling
from camrelay.daemon.door import MOST, MOST_FAILED, MOST_FAILING, MOST_OF_ONE, Door, Times
from camrelay.daemon.links import Links
from camrelay.daemon.log import Log
from camrelay.daemon.peerkey import PeerKey
from camrelay.daemon.session import Line, frame
from camrelay.daemon.wire import Bye, Hello, Member
from camrelay.errors import LineEnded, LinkError, PeerRefused
from camrelay.relay.messages import Digest, Marks
from tests.sites import Notes, Stub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

pytestmark = pytest.mark.real_time

KEYS = {name: PeerKey.create() for name in ("a", "b", "c", "stranger")}
FILE_REQUEST = b"1:100:bob:pc:2097248:1a:0:0"


class Fleet(Stub):
    """A fleet with real keys."""

    def __init__(self, name: str, names: str) -> None:
        super().__init__(name, "")
        self.own = KEYS[name]
        self.me = Member(self.own.id, name, (), (self.own.cert,), 1)
        members = [Member(KEYS[one].id, one, (), (KEYS[one].cert,), 1) for one in names if one != name]
        self.members = {member.id: member for member in members}

    def key(self) -> Any:
        return self.own


class Box:
    """One relay: links and door, on a port of its own."""

    def __init__(
        self, name: str, names: str, addresses: Mapping[str, str] | None = None, times: Times | None = None
    ) -> None:
        self.fleet = Fleet(name, names)
        for other, address in (addresses or {}).items():
            member = self.fleet.members[KEYS[other].id]
            self.fleet.members[KEYS[other].id] = member._replace(addresses=(address,))
        self.relay = Notes(self.fleet)
        self.said = io.StringIO()
        self.log = Log()
        self.log.open(stream=self.said, environment={})
        self.links = Links(
            self.fleet, self.relay, act=self._act, log=self.log, boot=1, chance=random.Random(1),
            reach=dialling.reach, enrol=self._enrol,
        )  # type: ignore[arg-type]  # fmt: skip
        self.door = Door(0, self.links, self.log, "127.0.0.1", times or Times())

    @property
    def where(self) -> str:
        return f"127.0.0.1:{self.door.listening}"

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.links.run)
            nursery.start_soon(self.door.run)

    async def until(self, true: Callable[[Box], object]) -> None:
        with trio.fail_after(5):
            while not true(self):  # noqa: ASYNC110 - told by calls, not by events
                await trio.sleep(0.005)

    async def dial(self, key: str, peer: str = "a") -> Line:
        """A line to this box from outside."""
        accepted = {KEYS[peer].fingerprint}
        return await dialling.reach(self.where, KEYS[key].client_context(), accepted, peer)

    async def connect(self) -> trio.SocketStream:
        assert self.door.listening
        return await trio.open_tcp_stream("127.0.0.1", self.door.listening)

    async def _enrol(self, line: Line) -> None:
        await line.part(Bye("enrolled"))

    def _act(self, outputs: list[Any], now: float) -> None:
        for peer, message in outputs:
            self.links.tell(peer, message)


@asynccontextmanager
async def running(*boxes: Box) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        for box in boxes:
            nursery.start_soon(box.run)
            await box.until(lambda box: box.door.listening)
        yield
        nursery.cancel_scope.cancel()


def address(listening: Any) -> str:
    return f"127.0.0.1:{listening.getsockname()[1]}"


def hello(boot: int = 1, number: int = 7) -> Hello:
    return Hello(1, "b", "camrelay test", boot, number, 0)


# -- the handshake


async def test_two_relays_that_know_each_other_talk() -> None:
    one = Box("a", "ab")
    async with running(one):
        two = Box("b", "ab", {"a": one.where})
        async with running(two):
            await one.until(lambda box: box.relay.names == ["b"])
            await two.until(lambda box: box.relay.names == ["a"])
            one.links.tell(KEYS["b"].id, Digest(1, 2))
            two.links.tell(KEYS["a"].id, Marks(tuple(range(256))))
            await two.until(lambda box: box.relay.heard == [("a", Digest(1, 2))])
            await one.until(lambda box: box.relay.heard == [("b", Marks(tuple(range(256))))])
            (row,) = one.links.rows()
            assert (row.state, row.dialled, row.address[:10]) == ("linked", False, "127.0.0.1:")
            assert row.rtt is not None
            assert 0 < row.rtt < 1
            assert one.door._guests == {}


async def test_an_unknown_key_gets_no_session_and_its_owner_is_told_what_to_do() -> None:
    one = Box("a", "ac")
    async with running(one):
        two = Box("b", "ab", {"a": one.where})
        async with running(two):
            await two.until(lambda box: box.links.rows()[0].problem)
            (row,) = two.links.rows()
            assert row.problem == f"a ({one.where}) does not know our key: ask for `camrelay peer list` there"
            assert row.refused
    assert two.said.getvalue().count("peer not linked") == 1
    assert 'peer refused source=127.0.0.1 cause="unknown key"' in one.said.getvalue()
    assert one.links.counters == {"peer connections refused": 1}
    assert one.relay.times == 0


async def test_a_client_without_any_key_is_refused() -> None:
    one = Box("a", "ab")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with running(one), await one.connect() as stream:
        tls = trio.SSLStream(stream, context)
        await tls.do_handshake()
        with pytest.raises(trio.BrokenResourceError):
            await tls.receive_some()
        await one.until(lambda box: box.door._guests == {})
    assert one.relay.times == 0


async def test_a_wrong_server_key_is_refused_before_anything_is_sent() -> None:
    """Somebody sits at the address of a: it gets the handshake, and not one byte of ours."""
    heard: list[bytes] = []
    done = trio.Event()

    async def pretend(stream: trio.SocketStream) -> None:
        context = KEYS["stranger"].server_context([KEYS["b"].cert])
        tls = trio.SSLStream(stream, context, server_side=True)
        try:
            await tls.do_handshake()
            heard.append(await tls.receive_some())
        except trio.BrokenResourceError:
            pass
        done.set()

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, pretend, [listener])
        where = address(listener.socket)
        with pytest.raises(PeerRefused, match=r"a \(127.0.0.1:\d+\) has another key \([0-9a-f]{16}\.\.\.\)"):
            await dialling.reach(where, KEYS["b"].client_context(), {KEYS["a"].fingerprint}, "a")
        await done.wait()
        nursery.cancel_scope.cancel()
    assert heard in ([], [b""])


async def test_the_key_of_a_removed_relay_ends_in_words() -> None:
    one = Box("a", "ab")
    one.fleet.removed.add(KEYS["b"].id)
    async with running(one):
        del one.fleet.members[KEYS["b"].id]  # its certificate is still a pin
        line = await one.dial("b")
        assert await line.listen() == Bye("removed from the fleet")
        await line.close()


async def test_a_key_that_was_dropped_between_handshake_and_question_ends_in_words() -> None:
    one = Box("a", "ab")
    async with running(one):
        one.fleet.members.clear()
        line = await one.dial("b")
        answer = await line.listen()
        await line.close()
    assert isinstance(answer, Bye)
    assert "not known here" in answer.reason


async def test_recorded_bytes_of_a_handshake_open_nothing() -> None:
    """A man in the middle records what b sends, and sends it again."""
    one = Box("a", "ab")
    recorded: list[bytes] = []

    async def tap(stream: trio.SocketStream) -> None:
        async with await one.connect() as onward, trio.open_nursery() as nursery:

            async def pump(source: trio.SocketStream, to: trio.SocketStream, keep: bool) -> None:
                async for data in source:
                    if keep:
                        recorded.append(data)
                    await to.send_all(data)

            nursery.start_soon(pump, stream, onward, True)
            nursery.start_soon(pump, onward, stream, False)

    async with running(one), trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, tap, [listener])
        where = address(listener.socket)
        line = await dialling.reach(where, KEYS["b"].client_context(), {KEYS["a"].fingerprint}, "a")
        await line.say(hello())
        await one.until(lambda box: box.relay.times == 1)
        nursery.cancel_scope.cancel()
        await line.close()
        await one.until(lambda box: not box.relay.names)
        async with await one.connect() as again:
            await again.send_all(b"".join(recorded))
            with trio.move_on_after(2):
                while await again.receive_some():
                    pass
        await one.until(lambda box: box.door._guests == {})
    assert len(b"".join(recorded)) > 500
    assert one.relay.times == 1


# -- the first byte


async def test_a_file_request_is_taken_and_the_connection_closed_in_order() -> None:
    one = Box("a", "ab")
    async with running(one), await one.connect() as stream:
        await stream.send_all(FILE_REQUEST)
        assert await stream.receive_some() == b""  # an end, no reset
        await stream.aclose()
        await one.until(lambda box: box.door._guests == {})
    assert one.door.counters == {"connections closed: file requests to the relay": 1}


async def test_without_a_fleet_a_relay_is_told_so_and_clients_are_served_as_ever() -> None:
    one = Box("a", "a")
    one.fleet.needed = False
    async with running(one):
        with pytest.raises(PeerRefused, match="is in no fleet"):
            await one.dial("b")
        async with await one.connect() as stream:
            await stream.send_all(FILE_REQUEST)
            assert await stream.receive_some() == b""
    assert one.links.context is None
    assert one.door.counters["connections closed: a relay, and we are in no fleet"] == 1


async def test_who_says_nothing_is_let_go_in_time() -> None:
    one = Box("a", "ab", times=Times(first_byte=0.2))
    async with running(one), await one.connect() as stream:
        with trio.fail_after(2):
            assert await stream.receive_some() == b""
    assert one.door.counters == {"connections closed: nothing said in time": 1}


async def test_a_slow_handshake_is_let_go_in_time() -> None:
    one = Box("a", "ab", times=Times(handshake=0.3))
    async with running(one), await one.connect() as stream:
        begun = trio.current_time()
        with pytest.raises(trio.BrokenResourceError):
            await drip(stream, b"\x16\x03\x01\x01\x00\x01" + bytes(1000))
        assert trio.current_time() - begun < 2
        await one.until(lambda box: box.door._guests == {})
    assert one.door.counters == {"connections closed: no handshake": 1}


async def drip(stream: trio.SocketStream, data: bytes) -> None:
    for byte in data:
        await stream.send_all(bytes([byte]))
        await trio.sleep(0.02)


@pytest.mark.parametrize("seed", range(10))
async def test_random_bytes_are_let_go(seed: int) -> None:
    data = random.Random(seed).randbytes(2000)
    one = Box("a", "ab")
    async with running(one):
        for start in (b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b""):
            async with await one.connect() as stream:
                await stream.send_all(start + data)
                await stream.send_eof()
                with trio.fail_after(5):
                    try:
                        while await stream.receive_some():
                            pass
                    except trio.BrokenResourceError:
                        pass
        await one.until(lambda box: box.door._guests == {})
    assert one.relay.times == 0


async def test_who_hangs_up_hard_is_no_trouble() -> None:
    one = Box("a", "ab")
    async with running(one):
        for data in (b"", b"\x16", FILE_REQUEST):
            stream = await one.connect()
            await stream.send_all(data)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await stream.aclose()
        await one.until(lambda box: box.door._guests == {})
        line = await one.dial("b")
        await line.say(hello())
        assert isinstance(await line.listen(), Hello)
        await line.close()


# -- who has proven a key, and behaves badly


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ((1 << 30).to_bytes(4, "big"), "a frame of 1073741824 bytes"),
        (b"\0\x01\0\x01", "a frame of 65537 bytes"),
        (b"\0\0\0\x04\xff\xff\xff\xff", "4 bytes"),
    ],
)
async def test_a_bad_first_frame_is_answered_in_words(data: bytes, words: str) -> None:
    one = Box("a", "ab")
    async with running(one):
        line = await one.dial("b")
        await line.stream.send_all(data)
        answer = await line.listen()
        await line.close()
    assert isinstance(answer, Bye)
    assert words in answer.reason
    assert one.relay.times == 0


async def test_half_a_frame_and_then_the_end_is_no_trouble() -> None:
    one = Box("a", "ab")
    async with running(one):
        line = await one.dial("b")
        await line.say(hello())
        await one.until(lambda box: box.relay.names == ["b"])
        await line.stream.send_all(frame(Digest(1, 1))[:-1])
        await line.close()
        await one.until(lambda box: box.relay.names == [])
    assert one.relay.heard == []


async def test_a_member_that_sends_random_frames_harms_only_itself() -> None:
    chance = random.Random(1)
    one = Box("a", "abc")
    async with running(one):
        good = await one.dial("c")
        await good.say(hello()._replace(name="c"))
        await one.until(lambda box: box.relay.names == ["c"])
        for number in range(1, 6):
            bad = await one.dial("b")
            await bad.say(hello(number=number))
            payload = chance.randbytes(chance.randrange(1, 3000))
            await bad.stream.send_all(len(payload).to_bytes(4, "big") + payload)
            await bad.part()
        await good.say(Digest(5, 5))  # type: ignore[arg-type]
        await one.until(lambda box: ("c", Digest(5, 5)) in box.relay.heard)
        await good.close()


# -- too many


async def test_one_address_gets_four_places_and_the_fifth_is_told() -> None:
    one = Box("a", "ab")
    async with running(one):
        waiting = [await one.connect() for _ in range(MOST_OF_ONE)]
        await one.until(lambda box: box.door._guests == {"127.0.0.1": MOST_OF_ONE})
        with pytest.raises(LinkError, match="has too many connections at the moment"):
            await one.dial("b")
        await waiting.pop().aclose()
        await one.until(lambda box: box.door._guests == {"127.0.0.1": MOST_OF_ONE - 1})
        line = await one.dial("b")
        await line.say(hello())
        assert isinstance(await line.listen(), Hello)
        await line.close()
        for stream in waiting:
            await stream.aclose()
    assert one.door.counters["connections refused: too many of one address"] == 1


async def test_who_fails_too_often_is_let_in_to_no_handshake_for_a_while() -> None:
    one = Box("a", "ab", times=Times(failed=1.0))
    async with running(one):
        begun = trio.current_time()
        for _ in range(MOST_FAILED):
            async with await one.connect() as stream:
                await stream.send_all(b"\x16\x03\x01\0\x01x")
                await stream.send_eof()
                with suppress(trio.BrokenResourceError):
                    while await stream.receive_some():
                        pass
        with pytest.raises(LinkError, match="has too many connections at the moment"):
            await one.dial("b")
        assert trio.current_time() < begun + 1.0
        async with await one.connect() as stream:
            await stream.send_all(FILE_REQUEST)
            assert await stream.receive_some() == b""
        await trio.sleep_until(begun + 2.1)
        line = await one.dial("b")
        await line.close()
    assert one.door.counters["connections refused: too many of one address"] == 1
    assert one.door.counters["connections closed: no handshake"] == MOST_FAILED
    assert one.door.counters["connections closed: file requests to the relay"] == 1


async def test_failures_are_counted_for_so_many_addresses() -> None:
    one = Box("a", "ab")
    for number in range(MOST_FAILING + 5):
        one.door._note_failure(f"10.0.{number >> 8}.{number & 255}:9")
    assert len(one.door._failed) == MOST_FAILING
    assert "10.0.0.4" not in one.door._failed


async def test_all_strangers_together_get_so_many_places() -> None:
    one = Box("a", "ab")
    async with running(one):
        waiting = []
        for number in range(MOST):
            sock = trio.socket.socket()
            await sock.bind((f"127.0.1.{number // MOST_OF_ONE + 1}", 0))
            await sock.connect(("127.0.0.1", one.door.listening))
            waiting.append(sock)
        await one.until(lambda box: sum(box.door._guests.values()) == MOST)
        with pytest.raises(LinkError, match="has too many connections at the moment"):
            await one.dial("b")
        for sock in waiting:
            sock.close()
        await one.until(lambda box: box.door._guests == {})
    assert one.door.counters["connections refused: too many"] == 1


async def test_sessions_take_no_place_of_strangers() -> None:
    one = Box("a", "ab")
    async with running(one):
        line = await one.dial("b")
        await line.say(hello())
        await one.until(lambda box: box.relay.names == ["b"])
        assert one.door._guests == {}
        await line.close()


async def test_a_peer_that_reads_nothing_delays_no_other() -> None:
    one = Box("a", "abc")
    async with running(one):
        stopped = await one.dial("b")
        await stopped.say(hello())
        good = await one.dial("c")
        await good.say(hello()._replace(name="c"))
        assert isinstance(await good.listen(), Hello)
        await one.until(lambda box: len(box.relay.names) == 2)
        slowest = 0.0
        for number in range(8000):  # some 16 MB
            one.links.tell(KEYS["b"].id, Marks(tuple(range(256))))
            if number % 400 == 0:
                begun = trio.current_time()
                one.links.tell(KEYS["c"].id, Digest(number, 0))
                while await good.listen() != Digest(number, 0):
                    pass
                slowest = max(slowest, trio.current_time() - begun)
        await one.until(lambda box: box.relay.names == ["c"])
        await stopped.close()
        await good.close()
    assert slowest < 0.5
    assert one.links.counters["peer links ended: peer reads too slowly"] == 1


async def test_a_peer_that_never_stops_talking_delays_no_other() -> None:
    one = Box("a", "abc")
    async with running(one):
        loud = await one.dial("b")
        await loud.say(hello())
        good = await one.dial("c")
        await good.say(hello()._replace(name="c"))
        await one.until(lambda box: len(box.relay.names) == 2)

        async def shout() -> None:
            data = frame(Marks(tuple(range(256)))) * 50 + frame(Digest(1, 1)) * 5000
            while True:
                await loud.stream.send_all(data)

        slowest = 0.0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shout)
            for number in range(20):
                await trio.sleep(0.02)
                begun = trio.current_time()
                await good.say(Digest(number, 1))  # type: ignore[arg-type]
                await one.until(lambda box, number=number: ("c", Digest(number, 1)) in box.relay.heard)  # type: ignore[misc]
                slowest = max(slowest, trio.current_time() - begun)
            nursery.cancel_scope.cancel()
        assert len(one.relay.heard) > 1000
        await loud.close()
        await good.close()
    assert slowest < 0.5


# -- the port


async def test_a_busy_port_is_a_warning_and_tried_again() -> None:
    one = Box("a", "ab")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        one.door = Door(port, one.links, one.log, "127.0.0.1", Times(try_again=0.1))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.run)
            await one.until(lambda box: box.door.problem)
            assert one.door.problem == (
                f"TCP port {port}: address already in use: other relays cannot connect to this one"
            )
            other.close()
            await one.until(lambda box: box.door.listening == port)
            assert one.door.problem == ""
            nursery.cancel_scope.cancel()
    assert "no door for other relays port=" in one.said.getvalue()
    assert "the door for other relays is open" in one.said.getvalue()


# -- dialling


@pytest.mark.parametrize("where", ["nowhere", ":1", "host:", "host:0", "host:70000", "host:x"])
async def test_what_is_no_address_is_said(where: str) -> None:
    with pytest.raises(LinkError, match="not an address: expected host:port"):
        await dialling.look_up(where, "b")


async def test_names_are_looked_up_and_numbers_are_not() -> None:
    assert await dialling.look_up("127.0.0.1:2425", "b") == [("127.0.0.1", 2425)]
    assert await dialling.look_up("localhost:2425", "b") == [("127.0.0.1", 2425)]
    with pytest.raises(LinkError, match=r"b \(no.such.host.invalid:2425\): "):
        await dialling.look_up("no.such.host.invalid:2425", "b")


async def test_nobody_at_the_port_is_said() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        where = address(free)
        with pytest.raises(LinkError, match=r"b \(.*\): connection refused"):
            await dialling.reach(where, KEYS["a"].client_context(), set(), "b")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "speaks no TLS 1.3: another program answers at that port"),
        (b"", "closed the connection before the handshake was done"),
    ],
)
async def test_another_program_at_the_port_is_said(answer: bytes, words: str) -> None:
    async def program(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(answer)

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, program, [listener])
        where = address(listener.socket)
        with pytest.raises(LinkError, match=words):
            await dialling.reach(where, KEYS["a"].client_context(), set(), "b")
        nursery.cancel_scope.cancel()


async def test_who_does_not_answer_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = address(silent)
        with pytest.raises(LinkError, match=r"did not answer within 0\.2 s"):
            await dialling.reach(where, KEYS["a"].client_context(), set(), "b", within=0.2)


async def test_a_line_that_was_refused_is_an_end_and_no_reset() -> None:
    one = Box("a", "a")
    async with running(one):
        line = await one.dial("b")
        await line.say(hello())
        with pytest.raises(LineEnded, match="without a word"):
            await line.listen()
        await line.close()
