"""What the daemon says of itself (its status, as JSON gives it) as facts. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from camrelay.trace.facts import Fact

if TYPE_CHECKING:
    from collections.abc import Iterator

Status = Mapping[str, Any]

SETTLED: Final = 60.0  # seconds after which a relay on a living segment has heard somebody
OLD_PROOF: Final = 3.0  # times sync_every without a proof that both know the same: then something is wrong


def daemon(status: Status, version: str) -> Fact:
    """daemon: runs | older (version, installed), with (pid, uptime)."""
    detail = {"pid": status["pid"], "uptime": status["uptime"], "version": status["version"]}
    if status["version"] != version:
        return Fact("daemon", "older", detail={**detail, "installed": version})
    return Fact("daemon", "runs", detail=detail)


def facts(status: Status, sync_every: float) -> Iterator[Fact]:
    """All that follows from a status."""
    yield privilege(status)
    yield buffers(status)
    yield receiving(status)
    yield database(status)
    yield from peers(status, sync_every)


def privilege(status: Status) -> Fact:
    """privilege: speaks | lists-only (unserved): may it announce users under their own addresses?"""
    relay = status["relay"]
    if relay["can_speak"]:
        return Fact("privilege", "speaks", detail={"source": status["sockets"]["source"]})
    return Fact("privilege", "lists-only", detail={"unserved": relay["unserved"]})


def buffers(status: Status) -> Fact:
    """buffers: granted | small | overflowed (lost), with (kib, wanted_kib)."""
    sockets = status["sockets"]
    got, wanted = sockets["receive_buffer"], sockets["receive_buffer_wanted"]
    detail = {"kib": got >> 10, "wanted_kib": wanted >> 10, "bytes": wanted}
    lost = status["counters"].get("receive buffer overflowed", 0)
    if lost:
        return Fact("buffers", "overflowed", detail={**detail, "lost": lost})
    return Fact("buffers", "granted" if got >= wanted else "small", detail=detail)


def receiving(status: Status) -> Fact:
    """receiving: hears (datagrams, users) | nothing (uptime) | early."""
    heard = status["counters"].get("datagrams heard", 0)
    if heard:
        return Fact("receiving", "hears", detail={"datagrams": heard, "users": status["relay"]["online"]})
    if status["uptime"] < SETTLED:
        return Fact("receiving", "early", detail={"uptime": round(status["uptime"])})
    return Fact("receiving", "nothing", detail={"uptime": round(status["uptime"])})


def database(status: Status) -> Fact:
    """database: works (path, users) | failing (error)."""
    found = status["database"]
    if found["error"]:
        return Fact("database", "failing", detail={"path": found["path"], "error": found["error"]})
    return Fact("database", "works", detail={"path": found["path"], "users": found["users"]})


def peers(status: Status, sync_every: float) -> Iterator[Fact]:
    """sync, each: in-step (ago) | behind (owed) | unproven | away (why), with (peer); or alone, or broken (why)."""
    fleet = status["fleet"]
    if fleet["problem"]:
        yield Fact("sync", "broken", detail={"why": fleet["problem"]})
    if not fleet["peers"] and not fleet["problem"]:
        yield Fact("sync", "alone")
    for peer in fleet["peers"]:
        detail: dict[str, Any] = {"peer": peer["name"]}
        if peer["state"] != "linked":
            yield Fact(
                "sync", "away", detail={**detail, "why": peer["why"] or peer["state"], "since": peer["since"]}
            )
        elif peer["owed"]:
            yield Fact("sync", "behind", detail={**detail, "owed": peer["owed"]})
        elif peer["synced"] is None or peer["synced"] > OLD_PROOF * sync_every:
            yield Fact("sync", "unproven", detail=detail)
        else:
            yield Fact("sync", "in-step", detail={**detail, "ago": round(peer["synced"])})
