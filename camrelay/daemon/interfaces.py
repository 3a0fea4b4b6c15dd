"""Which of this host's IPv4 addresses are segments of ours, why, and when that changes.

The rule kept here: without a word in the configuration only networks are used where people's PCs can be: up,
able to broadcast, with a private address, no inside of a container or a virtual machine. Each has its reason.
This is the only file that imports netifaces, which knows addresses but neither flags, indexes nor changes:
flags come from an ioctl (right in every network namespace, while /sys may show another one's), changes from
the kernel's route messages.
"""

from __future__ import annotations

import errno
import fcntl
import re
import socket
import struct
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import TYPE_CHECKING, Final, NamedTuple

import netifaces
import trio

from camrelay.relay.outputs import Interface

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence

SIOCGIFFLAGS: Final = 0x8913  # linux/sockios.h
IFF_UP: Final = 0x1  # linux/if.h
IFF_BROADCAST: Final = 0x2
IFF_LOOPBACK: Final = 0x8
IFF_POINTOPOINT: Final = 0x10
IFF_RUNNING: Final = 0x40

RTMGRP_LINK: Final = 0x1  # linux/rtnetlink.h
RTMGRP_IPV4_IFADDR: Final = 0x10
QUIET: Final = 0.25  # seconds without a further message: DHCP and cable changes come as volleys
LONGEST_WAIT: Final = 2.0  # and one that never ends is not waited for

# Networks inside this host, as Docker, Podman, libvirt, LXC, Kubernetes, VMware and VirtualBox name them.
INSIDE: Final = re.compile(
    r"docker\w*|br-[0-9a-f]{12}|podman\d+|virbr\d+(-nic)?|vnet\d+|(lxc|lxd|incus)br\d+|cni\S*|flannel\S*|cali\S*"
    r"|veth\S*|vmnet\d+|vboxnet\d+"
)


class Choice(NamedTuple):
    """One address of one interface (both empty where there is none), and whether and why it is used."""

    name: str
    address: str
    network: str
    used: bool
    why: str


def usable(names: Sequence[str] | None, also: Mapping[str, Sequence[str]]) -> list[Interface]:
    """Our segments. ``names``: only these interfaces (None: choose); ``also``: more networks on the wires."""
    return [interface for interface, choice in _look(names, also) if interface and choice.used]


def explain(names: Sequence[str] | None, also: Mapping[str, Sequence[str]]) -> list[Choice]:
    """Every interface and address of this host, and every name that does not exist, each with its reason."""
    return [choice for _, choice in _look(names, also)]


async def changes(quiet: float = QUIET, longest: float = LONGEST_WAIT) -> AsyncGenerator[None, None]:
    """Something about links or addresses may be different now: look again.

    The first comes at once, when the kernel has been asked to tell: nothing is missed between looking and
    listening. Close the generator (contextlib.aclosing).
    """
    with trio.socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as messages:
        await messages.bind((0, RTMGRP_LINK | RTMGRP_IPV4_IFADDR))
        while True:
            yield None
            await _message(messages)
            with trio.move_on_after(longest):
                over = False
                while not over:
                    with trio.move_on_after(quiet) as patience:
                        await _message(messages)
                    over = patience.cancelled_caught


async def _message(messages: trio.socket.SocketType) -> None:
    """One message. That the kernel had to drop some is a message, too."""
    try:
        await messages.recv(65536)
    except OSError as error:
        if error.errno != errno.ENOBUFS:
            raise


def _look(
    names: Sequence[str] | None, also: Mapping[str, Sequence[str]]
) -> Iterator[tuple[Interface | None, Choice]]:
    links: dict[str, list[IPv4Interface]] = {}
    for label in netifaces.interfaces():  # "eth0:1" is only a label of an address of eth0
        links.setdefault(label.partition(":")[0], []).extend(_addresses(label))
    for name, addresses in links.items():
        used, why = _judge_link(name, names)
        if not addresses:
            yield None, Choice(name, "", "", False, "has no IPv4 address" if used else why)
        more = tuple(also.get(name, ()))
        networks: dict[IPv4Network, IPv4Address] = {}
        for address in addresses:
            reason = "" if not used else _objection(address, networks.get(address.network), names)
            good = used and not reason
            interface = _interface(name, address, more) if good else None
            yield interface, Choice(name, str(address.ip), str(address.network), good, reason or why)
            if good:
                networks[address.network] = address.ip
                more = ()  # they are on the wire once, however many addresses we have there
    for name in names or ():
        if name not in links:
            yield (
                None,
                Choice(name, "", "", False, "named in the configuration, but there is no such interface"),
            )


def _interface(name: str, address: IPv4Interface, also: tuple[str, ...]) -> Interface | None:
    try:
        index = socket.if_nametoindex(name)
    except OSError:  # gone since we looked
        return None
    network = address.network
    return Interface(index, name, str(address.ip), str(network), str(network.broadcast_address), also)


def _judge_link(name: str, names: Sequence[str] | None) -> tuple[bool, str]:
    flags = _flags(name)
    if names is not None and name not in names:
        return False, "not named in the configuration"
    if not flags & IFF_UP:
        return False, "is down"
    if flags & IFF_LOOPBACK:
        return False, "is the loopback"
    if flags & IFF_POINTOPOINT or not flags & IFF_BROADCAST:
        return False, "cannot broadcast (a tunnel?): name the networks behind it in [remote] segments"
    cable = "" if flags & IFF_RUNNING else ", no cable or no Wi-Fi at the moment"
    if names is not None:
        return True, f"named in the configuration{cable}"
    if INSIDE.fullmatch(name):
        return False, "belongs to containers or virtual machines: name it in [relay] interfaces to use it"
    return True, f"can broadcast, has a private address{cable}"


def _objection(address: IPv4Interface, same: IPv4Address | None, names: Sequence[str] | None) -> str:
    """Why this address of a good link is not used; ``same``: one in the same network that is."""
    if address.network.prefixlen > 30:
        return f"a network of /{address.network.prefixlen} has no broadcast address"
    if names is None and not address.ip.is_private:
        return "is a public address: name the interface in [relay] interfaces to use it"
    return f"is in the same network as {same}" if same else ""


def _addresses(name: str) -> Iterator[IPv4Interface]:
    try:
        entries = netifaces.ifaddresses(name).get(netifaces.AF_INET, [])
    except ValueError:  # gone since we looked
        return
    for entry in entries:
        yield IPv4Interface((IPv4Address(entry["addr"]), entry.get("netmask", "255.255.255.255")))


def _flags(name: str) -> int:
    """0 for an interface that is gone."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as anything:
        try:
            answer = fcntl.ioctl(anything, SIOCGIFFLAGS, struct.pack("@16sh22x", name.encode(), 0))
        except OSError:
            return 0
    (flags,) = struct.unpack_from("@16xH", answer)
    return int(flags)
