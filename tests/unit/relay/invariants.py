"""What must hold in every world, whatever happened in it: each function returns the complaints it has."""

from __future__ import annotations

from bisect import bisect_left
from itertools import permutations

from camrelay.ipmsg.command import Command
from camrelay.relay.announce import RATE, STEP
from tests.world import ALL, Client, RelayNode, Sent, World, segment_of

ANNOUNCING = (Command.BR_ABSENCE, Command.ANSENTRY, Command.BR_EXIT)
PACED = RATE * (1 + STEP * 2)  # unicast announcements in one second: the rate and one burst


def relay_addresses(world: World) -> set[str]:
    return {interface.address for relay in world.relays for interface in relay.interfaces}


def serves(relay: RelayNode, listener: Client, user: Client) -> bool:
    """Must this relay make ``listener`` list ``user``? One of them must be on a segment of its own."""
    own = {segment_of(interface.address) for interface in relay.interfaces}
    swept = {text.rsplit(".", 1)[0] for text in relay.settings.remote}
    here, there = segment_of(listener.address), segment_of(user.address)
    if not relay.running or here == there or not {here, there} <= own | swept:
        return False
    return here in own or there in own or relay.settings.between_remote


def not_listed(world: World) -> list[str]:
    """Live users of other segments who are missing in somebody's list, or shown with another nick."""
    alive = [client for client in world.clients if client.alive]
    return [
        f"{listener.nick} shows {listener.listed.get(user.address)} at {user.address}, not {user.nick}"
        for listener, user in permutations(alive, 2)
        if listener.listed.get(user.address) != user.nick
        and any(serves(relay, listener, user) for relay in world.relays)
    ]


def ghosts(world: World) -> list[str]:
    """Users of other segments who are listed and not there."""
    there = {client.address for client in world.clients if client.alive} | relay_addresses(world)
    return [
        f"{listener.nick} still lists {nick} at {address}"
        for listener in world.clients
        if listener.alive
        for address, nick in listener.listed.items()
        if address not in there and segment_of(address) != segment_of(listener.address)
    ]


def misplaced(world: World) -> list[str]:
    """Announcements that went where they must not, or say what they must not."""
    return [found for sent in world.wire if (found := _complaint(sent, relay_addresses(world)))]


def _complaint(sent: Sent, relays: set[str]) -> str:
    if sent.sender not in relays or not sent.announces:
        return ""
    entered = segment_of(sent.sender if sent.to == ALL else sent.to)
    if entered == segment_of(sent.source):
        return f"{sent.source} announced into its own segment, to {sent.to}"
    if sent.mode not in ANNOUNCING:
        return f"{sent.source} announced with command {sent.mode}"
    if sent.source in relays:
        return f"a relay announced as a user: {sent.source}"
    if sent.to.endswith(".255") and sent.ttl != 1:
        return f"a broadcast announcement with ttl {sent.ttl}"
    return ""


def provoked(world: World) -> list[str]:
    """Clients that sent something because of an announcement."""
    return [f"{c.nick} sent {c.provoked} because of announcements" for c in world.clients if c.provoked]


def too_fast(world: World) -> list[str]:
    """More in one second than the pace allows: questions beyond routers, announcements by unicast."""
    found = []
    for relay in world.relays:
        mine = {interface.address for interface in relay.interfaces}
        own = {segment_of(address) for address in mine}
        sent = [s for s in world.wire if s.sender in mine and not s.to.endswith(".255")]
        asked = [s.time for s in sent if not s.announces and segment_of(s.to) not in own]
        told = [s.time for s in sent if s.announces]
        # What answers a hint is not paced: it comes one by one, from those who moved us to it.
        if (most := busiest(asked)) > relay.settings.sweep_rate * 1.1:
            found.append(f"{most} questions in one second")
        if (most := busiest(told)) > PACED:
            found.append(f"{most} announcements by unicast in one second")
    return found


def busiest(times: list[float]) -> int:
    """How many of the sorted ``times`` lie within the busiest second."""
    return max((i + 1 - bisect_left(times, t - 1.0 + 1e-6) for i, t in enumerate(times)), default=0)


def check(world: World, *, settled: bool = True) -> None:
    """Everything; ``settled``: all that was said has had the time to arrive."""
    complaints = misplaced(world) + provoked(world) + too_fast(world)
    if settled:
        complaints += not_listed(world) + ghosts(world)
    assert not complaints, "\n".join(complaints)
