"""What must hold in every world, whatever happened in it: each function returns the complaints it has."""

from __future__ import annotations

from bisect import bisect_left
from itertools import permutations

from camrelay.ipmsg.command import Command
from camrelay.ipmsg.packet import is_ipdict
from camrelay.relay.pacing import RATE, STEP
from tests.windows import Windows499
from tests.world import ALL, Client, RelayNode, Sent, World, segment_of

ANNOUNCING = (Command.BR_ABSENCE, Command.ANSENTRY, Command.BR_EXIT)
PACED = RATE * (1 + STEP * 2)  # unicast announcements in one second: the rate and one burst


def relay_addresses(world: World) -> set[str]:
    return {interface.address for relay in world.relays for interface in relay.interfaces}


def serves(relay: RelayNode, listener: Client, user: Client) -> bool:
    """Must this relay make ``listener`` list ``user``?

    With a key it can wherever it knows both, if the listener reads signed lists. Else it must be able to speak
    as the user, from a segment of its own or into one.
    """
    own = {segment_of(interface.address) for interface in relay.interfaces}
    swept = {text.rsplit(".", 1)[0] for text in relay.settings.remote}
    here, there = segment_of(listener.address), segment_of(user.address)
    if not relay.running or here == there or not {here, there} <= own | swept:
        return False
    if relay.key is not None and isinstance(listener, Windows499):
        return True
    return relay.can_speak and (here in own or there in own or relay.settings.between_remote)


def shown(user: Client) -> str:
    """What others should show of it."""
    return user.shown() if isinstance(user, Windows499) else user.nick


def not_listed(world: World) -> list[str]:
    """Live users of other segments who are missing in somebody's list, or shown with another nick."""
    alive = [client for client in world.clients if client.alive]
    return [
        f"{listener.nick} shows {listener.listed.get(user.address)} at {user.address}, not {shown(user)}"
        for listener, user in permutations(alive, 2)
        if listener.listed.get(user.address) != shown(user)
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


def twice(world: World) -> list[str]:
    """Who is shown in two lines of a Windows client."""
    return [
        f"{client.nick} shows {nick} twice"
        for client in world.clients
        if client.alive and isinstance(client, Windows499)
        for nick in client.table.twice()
    ]


def misread(world: World) -> list[str]:
    """Dictionaries that went to somebody who takes one for a user, or might be lost as fragments."""
    relays = relay_addresses(world)
    found = [f"{c.nick} misread {c.misreadings} dictionaries" for c in world.clients if c.misreadings]
    for sent in world.wire:
        if sent.sender in relays and is_ipdict(sent.data):
            if sent.to.endswith(".255") or sent.announces:
                found.append(f"a dictionary from {sent.source} to {sent.to}")
            if len(sent.data) > 1400 and sent.mode == Command.ANSLIST_DICT:
                found.append(f"a dictionary of {len(sent.data)} bytes to {sent.to}")
    return found


def misplaced(world: World) -> list[str]:
    """Announcements that went where they must not, or say what they must not."""
    relays = relay_addresses(world)
    return [found for sent in world.wire if (found := _complaint(sent, relays))]


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
        sent = [
            s for s in world.wire if s.sender in mine and not s.to.endswith(".255") and not is_ipdict(s.data)
        ]
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
    complaints = misplaced(world) + provoked(world) + too_fast(world) + misread(world)
    if settled:
        complaints += not_listed(world) + ghosts(world) + twice(world)
    assert not complaints, "\n".join(complaints)
