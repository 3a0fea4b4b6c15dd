"""Does this box's own firewall let IPMSG in? Reads nftables, or iptables where there is no nft, for each segment."""

from __future__ import annotations

import json
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from camrelay.daemon.doctor import iptables
from camrelay.daemon.doctor.ruleset import Ruleset
from camrelay.daemon.doctor.walk import Outcome, Packet, Span, all_of, span_of
from camrelay.ipmsg.command import PORT
from camrelay.trace.facts import Fact

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from camrelay.daemon.doctor.box import Box
    from camrelay.relay.outputs import Interface

Firewall = Callable[[Packet], Outcome]

PRESENCE: Final = Span(PORT, PORT)
ANY_PORT: Final = Span(1024, 65535)
MOST_NAMED: Final = 16  # segments in one fact


class Origin(NamedTuple):
    """Where datagrams come from: a segment (own: with its broadcast), through which interface, to which address."""

    name: str
    hosts: Span
    interface: str
    address: str
    broadcast: str = ""


def facts(
    box: Box, own: Sequence[Interface], remote: Iterable[str], fleet: bool, peers_port: int
) -> Iterator[Fact]:
    """firewall-udp and firewall-tcp: open | closed | answers | unsure (segments, rule), or unread | failed (why)."""
    firewall = read(box)
    if isinstance(firewall, Fact):
        yield firewall
        return
    here = [origin(one) for one in own]
    far = [found for text in remote if (found := beyond(box, text, own))]
    yield from together("firewall-udp", [(one, presence(firewall, one)) for one in (*here, *far)])
    if fleet:
        ports = Span(peers_port, peers_port)
        files = [(one, firewall(_packet(one, "tcp", ANY_PORT, ports))) for one in (*here, *far)]
        yield from together("firewall-tcp", files)


def read(box: Box) -> Firewall | Fact:
    """Who decides about a packet here; or why that cannot be told."""
    listed = box.run(("nft", "-j", "list", "ruleset"))
    if listed.code == 0:
        return _nftables(box, listed.out)
    by_iptables = box.run(("iptables", "-S"))
    if by_iptables.code == 0:
        return lambda packet: iptables.outcome(by_iptables.out, packet)
    if listed.code == by_iptables.code == -1:
        return Fact("firewall-udp", "no-program")
    if not box.root:
        return Fact("firewall-udp", "unread")
    why = listed.err if listed.code != -1 else by_iptables.err
    return Fact("firewall-udp", "not-checked", detail={"why": " ".join(why.split())[:200]})


def _nftables(box: Box, text: str) -> Firewall | Fact:
    try:
        document: Any = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        return Fact("firewall-udp", "not-checked", detail={"why": "nft gave no JSON (built without it?)"})
    found = Ruleset(document, box.run(("nft", "-a", "list", "ruleset")).out)
    clearer = box.run(("iptables", "-S")).out if found.of_iptables else ""
    # iptables of the old kind keeps rules of its own beside nft's.
    legacy = "filter" in (box.read("net/ip_tables_names") or "").split()
    beside = box.run(("iptables-legacy", "-S")).out if legacy else ""

    def outcome(packet: Packet) -> Outcome:
        said = found.outcome(packet)
        if said.word == "unsure" and clearer:
            said = iptables.outcome(clearer, packet)
        return all_of((said, iptables.outcome(beside, packet))) if beside else said

    return outcome


def origin(one: Interface) -> Origin:
    """The hosts of a segment of ours."""
    network = span_of(one.network)
    return Origin(one.network, Span(network.low + 1, network.high - 1), one.name, one.address, one.broadcast)


def beyond(box: Box, text: str, own: Sequence[Interface]) -> Origin | None:
    """Hosts of a remote segment ("10.1.2.*", "10.1.2.3") come in where the way there leads. None: ours, or no way."""
    network = span_of(text[:-1] + "0/24" if text.endswith(".*") else text)
    hosts = Span(network.low + 1, network.high - 1) if text.endswith(".*") else network
    first = IPv4Address(hosts.low)
    if any(first in IPv4Network(one.network) for one in own):
        return None
    way = box.way(str(first))
    if way.error or way.ourselves:
        return None
    return Origin(text, hosts, way.interface, way.source)


def presence(firewall: Firewall, one: Origin) -> Outcome:
    """Presence: by unicast, and in own segments by broadcast; from others at least the answers to our questions."""
    unicast = firewall(_packet(one, "udp", PRESENCE, PRESENCE))
    if one.broadcast:
        to_all = _packet(one, "udp", PRESENCE, PRESENCE)._replace(
            destination=span_of(one.broadcast), broadcast=True
        )
        return max(firewall(to_all), unicast, key=_worse)
    if unicast.word == "drop":
        answer = firewall(_packet(one, "udp", PRESENCE, PRESENCE)._replace(state="established"))
        if answer.word == "accept":
            return Outcome("answers", unicast.rule)
    return unicast


def _worse(outcome: Outcome) -> int:
    return ("accept", "unsure", "drop").index(outcome.word)


def _packet(one: Origin, protocol: str, sport: Span, dport: Span) -> Packet:
    return Packet(one.interface, one.hosts, span_of(one.address), protocol, sport, dport, "new")


def together(check: str, found: Sequence[tuple[Origin, Outcome]]) -> Iterator[Fact]:
    """One fact for all segments with the same outcome by the same rule."""
    groups: dict[Outcome, list[str]] = {}
    for one, outcome in found:
        groups.setdefault(outcome, []).append(one.name)
    words = {"accept": "open", "drop": "closed"}
    for outcome, names in groups.items():
        detail: dict[str, Any] = {"segments": names[:MOST_NAMED], "count": len(names)}
        if outcome.rule:
            detail["rule"] = outcome.rule
        yield Fact(check, words.get(outcome.word, outcome.word), detail=detail)
