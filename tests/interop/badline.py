"""A bad line between two namespaces: delay, jitter, loss, a rate, cuts. It is the tc netem that many kernels lack.

    with bad_line(a, "line0", b, "line0") as line:    # two TAP devices, up; addresses are the caller's business
        line.set(delay=0.1, jitter=0.02, loss=0.05)   # seconds, share of the frames; what is not named is perfect
        line.set(towards=0, loss=1.0)                 # only the way to the first end: half a line
        line.cut()                                    # at once, with what is on its way; mend() ends it
        line.flap(up=1.0, down=0.5)                   # by turns, until mend()
        line.counts().lost                            # frames lost by chance, towards a and towards b

A child process stands between the devices and keeps each Ethernet frame as long as it must. Each way has its
seeded generator, so the same frames meet the same fate. Jitter is added to the delay frame by frame: frames that
follow each other more closely than it overtake one another, as with netem.
"""

from __future__ import annotations

import fcntl
import heapq
import json
import os
import random
import select
import struct
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.netns import Namespace

TUNSETIFF = 0x400454CA  # linux/if_tun.h
IFF_TAP = 0x0002
IFF_NO_PI = 0x1000  # frames only, no header of the driver's own
LARGEST_FRAME = 65536
AT_ONE_GO = 64  # frames read before those that are due are let out
MOST_WAITING = 0.5  # seconds of frames that a line with a rate keeps, like a router's queue
WAYS = (0, 1)  # towards the first end, towards the second


@dataclass(frozen=True)
class Quality:
    """How good one way of the line is. ``rate``: bits per second, 0: no limit."""

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    rate: float = 0.0


class Counts(NamedTuple):
    """Frames, each as (towards the first end, towards the second)."""

    taken: tuple[int, int]
    passed: tuple[int, int]
    lost: tuple[int, int]  # by chance, or more than a line with a rate keeps
    cut: tuple[int, int]
    overtaken: tuple[int, int]  # passed after a frame that was sent later
    late: float  # seconds: the most that a frame was let out behind its time


TALLIES = Counts._fields[:-1]


