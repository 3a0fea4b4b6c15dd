"""Is every live host of 100 swept segments found, and is presence on our own wires undisturbed meanwhile?

    newcomers 10.59.0.0/24 --- box --- 10.60.0.0/24 --- router (default limits) --- 100 segments, 10 of 254 alive

A kernel's neighbour table (1,024 entries with default limits) is one for all its namespaces. Here it has to be the
router's: whom the others need is entered for good, and nothing else may sweep meanwhile. Addresses without a host
fail as they do in an office: nobody answers for them.
"""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests import netns
from tests.bench.daemon import running
from tests.bench.figures import Figure
from tests.bench.talkers import Hosts, Listener, Newcomers

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bench.daemon import Daemon

PART = "sweep"
SEGMENTS, ALIVE = 100, 10
WITHIN = 180.0  # seconds
SPARE = 5.0
START_EVERY = 2.0  # seconds between two users who start on our own wire
NEWCOMERS = range(129, 255)  # where: the fourth octet
LOOK_EVERY = 0.5
NEVER = 1e6
BUSY_TABLE = 300  # neighbour entries that others may have before we doubt the result


def measure(segments: int, folder: Path, say: Callable[[str], None]) -> tuple[list[Figure], dict[str, Any]]:
    """The figures, and everything for the JSON."""
    chance = random.Random(254)
    alive = [
        f"10.61.{s}.{last}" for s in range(1, segments + 1) for last in chance.sample(range(2, 255), ALIVE)
    ]
    before = neighbours()
    if before["entries"] > BUSY_TABLE:
        say(f"the neighbour table has {before['entries']} entries already: does something else sweep here?")
    with netns.namespaces("crb", "pc", "box", "router", "far") as (pc, box, router, far):
        _wire(pc, box, router, far, segments, alive)
        names = ", ".join(f'"10.61.{s}.*"' for s in range(1, segments + 1))
        config = ['interfaces = ["left", "right"]', "[remote]", f"segments = [{names}]"]
        with (
            Hosts(far, alive) as hosts,
            Newcomers(pc) as newcomers,
            Listener(router) as listener,
            running(box, folder, config) as daemon,
        ):
            data = _watch(daemon, hosts, newcomers, segments, say)
            listed = {row["address"] for row in daemon.ask("users")}
            data["counters"] = daemon.counters()
    began, after = daemon.born + daemon.ready, neighbours()
    reached = sorted(when - began for when in hosts.asked.values())
    answers = [newcomers.answered.get(a, began + NEVER) - at for a, at in newcomers.started.items()]
    told = [listener.heard.get(a, began + NEVER) - at for a, at in newcomers.started.items()]
    data |= {
        "addresses": segments * 254,
        "alive": len(alive),
        "missed": sorted(set(alive) - set(hosts.asked)),
        "not_listed": sorted(set(alive) - listed),
        "reached_after": reached,
        "answered_after": sorted(answers),
        "announced_after": sorted(told),
        "neighbour_table": {key: after[key] - before[key] for key in after if key != "entries"},
        "neighbour_entries_before": before["entries"],
    }
    return _figures(data, segments), data


def _wire(
    pc: netns.Namespace,
    box: netns.Namespace,
    router: netns.Namespace,
    far: netns.Namespace,
    segments: int,
    alive: list[str],
) -> None:
    netns.veth(box, "left", router, "office")
    netns.veth(box, "right", pc, "eth0")
    netns.veth(router, "far", far, "eth0")
    netns.address(box, "left", "10.60.0.2/24")
    netns.address(router, "office", "10.60.0.1/24")
    netns.address(box, "right", "10.59.0.1/24")
    netns.address(pc, "eth0", "10.59.0.2/24")
    _many(pc, [f"address add 10.59.0.{last}/24 broadcast + dev eth0" for last in NEWCOMERS])
    _many(router, [f"address add 10.61.{s}.1/24 broadcast + dev far" for s in range(1, segments + 1)])
    _many(far, [f"address add {address}/24 dev eth0" for address in alive])
    netns.route(box, "10.59.0.128/25", "10.59.0.2")
    _know(box, "right", "10.59.0.2", pc, "eth0")
    _know(pc, "eth0", "10.59.0.1", box, "right")
    _know(box, "left", "10.60.0.1", router, "office")
    _know(router, "office", "10.60.0.2", box, "left")
    _know(far, "eth0", "10.61.1.1", router, "far")
    for host, interface, broadcast in (
        (pc, "eth0", "10.59.0.255"),
        (box, "right", "10.59.0.255"),
        (box, "left", "10.60.0.255"),
    ):
        _enter(host, interface, broadcast, "ff:ff:ff:ff:ff:ff")
    netns.route(far, "default", "10.61.1.1")
    netns.route(box, "default", "10.60.0.1")
    netns.route(pc, "default", "10.59.0.1")
    for host in (pc, box, router, far):
        host.rp_filter(0)
    router.forward()


