"""What a roster costs: memory, start-up, the listing, and how soon a client that joins hears of 500 others.

    joining client 10.81.0.0/24 --- box --- 10.82.0.0/24 --- router; the users live in segments behind it

The database is filled by the daemon's own store: everybody online and heard 10 s ago, as after a restart. Also here,
because it is the same with an empty one: what the daemon costs at rest.
"""

from __future__ import annotations

import shutil
import socket
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import trio

from camrelay.daemon.log import Log
from camrelay.daemon.store import Store
from camrelay.relay.user import SavedUser
from tests import netns
from tests.bench.daemon import ROOT, environment, running
from tests.bench.figures import MB, Figure
from tests.bench.talkers import Listener
from tests.bench.words import of_user

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.bench.daemon import Daemon

ROSTERS = (20_000, 100_000)
HEARD_AGO, JOINED_AGO = 10.0, 3600.0
PC, PC_BROADCAST = "10.81.0.2", "10.81.0.255"
HEAR_OF = 500  # users
HEAR_MOST = 15.0  # seconds
CALM_WITHIN = 30.0  # seconds for what a start sets in motion; the rest goes on beside
JAPANESE = "\u5c71\u7530\u592a\u90ce"  # every tenth user: names in two charsets


def measure_idle(
    scratch: Path, starts: int, watch: float, say: Callable[[str], None]
) -> tuple[list[Figure], dict[str, Any]]:
    """An empty roster."""
    folder, config = scratch / "idle", ['interfaces = ["left", "right"]']
    took, memory = [], []
    with _box() as (_, box):
        with running(box, folder, config):
            pass  # compiles, and makes the database
        for _ in range(starts):
            with running(box, folder, config) as daemon:
                took.append(daemon.ready)
                time.sleep(0.5)
        say(f"idle: nothing happens for {watch:.0f} s")
        with running(box, folder, config) as daemon:
            time.sleep(2.0)
            used, began = daemon.cpu(), time.monotonic()
            time.sleep(watch)
            per_minute = (daemon.cpu() - used) / (time.monotonic() - began) * 60
            memory.append(daemon.memory())
            counters, buffers = daemon.counters(), daemon.buffers()
            asked = daemon.memory()
    shutil.rmtree(folder)
    ready, rest = statistics.median(took) * 1e3, max(memory)
    spread = f"median of {starts}, exec of python to READY=1; {min(took) * 1e3:.0f} to {max(took) * 1e3:.0f}"
    stall = counters.get("longest loop stall in ms", 0)
    later = f"{asked / MB:.1f} once asked for status"
    figures = [
        Figure("idle", "ready after", ready, "ms", 500, 250, spread),
        Figure("idle", "resident memory", rest / MB, "MB", 45, 32, later),
        Figure("idle", "CPU per minute", per_minute * 1e3, "ms", note="without systemd's watchdog"),
        Figure("idle", "longest loop stall at rest", stall, "ms", 50, 10),
    ]
    return figures, {
        "ready": took,
        "memory": rest,
        "memory_after_status": asked,
        "cpu_per_minute": per_minute,
        "buffers": buffers,
    }


def measure(
    sizes: tuple[int, ...], scratch: Path, idle: int | None, say: Callable[[str], None]
) -> tuple[list[Figure], dict[str, Any]]:
    """Rosters of these sizes. ``idle``: bytes of a daemon with none."""
    figures: list[Figure] = []
    data: dict[str, Any] = {}
    for size in sizes:
        say(f"a roster of {size:,}")
        found = data[str(size)] = _measure_one(size, scratch / f"roster-{size}")
        figures += _figures(size, found, idle)
        data["buffers"] = found.pop("buffers")
    return figures, data


