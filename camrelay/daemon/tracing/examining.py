"""All checks of one host from here, at once where they do not disturb each other, within ``LONGEST``.

A host that answers is let go as soon as it has; one that does not is given the time that slow clients, routers looking
for a MAC and lost datagrams need.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import trio

from camrelay.daemon.probes.arp import arp_watch
from camrelay.daemon.probes.echo import icmp_fact
from camrelay.daemon.probes.hops import Walk, walk
from camrelay.daemon.probes.mtu import mtu_fact
from camrelay.daemon.probes.names import name_fact
from camrelay.daemon.probes.tcp import tcp_fact
from camrelay.daemon.probes.ways import neighbour_fact, route_fact
from camrelay.daemon.tracing.checklist import Checklist, ready
from camrelay.daemon.tracing.interview import Interview
from camrelay.daemon.tracing.known import Known
from camrelay.daemon.tracing.reaching import Reaching
from camrelay.daemon.tracing.talking import Talking
from camrelay.ipmsg.command import PORT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractContextManager

    from camrelay.daemon.control import Tell
    from camrelay.daemon.tracing import Stand
    from camrelay.daemon.tracing.checklist import Look
    from camrelay.trace.facts import Fact

LONGEST: Final = 11.5  # seconds in all


@dataclass(frozen=True, slots=True)
class Probes:
    """What measures, for tests to put others in its place. See ``camrelay.daemon.probes``."""

    name: Callable[[str], Awaitable[Fact]] = name_fact
    route: Callable[[str], Fact] = route_fact
    neighbour: Callable[[str], Awaitable[Fact]] = neighbour_fact
    icmp: Callable[[str], Awaitable[Fact]] = icmp_fact
    tcp: Callable[[str, int], Awaitable[Fact]] = tcp_fact
    walk: Callable[..., Awaitable[Walk]] = walk
    mtu: Callable[[str, int, Callable[[int], bytes]], Awaitable[Fact]] = mtu_fact
    arp: Callable[..., AbstractContextManager[Any]] = arp_watch


PROBES: Final = Probes()


async def examine(
    stand: Stand, address: str, tell: Tell, *, role: str = "", by: str = "", probes: Probes = PROBES
) -> list[Fact]:
    """The facts, in a fixed order. Raises nothing for what the network does.

    ``address``: dotted IPv4; only the clients that are asked notice anything. ``tell`` gets {"begun": check, "role",
    "by"}, then {"fact": Fact}, or {"dropped": check, "role", "by"} of a check that does not apply.
    """
    checks = Checklist(stand, tell, role, by)
    route = probes.route(address)
    if route.outcome in ("ourselves", "none"):
        await checks.run({"route": ready(route)}, LONGEST)
        return checks.facts
    talk = Interview(stand, address)
    known = Known(stand, address, talk.began)
    reaching = Reaching(stand, address, probes, checks, talk, route)
    talking = Talking(talk, checks, known, reaching, route)
    with stand.tap.listen(talk.wanted) as ear:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk.listen, ear)
            nursery.start_soon(talking.begin)
            await checks.run(_looks(address, probes, known, reaching, talking), LONGEST)
            nursery.cancel_scope.cancel()
    return checks.facts


def _looks(
    address: str, probes: Probes, known: Known, reaching: Reaching, talking: Talking
) -> dict[str, Look]:
    """All checks, in the order in which they are shown."""
    looks: dict[str, Look] = {
        "name": partial(probes.name, address),
        "route": ready(reaching.route),
        "neighbour": partial(probes.neighbour, address),
        "arp": reaching.arp,
        "icmp": partial(probes.icmp, address),
        "udp": talking.udp,
        "names": talking.names,
        "answer-ttl": talking.answer_ttl,
        "info": talking.info,
        "pubkey": talking.pubkey,
        "large": talking.large,
        "mtu": reaching.mtu,
        "tcp": partial(probes.tcp, address, PORT),
        "path": reaching.path,
        "path-other": reaching.path_other,
        "others": reaching.others,
        "others-tcp": reaching.others_tcp,
        "client": talking.client,
        "view": talking.view,
        **known.looks(),
    }
    if not reaching.on_link:
        del looks["arp"], looks["answer-ttl"]
    return looks
