"""Who looks on sees every datagram in both directions, what became of it, and never holds anybody up."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import trio

from camrelay.daemon.tap import HEARD, Seen, Tap
from camrelay.relay.outputs import Datagram, Transmit

if TYPE_CHECKING:
    from camrelay.relay.outputs import Output

HELLO = Datagram(b"hello", "10.1.0.2", 2425, 3, True, 64)
ANSWER = Transmit(b"answer", "10.1.0.2")


class Hearer:
    """A relay that counts greetings and answers them."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()

    def receive(self, datagram: Datagram, now: float) -> list[Output]:
        self.counters[HEARD] += 1
        if datagram.data == b"hello":
            self.counters["greetings"] += 1
            return [ANSWER]
        return []


def let_hear(tap: Tap, *datagrams: Datagram, now: float = 5.0) -> list[Output]:
    hearer = Hearer()
    return tap.receive(hearer.receive, hearer.counters, datagrams, now)


async def test_what_comes_is_heard_as_without_us_and_seen_with_its_fate() -> None:
    tap = Tap()
    other = HELLO._replace(data=b"other")
    with tap.listen(lambda seen: True) as ear:
        assert let_hear(tap, HELLO, other) == [ANSWER]
        assert [await anext(ear), await anext(ear)] == [Seen(5.0, HELLO, "greetings"), Seen(5.0, other, "")]


async def test_what_goes_is_seen_with_where_it_goes() -> None:
    tap = Tap()
    with tap.listen(lambda seen: seen.outgoing and seen.address == "10.1.0.2") as ear:
        tap.sent([ANSWER, ANSWER._replace(to="10.1.0.3")], 6.0)
        let_hear(tap, HELLO)
        assert await anext(ear) == Seen(6.0, ANSWER)
        with trio.move_on_after(0) as over:
            await anext(ear)
        assert over.cancelled_caught


async def test_it_is_active_only_while_somebody_looks() -> None:
    tap = Tap()
    assert not tap.active
    with tap.listen(lambda seen: True), tap.listen(lambda seen: False):
        assert tap.active
    assert not tap.active


async def test_a_slow_reader_loses_and_is_told_how_many_and_others_do_not() -> None:
    tap = Tap()
    with tap.listen(lambda seen: True, room=2) as slow, tap.listen(lambda seen: True) as quick:
        let_hear(tap, *[HELLO] * 5)
        assert (slow.lost, quick.lost) == (3, 0)
        assert [(await anext(slow)).packet for _ in range(2)] == [HELLO, HELLO]
