"""Which segment an address lives in: the longest prefix over our interfaces, the configured remote segments, and those
where relays of our fleet hear users.

Rules kept here: an address that belongs nowhere is nobody's, and what comes from it is dropped (design rule 2); what a
peer claims never takes an address away from a segment of ours.
"""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address, IPv4Network
from itertools import chain
from typing import TYPE_CHECKING

from camrelay.errors import UsageError
from camrelay.relay.slots import Slots

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from camrelay.relay.outputs import Interface
    from camrelay.relay.user import Dialect, User

# Enough for every address of 250 segments; what is beyond is looked up again.
MAX_REMEMBERED = 65_536
# Pieces of accept_from with somebody in them: 8 of its 16-bit networks. Strangers may speak from any of them.
MAX_PIECES = 2_048
MAX_CLAIMED = 65_536  # segments that peers claim, in all
EVERYBODY = "255.255.255.255"

OCTETS = 0xFFFFFF00  # the mask of a wildcard: the fourth octet is free
_OCTET = {str(octet): octet for octet in range(256)}


class Segment:
    """One broadcast domain. ``interface`` is ours on it, or None for one behind routers.

    ``addresses`` are those that the sweep asks (remote segments only). ``told``: known from peers only.
    """

    __slots__ = (
        "addresses",
        "fading",
        "groups",
        "indexes",
        "interface",
        "name",
        "network",
        "others",
        "ours_only",
        "served",
        "server",
        "slots",
        "told",
    )

    def __init__(
        self, name: str, interface: Interface | None = None, addresses: tuple[str, ...] = ()
    ) -> None:
        self.name = name
        self.network = _numbers(name)  # mask and base
        self.interface = interface
        self.addresses = addresses
        self.groups: dict[Dialect, dict[User, None]] = {}  # home users here now, by what they must be sent
        self.others: dict[User, None] = {}  # those here now that a peer told us of: not ours to tell anything
        self.slots = Slots()  # all of them, as they stand together in signed lists
        self.served = True  # do we tell those here of others? Else a peer does (see ``duty``)
        self.server: str | None = None  # the peer that does, if we do not
        self.ours_only = (
            False  # do we tell those here of the users of our own segments, and a peer of all others?
        )
        self.fading = False  # did we serve it until a moment ago? Then farewells are still ours, too
        self.told = False
        # The kernel's indexes of our interfaces here: one, or two where cable and Wi-Fi share a network.
        self.indexes: set[int] = {interface.index} if interface else set()

    @property
    def broadcast(self) -> str:
        """Where to reach everybody on our wire. A second network on it takes no directed broadcast of the first."""
        if self.interface is None:
            return ""
        return EVERYBODY if self.interface.also else self.interface.broadcast

    def add(self, user: User) -> None:
        """``user`` is here."""
        here = self.groups.setdefault(user.dialect, {}) if user.home else self.others
        here[user] = None
        self.slots.add(user)

    def discard(self, user: User) -> None:
        """``user`` is not here (any more)."""
        self.slots.discard(user)
        self.others.pop(user, None)
        group = self.groups.get(user.dialect)
        if group is not None:
            group.pop(user, None)
            if not group:
                del self.groups[user.dialect]

    def __len__(self) -> int:
        return len(self.others) + sum(map(len, self.groups.values()))

    def __bool__(self) -> bool:
        return True  # a segment without users is one

    @property
    def users(self) -> Iterator[User]:
        """Who is here now."""
        return chain(self.listeners, self.others)

    @property
    def listeners(self) -> Iterator[User]:
        """Those of them whom we hear first hand."""
        return chain.from_iterable(self.groups.values())

    def __repr__(self) -> str:
        return f"<Segment {self.name}>"


