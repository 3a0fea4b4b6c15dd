"""What relaying a datagram costs, against a C program that only forwards and against Python programs that only do.

Within a round all take turns, so that a machine with other things to do is unfair to all alike; what counts is the
ratio to the C floor of the same round (median over the rounds). One daemon serves a whole round. The sender is
faster than everybody, so nobody waits; what did not fit into the receive buffer was never looked at and does not
count. CPU time is the process's own, all threads (database and log included).
"""

from __future__ import annotations

import shutil
import signal
import sys
import time
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from tests.bench.daemon import Daemon, cpu_seconds, running
from tests.bench.figures import Figure
from tests.bench.wires import USERS, Wires, rest, wires

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LATENCY_RATES = (100, 1000, 10000)  # datagrams per second
BURST = 6000  # datagrams: a floor of PCs comes back after a power cut
AGAIN_AFTER = 5.0  # seconds: Windows says its start twice
LEARN_RATE = 10_000  # per second, while the daemon gets to know its users: nothing is lost
START_RATE = (
    20_000  # nobody may be left out of the two passes of the starts, and the receive buffer holds some 14,000
)
SETTLE_WITHIN = 120.0  # seconds
ENOUGH = 0.7  # of what the C floor does per CPU second
PART = "throughput"

FLOOR = ("{bin}/floor", "{port}", "{to}", "{port}")
PYTHON = {
    "plain trio": (sys.executable, "-m", "tests.bench.forward", "plain", "{port}", "{to}", "{port}"),
    "Lan": (sys.executable, "-m", "tests.bench.forward", "lan", "{port}", "{to}", "{port}"),
}
WORKLOADS = {  # in this order: changes make news of what was said before
    "starts": "as on the wire: NOOPERATION, BR_ENTRY, BR_ENTRY 5 s later, of known users; answered",
    "parsed": "known users say the same in other words (answered before, BR_ABSENCE now): nothing to forward",
    "changes": "BR_ABSENCE with a new nick each time: parsed, stored, announced to the other segment",
    "repeats": "known users repeat their words, other packet number: roster update, nothing to forward",
}


@dataclass
class Run:
    """One measurement."""

    name: str
    sent: int
    taken: int  # what the program looked at (a forwarder: what left it)
    forwarded: int  # what left it into B
    cpu: float
    seconds: float
    settled: bool = True  # False: it went on and on afterwards, and that is not in its CPU time

    @property
    def per_cpu_second(self) -> float:
        """Datagrams."""
        return self.taken / self.cpu if self.cpu else 0.0


@dataclass
class Round:
    """All of one round."""

    runs: dict[str, Run] = field(default_factory=dict)
    floors: list[Run] = field(default_factory=list)
    latency: dict[str, dict[int, dict[str, int]]] = field(default_factory=dict)  # who, rate: us
    burst: dict[str, int] = field(default_factory=dict)
    stall: int = 0  # ms
    counters: dict[str, int] = field(default_factory=dict)
    buffers: dict[str, int] = field(default_factory=dict)

    def ratio(self, name: str) -> float:
        """Datagrams per CPU second, relative to the floor before and after."""
        floor = sum(run.taken for run in self.floors) / sum(run.cpu for run in self.floors)
        return self.runs[name].per_cpu_second / floor


def measure(rounds: int, seconds: float, say: Callable[[str], None]) -> tuple[list[Figure], dict[str, Any]]:
    """The figures, and everything for the JSON."""
    done: list[Round] = []
    with wires() as lab:
        for number in range(rounds):
            say(f"throughput, round {number + 1} of {rounds}")
            done.append(_round(lab, seconds, say))
    return _figures(done), {
        "rounds": [asdict(each) for each in done],
        "workloads": WORKLOADS,
        "users": USERS,
        "buffers": done[0].buffers,
    }


def _round(lab: Wires, seconds: float, say: Callable[[str], None]) -> Round:
    found = Round()
    found.floors.append(_forwarder(lab, "C floor", FLOOR, seconds))
    for name, command in PYTHON.items():
        found.runs[name] = _forwarder(lab, name, command, seconds)
    found.latency["C floor"], found.burst["C floor"] = _slow(lab, FLOOR)
    folder = lab.scratch / "camrelay"
    config = ['interfaces = ["left", "right"]']
    with running(lab.box, folder, config, lab.for_measured) as daemon:
        _learn(lab, daemon)
        found.buffers = daemon.buffers()
        for name in WORKLOADS:
            say(f"  {name}")
            found.runs[name] = _workload(lab, daemon, name, seconds)
        found.latency["camrelay"] = {rate: _latency(lab, rate) for rate in LATENCY_RATES}
        daemon.rest()
        found.burst["camrelay"] = _burst(lab, daemon.signal, daemon.rest)
        found.counters = daemon.counters()
        found.stall = found.counters.get("longest loop stall in ms", 0)
    shutil.rmtree(folder)
    found.floors.append(_forwarder(lab, "C floor", FLOOR, seconds))
    return found


