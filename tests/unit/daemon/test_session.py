"""Frames over a stream, and what a session does about a peer that is silent, slow, mad or hostile."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import memory_stream_pair

from camrelay.daemon import wire
from camrelay.daemon.session import (
    DEAD_AFTER,
    FIRST_FRAME,
    MOST_FRAME,
    PART_WITHIN,
    PING_EVERY,
    QUEUE_BYTES,
    WRITE_WITHIN,
    Line,
    Session,
    frame,
)
from camrelay.daemon.wire import Bye, Hello, Members, Ping, Seen
from camrelay.errors import LineEnded, LinkError, MalformedFrame
from camrelay.relay.messages import Digest

if TYPE_CHECKING:
    from camrelay.daemon.session import Message

HELLO = Hello(1, "b", "camrelay 1", 7, 5, 0)
SEEN = Seen("a" * 64, 1)


def test_a_frame_is_a_length_and_a_payload() -> None:
    payload = wire.encode(Ping())
    assert frame(Ping()) == len(payload).to_bytes(4, "big") + payload


# -- a line


async def test_messages_arrive_as_they_were_said() -> None:
    ours, theirs = lines()
    for message in (HELLO, Ping(), Bye("so"), SEEN):
        await ours.say(message)
        assert await theirs.listen() == message
    assert ours.sent == theirs.received > 0


async def test_half_frames_become_messages_when_the_rest_comes() -> None:
    ours, theirs = lines()
    async with trio.open_nursery() as nursery:

        async def drip() -> None:
            for byte in frame(HELLO) + frame(SEEN):
                await ours.stream.send_all(bytes([byte]))
                await trio.sleep(0.01)

        nursery.start_soon(drip)
        assert await theirs.listen() == HELLO
        assert await theirs.listen() == SEEN


async def test_a_listener_waits_ten_seconds_and_no_longer() -> None:
    ours, theirs = lines()
    await ours.stream.send_all(frame(HELLO)[:-1])
    begun = trio.current_time()
    with pytest.raises(LinkError, match="said nothing for 10 s"):
        await theirs.listen()
    assert trio.current_time() - begun == pytest.approx(10.0)


async def test_the_end_of_a_line_in_the_middle_of_a_frame_is_an_end() -> None:
    ours, theirs = lines()
    await ours.stream.send_all(frame(HELLO)[:-1])
    await ours.close()
    with pytest.raises(LineEnded):
        await theirs.listen()


@pytest.mark.parametrize("length", [FIRST_FRAME + 1, 1 << 30, 2**32 - 1])
async def test_a_stranger_cannot_announce_a_large_frame(length: int) -> None:
    ours, theirs = lines()
    await ours.stream.send_all(length.to_bytes(4, "big"))
    with pytest.raises(MalformedFrame, match=f"{length} bytes"):
        await theirs.listen()


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_are_messages_or_malformed_and_nothing_else(data: bytes) -> None:
    line = Line(memory_stream_pair()[0], "")
    line._buffer += data
    try:
        while line.next() is not None:
            pass
    except MalformedFrame:
        pass


async def test_parting_gives_the_words_one_second() -> None:
    ours, theirs = lines()
    begun = trio.current_time()
    await ours.part(Bye("no"))
    assert trio.current_time() - begun == pytest.approx(PART_WITHIN)
    assert await theirs.listen() == Bye("no")


# -- a session


class Side:
    """Owner of a session at one end of a line; closes it when told that it is over."""

    def __init__(self, line: Line) -> None:
        self.session = Session(line, "b" * 64, HELLO, 5, dialled=True, owner=self)
        self.said: list[Message] = []
        self.causes: list[tuple[str, float]] = []
        self.empty = 0
        self.more: list[Message] = []  # to be said when the queue is empty

    def heard(self, session: Session, message: Message) -> None:
        self.said.append(message)

    def emptied(self, session: Session) -> None:
        self.empty += 1
        if self.more:
            session.put(frame(self.more.pop(0)))  # type: ignore[arg-type]

    def over(self, session: Session, cause: str, text: str = "", *words: Any) -> None:
        if not self.causes:
            self.causes.append((cause, trio.current_time()))
        session.close(*words)


def lines() -> tuple[Line, Line]:
    ours, theirs = memory_stream_pair()
    return Line(ours, "there"), Line(theirs, "here")


async def stuck(line: Line) -> None:
    """From now on the stream of this line takes nothing more."""

    async def never() -> None:
        await trio.sleep_forever()

    line.stream.send_stream.send_all_hook = never  # type: ignore[attr-defined]


async def test_two_sessions_talk_until_one_says_bye() -> None:
    left, right = map(Side, lines())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(left.session.run)
        nursery.start_soon(right.session.run)
        left.session.put(frame(SEEN))
        right.session.put(frame(Digest(1, 2)))
        await trio.sleep(1)
        left.session.close(Bye("enough"))
    assert (left.said, right.said) == ([Digest(1, 2)], [SEEN])
    assert right.causes[0][0] == "said"
    assert left.session.done.is_set()
    assert right.session.done.is_set()


async def test_an_idle_session_lives_on_pings() -> None:
    left, right = map(Side, lines())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(left.session.run)
        nursery.start_soon(right.session.run)
        await trio.sleep(3600)
        assert not left.causes + right.causes
        assert left.session.line.sent == pytest.approx(3600 / PING_EVERY * len(frame(Ping())), abs=20)
        nursery.cancel_scope.cancel()


async def test_a_dead_line_is_found_within_30_seconds() -> None:
    ours, theirs = lines()
    left, right = Side(ours), Side(theirs)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(left.session.run)
        nursery.start_soon(right.session.run)
        await trio.sleep(100)
        await stuck(ours)
        await stuck(theirs)
        cut = trio.current_time()
    (cause, when) = left.causes[0]
    assert cause == "silent"
    assert 0 < when - cut < 30
    assert DEAD_AFTER < 30


async def test_bytes_that_come_slowly_keep_a_session_alive() -> None:
    ours, theirs = lines()
    right = Side(theirs)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(right.session.run)
        for byte in frame(SEEN):
            await trio.sleep(20)
            await ours.stream.send_all(bytes([byte]))
        await trio.sleep(1)
        assert right.said == [SEEN]
        nursery.cancel_scope.cancel()


async def test_who_does_not_read_is_dropped_in_time() -> None:
    ours, theirs = lines()
    left = Side(ours)
    await stuck(ours)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(left.session.run)
        nursery.start_soon(babble, theirs, frame(Ping()))
        begun = trio.current_time()
        left.session.put(frame(SEEN))
        await left.session.done.wait()
        nursery.cancel_scope.cancel()
    assert left.causes == [("slow", begun + WRITE_WITHIN)]


async def babble(line: Line, data: bytes) -> None:
    while True:
        await line.stream.send_all(data)
        await trio.sleep(1)


async def test_the_queue_is_bounded() -> None:
    left = Side(lines()[0])
    big = bytes(1 << 20)
    taken = [left.session.put(big) for _ in range(100)]
    assert taken.index(False) == QUEUE_BYTES >> 20
    assert taken.count(False) == 1  # who is told once need not be told again
    assert left.session.queued == QUEUE_BYTES


async def test_what_is_queued_goes_out_in_order_and_in_pieces() -> None:
    left, right = map(Side, lines())
    messages: list[Any] = [Seen("a" * 64, n) for n in range(10_000)]
    async with trio.open_nursery() as nursery:
        for message in messages:
            left.session.put(frame(message))
        nursery.start_soon(left.session.run)
        nursery.start_soon(right.session.run)
        await trio.sleep(1)
        assert right.said == messages
        assert left.session.queued == 0
        nursery.cancel_scope.cancel()


async def test_the_owner_is_asked_for_more_whenever_the_queue_is_empty() -> None:
    left, right = map(Side, lines())
    left.more = [Seen("a" * 64, n) for n in range(5)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(left.session.run)
        nursery.start_soon(right.session.run)
        await trio.sleep(1)
        assert [message.revision for message in right.said] == [0, 1, 2, 3, 4]  # type: ignore[union-attr]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "data",
    [
        (1 << 30).to_bytes(4, "big"),
        (MOST_FRAME + 1).to_bytes(4, "big"),
        bytes(4),
        b"\0\0\0\x05hello",
        *(bytes([0, 0, 0, 40]) + random.Random(seed).randbytes(40) for seed in range(5)),
    ],
)
async def test_a_malformed_frame_ends_the_session_in_words(data: bytes) -> None:
    ours, theirs = lines()
    left = Side(ours)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(left.session.run)
        await theirs.stream.send_all(data)
        answer = await theirs.listen()
        await theirs.stream.aclose()
    assert isinstance(answer, Bye)
    assert answer.reason.startswith("malformed frame: ")
    assert left.causes[0][0] == "malformed"
    assert left.said == []


async def test_nothing_is_heard_of_a_closed_session() -> None:
    left, right = map(Side, lines())
    async with trio.open_nursery() as nursery:
        right.session.put(frame(SEEN))
        left.session.close(Bye("removed"))
        nursery.start_soon(left.session.run)
        nursery.start_soon(right.session.run)
    assert left.said == []


async def test_closing_with_flush_says_everything_first() -> None:
    left, right = map(Side, lines())
    async with trio.open_nursery() as nursery:
        left.session.put(frame(SEEN))
        left.session.close(Bye("stopping"), flush=True)
        nursery.start_soon(left.session.run)
        nursery.start_soon(right.session.run)
    assert right.said == [SEEN]
    assert right.causes[0][0] == "said"


async def test_a_stopped_peer_does_not_hold_a_good_bye_up() -> None:
    ours, _ = lines()
    await stuck(ours)
    left = Side(ours)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(left.session.run)
        left.session.put(frame(SEEN))
        await trio.sleep(1)
        begun = trio.current_time()
        left.session.close(Bye("stopping"), flush=True)
    assert trio.current_time() - begun == pytest.approx(PART_WITHIN)


async def test_members_of_the_largest_fleet_fit_a_frame() -> None:
    member = wire.Member("a" * 64, "name", ("10.1.2.3:2425",), (b"x" * 300,), 1)
    assert len(frame(Members((member,) * 64))) < FIRST_FRAME
