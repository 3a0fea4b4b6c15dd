"""What must hold in every fleet, whatever happened in it: each function returns the complaints it has.

A user is to be known everywhere if some running relay hears it: one with an interface in its segment, or one that
sweeps its address. Of one name at several live addresses all relays choose the same one.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from camrelay.relay.copy import row_key
from camrelay.relay.messages import Changes, Rows
from camrelay.relay.user import plain
from tests.unit.relay.invariants import ghosts, misplaced, misread, provoked, shown, too_fast, twice
from tests.windows import Windows499
from tests.world import ALL, Client, segment_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from camrelay.relay.messages import PeerMessage
    from tests.fleet_world import Fleet, FleetNode, Key
    from tests.world import Sent


def key_of(client: Client) -> Key:
    """As the rosters name it."""
    logon, host = client.logon.decode(client.charset), client.host.decode(client.charset)
    return plain((logon.casefold(), host.casefold()))


def heard_by(client: Client, nodes: Iterable[FleetNode]) -> list[FleetNode]:
    """The running relays that hear this client first hand."""
    front = segment_of(client.address)
    return [
        node
        for node in nodes
        if node.running
        and (
            any(segment_of(interface.address) == front for interface in node.interfaces)
            or client.address in node.settings.remote
            or f"{front}.*" in node.settings.remote
        )
    ]


def present(fleet: Fleet) -> dict[Key, list[Client]]:
    """Who is to be in every roster."""
    found: dict[Key, list[Client]] = {}
    for client in fleet.world.clients:
        if client.alive and heard_by(client, fleet.nodes):
            found.setdefault(key_of(client), []).append(client)
    return found


def unequal(fleet: Fleet) -> list[str]:
    """Rosters that differ from what is there, or from each other."""
    truth = present(fleet)
    complaints = []
    rosters = {node: node.online() for node in fleet.nodes if node.running}
    for node, roster in rosters.items():
        complaints += [f"{node} has not {key}" for key in truth.keys() - roster.keys()]
        complaints += [
            f"{node} has {key} at {roster[key][0]}, who is gone" for key in roster.keys() - truth.keys()
        ]
        for key in truth.keys() & roster.keys():
            right = [(c.address, shown(c), c.group) for c in truth[key]]
            if roster[key] not in right:
                complaints.append(f"{node} has {key} as {roster[key]}, not {right}")
    for key in truth:
        if len({roster[key] for roster in rosters.values() if key in roster}) > 1:
            seen = {str(node): roster[key] for node, roster in rosters.items() if key in roster}
            complaints.append(f"{key} is not the same to all: {seen}")
    return complaints


def not_listed(fleet: Fleet) -> list[str]:
    """Live users of other segments who are missing in somebody's list, or shown with another nick."""
    truth = present(fleet)
    twins = {client for clients in truth.values() if len(clients) > 1 for client in clients}
    everybody = [client for clients in truth.values() for client in clients]
    one = next(node for node in fleet.nodes if node.running).online()
    complaints = []
    for listener in everybody:
        if listener in twins:
            continue  # it takes nobody of its own name
        for user in everybody:
            if segment_of(user.address) == segment_of(listener.address):
                continue
            if user in twins and (
                one[key_of(user)][0] != user.address
                or any(segment_of(listener.address) == segment_of(t.address) for t in truth[key_of(user)])
            ):
                continue
            if not tells(fleet, listener, user):
                continue
            if listener.listed.get(user.address) != shown(user):
                what = listener.listed.get(user.address)
                complaints.append(
                    f"{listener.nick} ({listener.address}) shows {what} at {user.address}, not {shown(user)}"
                )
    return complaints


def tells(fleet: Fleet, listener: Client, user: Client) -> bool:
    """Can a relay that hears ``listener`` tell it of ``user``? As in ``invariants.serves``.

    Beyond routers it speaks for those of its own segments: for others only where that is allowed.
    """
    here, there = segment_of(listener.address), segment_of(user.address)
    for node in heard_by(listener, fleet.nodes):
        own = {segment_of(interface.address) for interface in node.interfaces}
        if node.key is not None and isinstance(listener, Windows499):
            return True
        if node.can_speak and (here in own or there in own or node.settings.between_remote):
            return True
    return False


def owners(fleet: Fleet) -> list[str]:
    """Users whom not exactly one relay calls its own without a doubt, as their rows say."""
    claims: dict[Key, dict[FleetNode, int]] = {}
    for node in fleet.nodes:
        if node.running:
            for row in told_by(node, fleet):
                if row[1]:
                    claims.setdefault(row[0], {})[node] = row[1]
    return [f"{key} has no owner" for key in present(fleet) if key not in claims and len(fleet.nodes) > 1]


def told_by(node: FleetNode, fleet: Fleet) -> list[tuple[Key, int]]:
    """What one of its peers was last told, key and claim."""
    for other in fleet.nodes:
        if other is not node and other.running:
            for told in other.disk.told():
                if told.peer == node.id:
                    return [(row_key(row), row.claim) for row in told.rows]
    return []


def changes(said: Iterable[tuple[float, FleetNode, FleetNode, PeerMessage]]) -> Counter[Key]:
    """How often each user was told of, by change or by repair, to one peer."""
    found: Counter[Key] = Counter()
    for _, _, _, message in said:
        if isinstance(message, Changes | Rows):
            found.update(row_key(row) for row in message.rows)
        if isinstance(message, Changes):
            found.update(message.gone)
    return found


def highest_claim(fleet: Fleet) -> int:
    """The greatest claim that anybody ever told: grows with each change of the owner."""
    return max(
        (row.claim for *_, m in fleet.said if isinstance(m, Changes | Rows) for row in m.rows), default=0
    )


def relayed(fleet: Fleet, begun: float, source: str = "") -> Counter[tuple[str, str, int]]:
    """Announcements since then: source, segment that they went into by broadcast or else listener, and command."""
    return Counter(
        (sent.source, into(sent), sent.mode)
        for sent in fleet.world.since(begun)
        if sent.announces and source in ("", sent.source)
    )


def into(sent: Sent) -> str:
    """The segment of a broadcast, the listener of a unicast."""
    if sent.to == ALL:
        return segment_of(sent.sender)
    return segment_of(sent.to) if sent.to.endswith(".255") else sent.to


def check(fleet: Fleet, *, settled: bool = True) -> None:
    """Everything; ``settled``: all that was said has had the time to arrive."""
    world = fleet.world
    complaints = misplaced(world) + provoked(world) + too_fast(world) + misread(world)
    if settled:
        complaints += unequal(fleet) + not_listed(fleet) + ghosts(world) + twice(world) + owners(fleet)
    assert not complaints, "\n".join(complaints[:20])