def _measure_one(size: int, folder: Path) -> dict[str, Any]:
    segments = [f"10.{100 + n // 250}.{n % 250}" for n in range(-(-size // 254))]
    trio.run(_seed, folder, segments, size)
    names = ", ".join(f'"{segment}.*"' for segment in segments)
    config = ['interfaces = ["left", "right"]', 'log_level = "warning"', "[remote]", f"segments = [{names}]"]
    found: dict[str, Any] = {}
    with _box() as (pc, box), running(box, folder, config) as daemon:
        found["ready"] = daemon.ready
        found["stall_of_start"] = daemon.counters().get("longest loop stall in ms", 0)
        found["heard_after_start"] = _join(pc, 1)
        found["calm_after"] = _calm(daemon)
        found["memory"] = daemon.memory()
        used = daemon.cpu()
        time.sleep(5.0)
        found["cpu_per_minute"] = (daemon.cpu() - used) * 12
        found["heard"] = _join(pc, 2)
        found["listing"], found["bytes"], rows = _list(daemon)
        found["listing_by_command"] = _list_by_command(folder)
        found["memory_after_listing"] = daemon.memory()
        status, found["buffers"] = daemon.ask("status"), daemon.buffers()
        found["counters"], found["online"], found["rows"] = (
            status["counters"],
            status["relay"]["online"],
            rows,
        )
    shutil.rmtree(folder)
    return found


async def _seed(folder: Path, segments: list[str], size: int) -> None:
    """Fill the database as the daemon would."""
    store = Store.open(folder, Log())
    for number in range(size):
        nick = (f"{JAPANESE} {number}" if number % 10 == 0 else f"Mr {number}").encode()
        datagram = of_user(number, nick=nick)
        address = f"{segments[number // 254]}.{1 + number % 254}"
        user = SavedUser(datagram, "", address, 2425, True, HEARD_AGO, JOINED_AGO)
        store.save((f"user-{number:06}", f"pc-{number:06}"), user)
    if not await store.flush():
        raise RuntimeError(f"the database could not be filled: {store.error}")
    store.close()


@contextmanager
def _box() -> Iterator[tuple[netns.Namespace, netns.Namespace]]:
    """A box with a PC on one wire and a router that leads nowhere on the other."""
    with netns.namespaces("crb", "pc", "box", "router") as (pc, box, router):
        netns.veth(pc, "eth0", box, "left")
        netns.veth(router, "eth0", box, "right")
        for last in (2, 3, 4):
            netns.address(pc, "eth0", f"10.81.0.{last}/24")
        netns.address(box, "left", "10.81.0.1/24")
        netns.address(box, "right", "10.82.0.1/24")
        netns.address(router, "eth0", "10.82.0.2/24")
        netns.route(box, "default", "10.82.0.2")
        netns.route(pc, "default", "10.81.0.1")
        for host in (pc, box, router):
            host.rp_filter(0)
        yield pc, box


def _join(pc: netns.Namespace, number: int) -> float:
    """Seconds from a client's start until 500 external users were announced to it alone, by unicast."""
    address = f"10.81.0.{2 + number}"
    with Listener(pc, address) as client:
        began = time.monotonic()
        client.say(of_user(900_000 + number), PC_BROADCAST, address)
        while time.monotonic() < began + HEAR_MOST and len(client.heard) < HEAR_OF + 1:
            time.sleep(0.02)
        heard = sorted(when - began for source, when in list(client.heard.items()) if source != "10.81.0.1")
    return heard[HEAR_OF - 1] if len(heard) >= HEAR_OF else HEAR_MOST


def _calm(daemon: Daemon) -> float:
    """Seconds from readiness until nothing waits to be told any more."""
    until = time.monotonic() + CALM_WITHIN
    while time.monotonic() < until and daemon.ask("status")["relay"]["waiting"]:
        time.sleep(0.5)
    return time.monotonic() - daemon.born - daemon.ready


def _list(daemon: Daemon) -> tuple[float, int, int]:
    """Seconds, bytes and rows of the whole roster at the control socket, not parsed."""
    began = time.monotonic()
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(60)
        asking.connect(str(daemon.control))
        asking.sendall(b'{"v":1,"do":"users"}\n')
        pieces = []
        while piece := asking.recv(1 << 20):
            pieces.append(piece)
    took = time.monotonic() - began
    data = b"".join(pieces)
    return took, len(data), data.count(b'"logon"')


def _list_by_command(folder: Path) -> float:
    """Seconds of ``camrelay users --json``, start of Python included."""
    command = [sys.executable, "-m", "camrelay", "users", "--json", "--config", str(folder / "camrelay.toml")]
    began = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT, env=environment(), timeout=120)
    return time.monotonic() - began


def _figures(size: int, found: dict[str, Any], idle: int | None) -> list[Figure]:
    part = f"{size:,} users"
    small = size <= ROSTERS[0]
    memory, after = found["memory"], found["memory_after_listing"]
    note = f"{after / MB:.1f} after everybody was listed"
    if idle:
        note = f"{(memory - idle) / size:.0f} bytes per user; {note}"
    stall, of_start = found["counters"].get("longest loop stall in ms", 0), found["stall_of_start"]
    calm, after_start = f"calm {found['calm_after']:.0f} s after the start", "while everybody is told again"
    if found["calm_after"] > CALM_WITHIN:
        calm = f"{CALM_WITHIN:.0f} s after the start, which is still being told to remote listeners"
    listed = f"{found['rows']:,} rows, {found['bytes'] / MB:.1f} MB"
    listed += f"; camrelay users --json {found['listing_by_command']:.1f} s"
    ready, most = found["ready"] * 1e3, max(memory, after) / MB
    return [
        Figure(part, "ready after", ready, "ms", 1000 if small else None, None, "a restart"),
        Figure(part, "resident memory", most, "MB", 100 if small else None, None, note),
        Figure(part, "a joining client hears 500", found["heard"], "s", 2.0, None, calm),
        Figure(
            part, "the same right after the start", found["heard_after_start"], "s", 2.0, None, after_start
        ),
        Figure(part, "the whole roster listed", found["listing"] * 1e3, "ms", note=listed),
        Figure(part, "longest loop stall", stall, "ms", 50, 10, f"{of_start} at the start"),
        Figure(part, "CPU at rest, per minute", found["cpu_per_minute"], "s", note="the sweep goes on"),
    ]
