"""The bad line itself: it is as bad as it was told to be, and no worse."""

from __future__ import annotations

import select
import socket
import statistics
import struct
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from tests.netns import address, namespaces

from .badline import bad_line
from .capture import SO_RCVBUFFORCE, SO_TIMESTAMPNS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .badline import BadLine
    from .conftest import Measure

pytestmark = pytest.mark.interop

PORT = 4000
LATE = 0.02  # seconds that a single frame may be late on a busy machine
STEADY = 0.005  # and half of them


class Ends:
    """A socket at each end of one line, both in this process; the kernel says when a datagram arrived."""

    def __init__(self, line: BadLine, sockets: tuple[socket.socket, socket.socket]) -> None:
        self.line = line
        self.sockets = sockets

    def send(self, number: int, towards: int = 1, size: int = 20) -> None:
        """A datagram that holds its number and when it left."""
        text = f"{number} {time.time()} ".encode().ljust(size)
        self.sockets[1 - towards].sendto(text, (f"10.79.1.{towards + 1}", PORT))

    def arrivals(self, wait: float, towards: int = 1) -> list[tuple[int, float]]:
        """Number and seconds under way of all that came, until none came for so long."""
        seen = []
        here = self.sockets[towards]
        while select.select([here], [], [], wait)[0]:
            data, extra, _, _ = here.recvmsg(2048, 128)
            number, left, *_ = data.split()
            seconds, nanos = struct.unpack("qq", extra[0][2])
            seen.append((int(number), seconds + nanos / 1e9 - float(left)))
        return seen


@pytest.fixture
def bad(bad_lines: None) -> Iterator[Ends]:
    """``bad.line`` between two namespaces that have no other traffic."""
    with namespaces("crf", "one", "two") as (one, two):
        for namespace in (one, two):
            namespace.sysctl("net.ipv6.conf.all.disable_ipv6", 1)
        with bad_line(one, "line0", two, "line0", seed=7) as line:
            for number, here in enumerate((one, two), 1):
                here.ip("link", "set", "line0", "address", f"02:00:00:00:00:0{number}")
                address(here, "line0", f"10.79.1.{number}/30")
            for number, there in enumerate((two, one), 1):  # no ARP: only our datagrams travel
                mac = f"02:00:00:00:00:0{number}"
                there.ip("neigh", "add", f"10.79.1.{number}", "lladdr", mac, "dev", "line0")
            sockets = (one.call(_open, "10.79.1.1"), two.call(_open, "10.79.1.2"))
            yield Ends(line, sockets)
            for each in sockets:
                each.close()


def _open(at: str) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 4 << 20)
    made.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    made.bind((at, PORT))
    return made


def test_perfect_line_carries_everything_in_order(bad: Ends, measure: Measure) -> None:
    for number in range(200):
        bad.send(number)
        time.sleep(0.0005)
    arrived = bad.arrivals(0.1)
    assert [number for number, _ in arrived] == list(range(200))
    measure("perfect line, one way, median", statistics.median(took for _, took in arrived), at_most=STEADY)


def test_delay_is_the_time_under_way_each_way(bad: Ends, measure: Measure) -> None:
    bad.line.set(delay=0.2)
    for number in range(100):
        bad.send(number, towards=number % 2)
        time.sleep(0.002)
    took = [took for towards in (0, 1) for _, took in bad.arrivals(0.3, towards)]
    assert len(took) == 100
    assert min(took) >= 0.2, "no frame is early"
    measure("200 ms line, one way, median", statistics.median(took), at_most=0.2 + STEADY)


def test_delay_of_one_way_leaves_the_other_alone(bad: Ends) -> None:
    bad.line.set(towards=0, delay=0.2)
    bad.send(1, towards=0)
    bad.send(2, towards=1)
    assert bad.arrivals(0.05, towards=1)[0][1] < 0.1
    assert bad.arrivals(0.4, towards=0)[0][1] >= 0.2


def test_loss_is_the_share_that_was_asked_for_and_is_counted(bad: Ends) -> None:
    bad.line.set(loss=0.05)
    for number in range(3000):
        bad.send(number)
        if number % 50 == 49:
            time.sleep(0.002)  # the device queues 500 frames
    arrived = bad.arrivals(0.1)
    counts = bad.line.counts()
    assert counts.taken == (0, 3000)
    assert counts.lost == (0, 3000 - len(arrived))
    assert 0.035 < counts.lost[1] / 3000 < 0.065


def test_same_seed_loses_the_same_frames(bad: Ends) -> None:
    bad.line.set(loss=0.3)
    for number in range(30):
        bad.send(number)
    arrived = dict(bad.arrivals(0.1))
    lost = [number for number in range(30) if number not in arrived]
    assert lost == [5, 7, 8, 9, 13, 15, 21, 22, 23, 27, 28, 29]


def test_jitter_lets_frames_overtake_each_other_and_loses_none(bad: Ends) -> None:
    bad.line.set(delay=0.05, jitter=0.03)
    for number in range(100):
        bad.send(number)
        time.sleep(0.001)
    arrived = bad.arrivals(0.2)
    numbers = [number for number, _ in arrived]
    assert sorted(numbers) == list(range(100))
    later_first = sum(one > next_one for one, next_one in pairwise(numbers))
    assert later_first > 10
    assert bad.line.counts().overtaken[1] >= later_first
    assert min(took for _, took in arrived) >= 0.05
    assert max(took for _, took in arrived) < 0.08 + LATE


def test_cut_is_total_and_takes_what_is_under_way(bad: Ends) -> None:
    bad.line.set(delay=0.1)
    bad.send(1)
    bad.send(2, towards=0)
    bad.line.cut()
    bad.send(3)
    assert not bad.arrivals(0.3, towards=1)
    assert not bad.arrivals(0.01, towards=0)
    bad.line.mend()
    bad.send(4)
    assert [number for number, _ in bad.arrivals(0.3)] == [4]
    assert bad.line.counts().cut == (1, 2)


def test_half_a_cut_is_one_way(bad: Ends) -> None:
    bad.line.cut(towards=0)
    bad.send(1, towards=0)
    bad.send(2, towards=1)
    assert not bad.arrivals(0.1, towards=0)
    assert len(bad.arrivals(0.1, towards=1)) == 1


def test_flapping_line_is_up_and_down_by_turns(bad: Ends) -> None:
    bad.line.flap(up=0.1, down=0.1)
    for number in range(200):
        bad.send(number)
        time.sleep(0.004)
    numbers = [number for number, _ in bad.arrivals(0.1)]
    assert 60 < len(numbers) < 140
    gaps = sum(second - first > 5 for first, second in pairwise(numbers))
    assert gaps >= 3, "it came back each time"


def test_rate_lets_no_more_through(bad: Ends, measure: Measure) -> None:
    bad.line.set(rate=1e6)
    began = time.monotonic()
    for number in range(50):
        bad.send(number, size=1000 - 42)  # with its headers 1000 octets
    assert len(bad.arrivals(0.3)) == 50
    measure("50 kB at 1 Mbit/s", time.monotonic() - 0.3 - began, at_most=0.4 + LATE)
    for number in range(150):
        bad.send(number, size=1000 - 42)
    kept = len(bad.arrivals(0.2))
    assert 60 <= kept <= 70, "half a second of it waits, the rest is dropped, as a router would"
