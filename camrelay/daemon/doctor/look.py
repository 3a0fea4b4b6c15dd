"""All checks of the box, in the order in which they are shown."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from camrelay import __version__
from camrelay.daemon.doctor import firewall, host, running
from camrelay.daemon.doctor.box import Box
from camrelay.trace.facts import Fact

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from camrelay.config import Config

# Checks that are made once for each interface, segment, relay: a verdict is about one of these alone.
EACH: Final = frozenset({"interface", "firewall-udp", "firewall-tcp", "rp-filter", "sync", "speaking"})


def look(
    config: Config, status: Mapping[str, Any] | None, absent: Fact | None = None, box: Box | None = None
) -> Iterator[Fact]:
    """Facts as they are found. ``status``: the daemon's, None if it gave none, and ``absent`` says why."""
    box = box or Box()
    own = box.usable(config.relay.interfaces, config.also())
    if status is not None:
        yield running.daemon(status, __version__)
    elif absent is not None:
        yield absent
    yield configuration(config, status)
    runs = status is not None or (absent is not None and absent.outcome == "not-allowed")
    if status is not None or not runs:
        yield host.port(box, status["pid"] if status else None)
    yield from host.addresses(box, config)
    fleet = bool(status and status["fleet"]["peers"])
    yield from timed(firewall.facts(box, own, config.remote.segments, fleet, config.peers.port))
    yield from host.reverse_paths(box, own)
    yield host.neighbours(box, own)
    yield host.clock(box)
    yield host.disk(box, config.relay.state)
    if status is not None:
        yield from running.facts(status, config.peers.sync_every)


def configuration(config: Config, status: Mapping[str, Any] | None) -> Fact:
    """config: fine (path) | defaults | refused (problem): what runs is an older one."""
    problem = status["config"]["problem"] if status else None
    if problem:
        return Fact("config", "refused", detail={"problem": problem})
    return Fact("config", "fine", detail={"path": config.path}) if config.path else Fact("config", "defaults")


def timed(facts: Iterable[Fact]) -> Iterator[Fact]:
    """The first one carries the seconds that all of them took to begin."""
    began = time.perf_counter()
    for number, fact in enumerate(facts):
        if number:
            yield fact
        else:
            yield Fact(fact.check, fact.outcome, time.perf_counter() - began, fact.role, fact.by, fact.detail)