class BadLine:
    """The line as its owner sees it. Every order is in force when the call returns."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self._child = child

    def set(self, *, towards: int | None = None, **quality: float) -> None:
        """Both ways, or one. Frames on their way keep the time they were given."""
        self._order(
            do="set", ways=WAYS if towards is None else (towards,), quality=asdict(Quality(**quality))
        )

    def cut(self, *, towards: int | None = None) -> None:
        """Nothing comes out any more."""
        self._order(do="flap", ways=WAYS if towards is None else (towards,), up=0.0, down=1.0)

    def flap(self, *, up: float, down: float) -> None:
        """So many seconds of each by turns, beginning now with ``up``."""
        self._order(do="flap", ways=WAYS, up=up, down=down)

    def mend(self) -> None:
        """Neither cut nor flapping; delay and loss stay as they are."""
        self._order(do="flap", ways=WAYS, up=1.0, down=0.0)

    def perfect(self) -> None:
        """Mended, no delay, no loss."""
        self.mend()
        self.set()

    def counts(self) -> Counts:
        """Since the line is there."""
        answer = self._order(do="count")
        return Counts(late=answer["late"], **{name: tuple(answer[name]) for name in TALLIES})

    def _order(self, **what: object) -> dict[str, Any]:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(json.dumps(what) + "\n")
        self._child.stdin.flush()
        answer = self._child.stdout.readline()
        assert answer, "the process between the two ends of a bad line is dead"
        return dict(json.loads(answer))


def lacks() -> str | None:
    """What is missing for bad lines on this machine, in one line."""
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR))
    except OSError as error:
        return f"bad lines need TAP devices: /dev/net/tun: {error.strerror}"
    return None


@contextmanager
def bad_line(
    one: Namespace, name: str, other: Namespace, other_name: str, *, seed: int = 1
) -> Iterator[BadLine]:
    """A perfect line to begin with. Its devices go when it ends."""
    ends = [one.call(_open_tap, name), other.call(_open_tap, other_name)]
    words = [sys.executable, "-IS", __file__, *map(str, ends), str(seed)]
    try:
        child = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=ends
        )
    finally:
        for end in ends:
            os.close(end)
    with child:  # it ends when its standard input does
        one.ip("link", "set", "dev", name, "up")
        other.ip("link", "set", "dev", other_name, "up")
        line = BadLine(child)
        line.counts()  # it answers, so it carries
        yield line


def _open_tap(name: str) -> int:
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return tap


class Way:
    """One direction: takes frames, lets them out when it is time."""

    def __init__(self, chance: random.Random) -> None:
        self.quality = Quality()
        self.tally = dict.fromkeys(TALLIES, 0)
        self.late = 0.0
        self._chance = chance
        self._numbers = count(1)
        self._newest = 0  # number of the youngest frame that came out
        self._waiting: list[tuple[float, int, bytes]] = []
        self._free = 0.0  # when the frames before are all on the line, if it has a rate
        self._turns = (0.0, 1.0, 0.0)  # since when it flaps, up, down

    @property
    def due(self) -> float:
        """When the next frame comes out."""
        return self._waiting[0][0] if self._waiting else float("inf")

    def flap(self, up: float, down: float, now: float) -> None:
        self._turns = (now, up, down)
        if not up:
            self.tally["cut"] += len(self._waiting)
            self._waiting.clear()

    def _is_cut(self, now: float) -> bool:
        since, up, down = self._turns
        return (now - since) % (up + down) >= up

    def take(self, frame: bytes, now: float) -> None:
        quality = self.quality
        self.tally["taken"] += 1
        begins = max(now, self._free) if quality.rate else now
        if self._is_cut(now):
            self.tally["cut"] += 1
        elif self._chance.random() < quality.loss or begins - now > MOST_WAITING:
            self.tally["lost"] += 1
        else:
            self._free = begins + (len(frame) * 8 / quality.rate if quality.rate else 0.0)
            at = self._free + quality.delay + self._chance.random() * quality.jitter
            heapq.heappush(self._waiting, (at, next(self._numbers), frame))

    def let_out(self, end: int, now: float) -> None:
        while self._waiting and self._waiting[0][0] <= now:
            at, number, frame = heapq.heappop(self._waiting)
            if self._is_cut(now):
                self.tally["cut"] += 1
                continue
            with suppress(OSError):  # the device is down: the frame is gone, as on any line
                os.write(end, frame)
            self.tally["passed"] += 1
            self.tally["overtaken"] += number < self._newest
            self._newest = max(self._newest, number)
            self.late = max(self.late, now - at)


def carry(ends: tuple[int, int], seed: int) -> None:
    """The child: both ways, and orders from standard input until that ends."""
    ways = (Way(random.Random(2 * seed)), Way(random.Random(2 * seed + 1)))
    while True:
        wait = min(way.due for way in ways) - time.monotonic()
        ready, _, _ = select.select(
            [*ends, sys.stdin], [], [], None if wait == float("inf") else max(0.0, wait)
        )
        for here, way in zip(reversed(ends), ways, strict=True):
            if here in ready:
                _take_all(here, way)
        now = time.monotonic()
        for end, way in zip(ends, ways, strict=True):
            way.let_out(end, now)
        if sys.stdin in ready:
            line = sys.stdin.readline()
            if not line:
                return
            print(json.dumps(_obey(json.loads(line), ways)), flush=True)


def _take_all(end: int, way: Way) -> None:
    for _ in range(AT_ONE_GO):
        try:
            frame = os.read(end, LARGEST_FRAME)
        except BlockingIOError:
            return
        way.take(frame, time.monotonic())


def _obey(order: dict[str, Any], ways: tuple[Way, Way]) -> dict[str, Any]:
    if order["do"] == "count":
        tallies = {name: [way.tally[name] for way in ways] for name in TALLIES}
        return {**tallies, "late": max(way.late for way in ways)}
    for number in order["ways"]:
        if order["do"] == "set":
            ways[number].quality = Quality(**order["quality"])
        else:
            ways[number].flap(order["up"], order["down"], time.monotonic())
    return {}


if __name__ == "__main__":
    with suppress(PermissionError):  # on a busy machine an ordinary process lets frames out late
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    carry((int(sys.argv[1]), int(sys.argv[2])), int(sys.argv[3]))