def _know(where: netns.Namespace, interface: str, address: str, other: netns.Namespace, its: str) -> None:
    """A neighbour that is never looked for and never forgotten."""
    _enter(where, interface, address, other.ip("-brief", "link", "show", "dev", its).split()[2])


def _enter(where: netns.Namespace, interface: str, address: str, ether: str) -> None:
    where.ip("neighbour", "replace", address, "lladdr", ether, "dev", interface, "nud", "permanent")


def _many(where: netns.Namespace, lines: list[str]) -> None:
    """Many ``ip`` commands in one process."""
    where.run("ip", "-batch", "-", input="\n".join(lines) + "\n")


def _watch(
    daemon: Daemon, hosts: Hosts, newcomers: Newcomers, segments: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Let users start until all hosts are found and the pass is over, or the time is."""
    began = daemon.born + daemon.ready
    last = began + WITHIN * segments / SEGMENTS + SPARE
    number, left, ended = 0, 0, 0.0
    while time.monotonic() < last and not ended:
        if number < len(NEWCOMERS) and time.monotonic() >= began + number * START_EVERY:
            newcomers.start_one(100_000 + number, f"10.59.0.{NEWCOMERS[number]}", "10.59.0.255")
            number += 1
            if number % 10 == 0:
                say(
                    f"  {time.monotonic() - began:.0f} s: {left} addresses left, {len(hosts.asked)} hosts found"
                )
        time.sleep(LOOK_EVERY)
        left = daemon.ask("status")["relay"]["sweeping"]
        if left == 0:
            ended = time.monotonic() - began
    time.sleep(SPARE)
    return {"pass_seconds": ended, "starts": number, "cpu_seconds": daemon.cpu()}


def neighbours() -> dict[str, int]:
    """The kernel's counts over all namespaces: entries, and what was lost for want of room."""
    names, *rows = [line.split() for line in Path("/proc/net/stat/arp_cache").read_text().splitlines()]
    sums = {name: sum(int(row[at], 16) for row in rows) for at, name in enumerate(names)}
    sums["entries"] = int(rows[0][0], 16)  # the same number in every row
    return {key: sums[key] for key in ("entries", "table_fulls", "unresolved_discards", "forced_gc_runs")}


def _figures(data: dict[str, Any], segments: int) -> list[Figure]:
    whole = segments == SEGMENTS
    what = f"{data['addresses']:,} addresses, {data['alive']:,} alive, router with default limits"
    last = max(data["reached_after"], default=NEVER)
    fulls = data["neighbour_table"]["table_fulls"]
    missed = f"asked in vain; neighbour table full {fulls} times"
    limit = WITHIN if whole else None
    figures = [
        Figure(PART, "live hosts missed", len(data["missed"]), limit=0, note=missed),
        Figure(PART, "live hosts not listed at the end", len(data["not_listed"]), limit=0, note=what),
        Figure(PART, "last live host reached after", last, "s", limit, note=what),
    ]
    if data["pass_seconds"]:
        rate = data["addresses"] / data["pass_seconds"]
        note = f"pass over in {data['pass_seconds']:.0f} s, CPU {data['cpu_seconds']:.1f} s in all"
        figures.append(Figure(PART, "addresses asked per second", rate, note=note))
    answered, told = data["answered_after"], data["announced_after"]
    starts = f"slowest of {data['starts']} starts on our own wire meanwhile"
    note = f"the same, heard on our other wire; median {1000 * told[len(told) // 2]:.0f} ms"
    stall = data["counters"].get("longest loop stall in ms", 0)
    return [
        *figures,
        Figure(PART, "start answered within", answered[-1], "s", 1.0, note=starts),
        Figure(PART, "start announced within", told[-1], "s", 1.0, note=note),
        Figure(PART, "longest loop stall while sweeping", stall, "ms", 50, 10),
    ]
