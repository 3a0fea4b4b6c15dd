"""What the machine itself shows: who holds the port, addresses, kernel settings, clock, disk. Needs no daemon."""

from __future__ import annotations

import os
import time
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from camrelay.daemon.durably import reason
from camrelay.ipmsg.command import PORT
from camrelay.trace.facts import Fact

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from camrelay.config import Config
    from camrelay.daemon.doctor.box import Box
    from camrelay.relay.outputs import Interface

STRICT: Final = 1  # of rp_filter; 2 is loose
NEIGHBOURS: Final = 1024  # gc_thresh3 where the kernel does not tell: its default
ROOMY: Final = 8192  # what make install sets
DISK_LOW: Final = 256 << 20  # bytes: 20,000 users are 10 MB, and a database written anew needs as much again
DISK_FULL: Final = 16 << 20
YEARS: Final = range(2025, 2100)  # this version was not written before, and nobody will run it after
INIT: Final = 1  # systemd: it holds the sockets that it hands over


class Holder(NamedTuple):
    """A socket on our port. ``pids``: empty where we may not look."""

    uid: int
    inode: str
    pids: tuple[int, ...]
    name: str


def port(box: Box, pid: int | None) -> Fact:
    """port: ours | free | waiting | taken (holder) | shared (holder). ``pid``: the daemon's, if it runs."""
    found = list(holders(box))
    # Without root nobody's descriptors can be seen; then what is there is the daemon's, if that runs.
    others = [one for one in found if one.pids and not {pid, INIT} & set(one.pids)]
    if pid is not None:
        if others:
            return Fact("port", "shared", detail=_holder(others[0]))
        return Fact("port", "ours", detail={"pid": pid})
    if not found:
        return Fact("port", "free")
    if all(one.pids == (INIT,) for one in found):
        return Fact("port", "waiting")
    return Fact("port", "taken", detail=_holder((others or found)[0]))


def _holder(one: Holder) -> dict[str, Any]:
    pid = {"pid": one.pids[0]} if one.pids else {}
    return {"holder": one.name or f"a program of the user with id {one.uid}", "uid": one.uid, **pid}


def holders(box: Box) -> Iterator[Holder]:
    """Every socket bound to UDP 2425; one of IPv6 can hold it as well."""
    for table in ("udp", "udp6"):
        for line in (box.read("net", table) or "").splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9 and int(fields[1].rpartition(":")[2], 16) == PORT:
                # systemd goes last: what it handed over is held by somebody else.
                pids = tuple(
                    sorted(_processes(box, f"socket:[{fields[9]}]"), key=lambda pid: (pid == INIT, pid))
                )
                name = (box.read(str(pids[0]), "comm") or "").strip() if pids else ""
                yield Holder(int(fields[7]), fields[9], pids, name)


def _processes(box: Box, link: str) -> Iterator[int]:
    for process in box.proc.glob("[0-9]*"):
        try:
            if any(os.readlink(entry) == link for entry in (process / "fd").iterdir()):
                yield int(process.name)
        except OSError:
            continue


def addresses(box: Box, config: Config) -> Iterator[Fact]:
    """segments: some (networks) | none; and interface: used | unused (name, address, network, why), one for each."""
    own = box.usable(config.relay.interfaces, config.also())
    yield Fact(
        "segments",
        "some" if own else "none",
        detail={"networks": [one.network for one in own]} if own else {},
    )
    for choice in box.explain(config.relay.interfaces, config.also()):
        detail = {
            "interface": choice.name,
            "address": choice.address,
            "network": choice.network,
            "why": choice.why,
        }
        yield Fact("interface", "used" if choice.used else "unused", detail=detail)


def reverse_paths(box: Box, own: Sequence[Interface]) -> Iterator[Fact]:
    """rp-filter: off | fine | drops (networks), with (interface): strict drops whose way back leads elsewhere."""
    for one in own:
        modes = [box.sysctl(f"net/ipv4/conf/{name}/rp_filter") for name in ("all", one.name)]
        known = [mode for mode in modes if mode is not None]
        if not known:
            yield Fact(
                "rp-filter", "not-checked", detail={"interface": one.name, "why": "no such setting in /proc"}
            )
            continue
        strict = max(known) == STRICT
        lost = [network for network in one.also if strict and _elsewhere(box, network, one.name)]
        detail: dict[str, Any] = {"interface": one.name, "mode": max(known)}
        if lost:
            detail["networks"] = lost
        yield Fact("rp-filter", "drops" if lost else "fine" if strict else "off", detail=detail)


def _elsewhere(box: Box, network: str, interface: str) -> bool:
    first = IPv4Network(network)[1]
    return box.way(str(first)).interface != interface


def neighbours(box: Box, own: Sequence[Interface]) -> Fact:
    """neighbour-table: enough | small | overflowed, with (limit, wanted): hosts that may be talked to on our wires."""
    networks = {text for one in own for text in (one.network, *one.also)}
    wanted = sum(max(0, IPv4Network(text).num_addresses - 2) for text in networks)
    limit = box.sysctl("net/ipv4/neigh/default/gc_thresh3") or NEIGHBOURS
    detail = {"limit": limit, "wanted": wanted}
    full = table_fulls(box.read("net", "stat", "arp_cache") or "")
    if full and limit < ROOMY:  # counted since the machine started: what was mended since is no news
        return Fact("neighbour-table", "overflowed", detail={**detail, "times": full})
    return Fact("neighbour-table", "small" if wanted > limit else "enough", detail=detail)


def table_fulls(text: str) -> int:
    """How often the kernel's neighbour table was full: a column of hexadecimal numbers, one line for each CPU."""
    heads, *rows = [line.split() for line in text.splitlines()] or [[]]
    if "table_fulls" not in heads:
        return 0
    column = heads.index("table_fulls")
    return sum(int(row[column], 16) for row in rows if len(row) > column)


def clock(box: Box) -> Fact:
    """clock: kept | alone | wrong (now) | not-checked."""
    now = time.gmtime(box.wall())
    detail = {"now": time.strftime("%Y-%m-%d %H:%M:%S UTC", now)}
    if now.tm_year not in YEARS:
        return Fact("clock", "wrong", detail=detail)
    kept = box.synchronised()
    if kept is None:
        return Fact("clock", "not-checked", detail={**detail, "why": "the kernel does not say"})
    return Fact("clock", "kept" if kept else "alone", detail=detail)


def disk(box: Box, folder: str) -> Fact:
    """disk: enough | low | full | read-only, with (folder, free_mib); missing (folder, why)."""
    try:
        space = box.space(Path(folder))
    except OSError as error:
        return Fact("disk", "missing", detail={"folder": folder, "why": reason(error)})
    free = space.f_bavail * space.f_frsize
    detail = {"folder": folder, "free_mib": free >> 20}
    if space.f_flag & os.ST_RDONLY:
        return Fact("disk", "read-only", detail=detail)
    no_files = bool(space.f_files) and not space.f_favail
    if free < DISK_FULL or no_files:
        return Fact("disk", "full", detail=detail)
    return Fact("disk", "low" if free < DISK_LOW else "enough", detail=detail)