def _forwarder(lab: Wires, name: str, command: Sequence[str], seconds: float) -> Run:
    with lab.contender(command) as process, lab.sink() as sink:
        before, began = cpu_seconds(process.pid), time.monotonic()
        sent = lab.flood(["change"], seconds=seconds)
        took = time.monotonic() - began
        rest(process.pid)
        used = cpu_seconds(process.pid) - before
        sink.count()
    return Run(name, sent, sink.total, sink.total, used, took)


def _slow(lab: Wires, command: Sequence[str]) -> tuple[dict[int, dict[str, int]], int]:
    """Latencies and burst of a forwarder."""
    with lab.contender(command) as process:
        latency = {rate: _latency(lab, rate) for rate in LATENCY_RATES}
        return latency, _burst(lab, process.send_signal, lambda: rest(process.pid))


def _learn(lab: Wires, daemon: Daemon) -> None:
    """Everybody starts once, so that all are known; those of B stay nobody."""
    lab.flood(["entry"], rate=LEARN_RATE, count=USERS)
    daemon.rest(most=SETTLE_WITHIN)
    known = sum(row["online"] for row in daemon.ask("status")["relay"]["segments"])
    if known < USERS:
        raise RuntimeError(f"the daemon knows {known} of {USERS} users")


def _workload(lab: Wires, daemon: Daemon, name: str, seconds: float) -> Run:
    if before_that := {"parsed": "answer", "repeats": "lunch"}.get(name):
        lab.flood([before_that], rate=LEARN_RATE, count=USERS)
        daemon.rest()
    heard, before = daemon.counters()["datagrams heard"], daemon.cpu()
    began = time.monotonic()
    with lab.sink() as sink:
        if name == "starts":
            sent = lab.flood(["nothing", "entry"], rate=START_RATE, count=2 * USERS)
            time.sleep(max(0.0, began + AGAIN_AFTER - time.monotonic()))
            sent += lab.flood(["again"], rate=START_RATE, count=USERS)
        else:
            file = {"repeats": "lunch", "parsed": "no news", "changes": "change"}[name]
            sent = lab.flood([file], seconds=seconds)
        took = time.monotonic() - began
        settled = daemon.rest(most=SETTLE_WITHIN)
        used = daemon.cpu() - before
        sink.count()
    taken = daemon.counters()["datagrams heard"] - heard
    return Run(name, sent, taken, sink.total, used, took, settled)


def _latency(lab: Wires, rate: int) -> dict[str, int]:
    """From sending in A to receiving in B, us: p50, p95, p99, max."""
    with lab.sink() as sink:
        lab.flood(["change"], rate=rate, seconds=max(1.0, 200 / rate))
        time.sleep(0.3)
        sink.count()
    return sink.latency or {}


def _burst(lab: Wires, tell: Callable[[signal.Signals], None], settled: Callable[[], object]) -> int:
    """How many of 6,000 come through that arrive while the program cannot run at all."""
    with lab.sink() as sink:
        tell(signal.SIGSTOP)
        lab.flood(["change"], count=BURST)
        tell(signal.SIGCONT)
        settled()
        sink.count()
    return sink.total


def _figures(done: list[Round]) -> list[Figure]:
    floor = median(run.per_cpu_second for each in done for run in each.floors)
    figures = [Figure(PART, "C floor: datagrams per CPU second", floor, note=f"{1e6 / floor:.1f} us each")]
    for name in (*PYTHON, *WORKLOADS):
        ratio = median(each.ratio(name) for each in done)
        cost = 1e6 / median(each.runs[name].per_cpu_second for each in done)
        limit = ENOUGH if name in WORKLOADS else None
        note = f"{cost:.1f} us each; {WORKLOADS.get(name, 'Python that only forwards')}"
        figures.append(
            Figure(PART, f"{name}: x the C floor", ratio, "", limit, None, note, more_is_better=True)
        )
    figures += [_latency_figure(done, rate) for rate in LATENCY_RATES]
    worst = min(each.burst["camrelay"] for each in done)
    note = f"while it was stopped; floor {min(each.burst['C floor'] for each in done):,}"
    name = f"burst of {BURST:,}: taken"
    figures.append(Figure(PART, name, worst, "", BURST, None, note, more_is_better=True))
    stalls = sorted(each.stall for each in done)
    note = f"median over the rounds of the longest; all: {stalls}"
    figures.append(Figure(PART, "longest loop stall under all this", median(stalls), "ms", 50, 10, note))
    over = sum(each.counters.get("dropped: too many datagrams from one source", 0) for each in done)
    figures.append(Figure(PART, "over a source's budget", over, "", 0, None, "else the ratios are void"))
    return figures


def _latency_figure(done: list[Round], rate: int) -> Figure:
    both = [(each.latency["camrelay"][rate]["p50"], each.latency["C floor"][rate]["p50"]) for each in done]
    ratio = median(ours / floors for ours, floors in both)
    note = (
        f"p50 {median(ours for ours, _ in both):.0f} us, floor {median(floors for _, floors in both):.0f} us"
    )
    limit = 4.0 if rate == 1000 else None
    return Figure(PART, f"latency at {rate:,}/s: x the C floor's p50", ratio, "", limit, None, note)