class Segments:
    """All segments of one configuration, and the way from an address to its own."""

    def __init__(
        self, interfaces: Iterable[Interface], remote: Iterable[str] = (), accept_from: Iterable[str] = ()
    ) -> None:
        self.own_addresses: frozenset[str] = frozenset()
        self.local: list[Segment] = []
        self.remote: list[Segment] = []
        self._networks: dict[int, dict[int, tuple[int, Segment | None]]] = {}  # mask: {base: (last, segment)}
        self._elsewhere: dict[
            str, Segment
        ] = {}  # /24 pieces of accept_from, made when somebody speaks from there
        self._known: dict[str, Segment | None] = {}
        self.claimed: list[Segment] = []  # by peers
        for interface in interfaces:
            self._add_local(interface)
        own = [(mask, base) for mask, networks in self._networks.items() for base in networks]
        for name, addresses in expand(remote).items():
            network = IPv4Network(name.replace("*", "0") + "/24")
            base = int(network.network_address)
            if not any(mask <= int(network.netmask) and base & mask == ours for mask, ours in own):
                self.remote.append(Segment(name, None, addresses))
                self._add(network, self.remote[-1])
        for text in accept_from:
            self._add(IPv4Network(text), None)
        self._networks = dict(sorted(self._networks.items(), reverse=True))
        for segment in self.remote:
            if self._networks and next(iter(self._networks)) > OCTETS:  # parts of it may be our own
                segment.addresses = tuple(a for a in segment.addresses if self._find(a) is segment)

    def _add_local(self, interface: Interface) -> None:
        self.own_addresses |= {interface.address}
        for segment in self.local:
            if segment.name == interface.network:  # a second interface on the same network
                segment.indexes.add(interface.index)
                return
        segment = Segment(interface.network, interface)
        self.local.append(segment)
        for text in (interface.network, *interface.also):
            self._add(IPv4Network(text), segment)

    def claim(self, text: str) -> Segment | None:
        """A peer hears users in ``text`` ("10.1.2.0/24", "10.1.2.*"): its segment, if that is a new one.

        Within a network of ours, or of another peer, nothing changes: what is there stays.
        """
        network = network_of(text)
        base = int(network.network_address)
        for mask, networks in self._networks.items():
            found = networks.get(base & mask)
            if found is not None and found[1] is not None and mask <= int(network.netmask):
                return None
        if len(self.claimed) >= MAX_CLAIMED:
            return None
        segment = Segment(text)
        segment.told, segment.served = True, False
        self.claimed.append(segment)
        mask = int(network.netmask)
        self._networks.setdefault(mask, {})[base] = (int(network.broadcast_address), segment)
        self._networks = dict(sorted(self._networks.items(), reverse=True))
        self._known.clear()
        return segment

    def _add(self, network: IPv4Network, segment: Segment | None) -> None:
        networks = self._networks.setdefault(int(network.netmask), {})
        networks.setdefault(int(network.network_address), (int(network.broadcast_address), segment))

    def of(self, address: str) -> Segment | None:
        """The segment of ``address``; None for one that is nobody's, a network's or a broadcast address."""
        try:
            return self._known[address]
        except KeyError:
            pass
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        segment = self._known[address] = self._find(address)
        return segment

    def _find(self, address: str) -> Segment | None:
        if address in self.own_addresses:
            return None
        value = number(address)
        for mask, networks in self._networks.items():
            base = value & mask
            if base in networks:
                last, segment = networks[base]
                if mask < 0xFFFFFFFE and value in (base, last):
                    return None
                return segment or self._piece(value)
        return None

    def _piece(self, value: int) -> Segment | None:
        name = f"{IPv4Address(value & 0xFFFFFF00)}"[: -len("0")] + "*"
        piece = self._elsewhere.get(name)
        if piece is None:
            if len(self._elsewhere) >= MAX_PIECES:
                inhabited = {n: s for n, s in self._elsewhere.items() if s.groups}
                if len(inhabited) >= MAX_PIECES:
                    return None
                self._elsewhere = inhabited
                self._known.clear()
            piece = self._elsewhere[name] = Segment(name)
        return piece

    @property
    def all(self) -> list[Segment]:
        """Local ones first, then remote ones, those of peers, and those that clients pointed at us came from."""
        return [*self.local, *self.remote, *self.claimed, *self._elsewhere.values()]

    @property
    def ours(self) -> list[Segment]:
        """Those that may be our part to serve."""
        return [*self.local, *self.remote, *self._elsewhere.values()]

    @property
    def pointed(self) -> list[Segment]:
        """Those that clients pointed at us came from."""
        return list(self._elsewhere.values())

    def named(self, text: str) -> Segment | None:
        """The segment an admin means by its name or by one of its addresses."""
        for segment in self.all:
            if text == segment.name or text in segment.addresses:
                return segment
        return None

    def remote_named(self, names: Iterable[str]) -> list[Segment]:
        """The same for several, which have to be of the configuration: else UsageError."""
        found = []
        for name in names:
            segment = self.named(name)
            if segment is None or not segment.addresses:
                known = ", ".join(s.name for s in self.remote) or "none"
                raise UsageError(f"{name} is no remote segment of the configuration (there: {known})")
            found.append(segment)
        return found


def number(address: str) -> int:
    """An address as a number; AddressValueError for anything else (a third of what IPv4Address takes)."""
    try:
        a, b, c, d = map(_OCTET.__getitem__, address.split("."))
    except (KeyError, ValueError):
        raise AddressValueError(f"{address!r} is no IPv4 address") from None
    return a << 24 | b << 16 | c << 8 | d


def _numbers(name: str) -> tuple[int, int]:
    """A segment's name as mask and base; nothing for a name that is none."""
    try:
        network = network_of(name)
    except ValueError:
        return 0, -1
    return int(network.netmask), int(network.network_address)


def network_of(text: str, strict: bool = True) -> IPv4Network:
    """A segment's name as a network: "10.1.2.0/24", "10.1.2.*" or "10.1.2.3". ValueError for anything else.

    ``strict``: also for host bits, which a peer's word may have.
    """
    return IPv4Network(text[:-1] + "0/24" if text.endswith(".*") else text, strict)


def expand(remote: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """``192.168.1.*`` to .1 to .254, single addresses gathered under the segment they live in; order kept."""
    found: dict[str, dict[str, None]] = {}
    for text in remote:
        front = text.rsplit(".", 1)[0]
        wanted = [f"{front}.{last}" for last in range(1, 255)] if text.endswith(".*") else [text]
        found.setdefault(f"{front}.*", {}).update(dict.fromkeys(wanted))
    return {name: tuple(addresses) for name, addresses in found.items()}
