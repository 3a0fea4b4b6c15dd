"""Which interfaces are segments of ours, why, and when that changes."""

from __future__ import annotations

import socket
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest
import trio

from camrelay.daemon import interfaces
from camrelay.daemon.interfaces import Choice, explain, usable
from camrelay.relay.outputs import Interface
from tests import netns

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(netns.missing() is not None, reason=str(netns.missing()))


@pytest.fixture
def host() -> Iterator[netns.Namespace]:
    with netns.namespaces("crl", "host") as (here,):
        yield here


def plug(host: netns.Namespace, name: str, network: str = "") -> None:
    """An interface of this name with a cable in it."""
    host.ip("link", "add", name, "type", "veth", "peer", "name", f"{name[:10]}-far")
    host.ip("link", "set", name, "up")
    host.ip("link", "set", f"{name[:10]}-far", "up")
    if network:
        netns.address(host, name, network)


def reasons(host: netns.Namespace, names: list[str] | None = None) -> dict[tuple[str, str], tuple[bool, str]]:
    choices = host.call(explain, names, {})
    return {(choice.name, choice.address): (choice.used, choice.why) for choice in choices}


def test_an_ordinary_interface_is_a_segment(host: netns.Namespace) -> None:
    plug(host, "eth0", "10.5.0.7/22")
    index = host.call(socket.if_nametoindex, "eth0")
    assert host.call(usable, None, {}) == [Interface(index, "eth0", "10.5.0.7", "10.5.0.0/22", "10.5.3.255")]
    assert Choice(
        "eth0", "10.5.0.7", "10.5.0.0/22", True, "can broadcast, has a private address"
    ) in host.call(explain, None, {})


def test_an_address_without_a_broadcast_of_its_own_has_its_networks(host: netns.Namespace) -> None:
    plug(host, "eth0")
    host.ip("address", "add", "10.5.0.7/24", "dev", "eth0")
    assert [interface.broadcast for interface in host.call(usable, None, {})] == ["10.5.0.255"]


@pytest.mark.parametrize(
    "name",
    ["docker0", "br-0123456789ab", "virbr0", "lxcbr0", "cni0", "flannel.1", "vnet3", "veth12ab34", "vmnet8"],
)
def test_the_inside_of_containers_is_used_only_when_named(host: netns.Namespace, name: str) -> None:
    plug(host, name, "10.5.0.7/24")
    used, why = reasons(host)[name, "10.5.0.7"]
    assert (used, why[:37]) == (False, "belongs to containers or virtual mach")
    assert reasons(host, [name])[name, "10.5.0.7"] == (True, "named in the configuration")


@pytest.mark.parametrize("name", ["br0", "br-lan", "eth0.12", "wlan0", "bond0", "enp3s0", "vlan7", "lan0"])
def test_names_of_real_networks_are_used(host: netns.Namespace, name: str) -> None:
    plug(host, name, "192.168.5.7/24")
    assert reasons(host)[name, "192.168.5.7"][0]


def test_a_public_address_is_used_only_when_named(host: netns.Namespace) -> None:
    plug(host, "eth0", "11.5.0.7/24")
    assert reasons(host)["eth0", "11.5.0.7"][1].startswith("is a public address")
    assert reasons(host, ["eth0"])["eth0", "11.5.0.7"][0]


def test_what_cannot_be_a_segment_is_refused_even_when_named(host: netns.Namespace) -> None:
    plug(host, "eth1", "10.5.1.7/31")
    plug(host, "eth2", "10.5.2.7/24")
    host.ip("link", "set", "eth2", "down")
    plug(host, "eth3")
    host.ip("tuntap", "add", "tun0", "mode", "tun")
    host.ip("address", "add", "10.5.3.1", "peer", "10.5.3.2", "dev", "tun0")
    host.ip("link", "set", "tun0", "up")
    told = reasons(host, ["lo", "eth1", "eth2", "eth3", "tun0", "eth9"])
    assert told["lo", "127.0.0.1"] == (False, "is the loopback")
    assert told["eth1", "10.5.1.7"] == (False, "a network of /31 has no broadcast address")
    assert told["eth2", "10.5.2.7"] == (False, "is down")
    assert told["eth3", ""] == (False, "has no IPv4 address")
    assert told["eth9", ""] == (False, "named in the configuration, but there is no such interface")
    assert told["tun0", "10.5.3.1"][1].startswith("cannot broadcast (a tunnel?): name the networks behind it")
    assert host.call(usable, ["lo", "eth1", "eth2", "eth3", "tun0", "eth9"], {}) == []


def test_only_the_named_are_used(host: netns.Namespace) -> None:
    plug(host, "eth0", "10.5.0.7/24")
    plug(host, "eth1", "10.5.1.7/24")
    assert [interface.name for interface in host.call(usable, ["eth1"], {})] == ["eth1"]
    assert reasons(host, ["eth1"])["eth0", "10.5.0.7"] == (False, "not named in the configuration")


def test_a_pulled_cable_is_said_but_keeps_the_segment(host: netns.Namespace) -> None:
    plug(host, "eth0", "10.5.0.7/24")
    host.ip("link", "set", "eth0-far", "down")
    used, why = reasons(host)["eth0", "10.5.0.7"]
    assert (used, why.split(", ")[-1]) == (True, "no cable or no Wi-Fi at the moment")


def test_more_addresses_are_more_segments_but_one_per_network(host: netns.Namespace) -> None:
    plug(host, "eth0", "10.5.0.7/24")
    netns.address(host, "eth0", "10.5.0.8/24")
    host.ip("address", "add", "10.6.0.7/24", "broadcast", "+", "dev", "eth0", "label", "eth0:1")
    found = host.call(usable, ["eth0"], {"eth0": ["192.168.9.0/24"]})
    assert [(i.name, i.address, i.also) for i in found] == [
        ("eth0", "10.5.0.7", ("192.168.9.0/24",)),
        ("eth0", "10.6.0.7", ()),
    ]
    assert reasons(host)["eth0", "10.5.0.8"] == (False, "is in the same network as 10.5.0.7")


def test_changes_are_reported_once_per_volley(host: netns.Namespace) -> None:
    async def scenario() -> None:
        with trio.fail_after(10):
            async with aclosing(interfaces.changes()) as changes:
                await anext(changes)  # listening
                plug(host, "eth0", "10.5.0.7/24")  # five messages at least
                await anext(changes)
                with trio.move_on_after(2 * interfaces.QUIET) as patience:
                    await anext(changes)
                assert patience.cancelled_caught

    host.call(trio.run, scenario)


@pytest.mark.parametrize(
    "change",
    [
        "address add 10.5.0.9/24 dev eth0",
        "address delete 10.5.0.7/24 dev eth0",
        "link set eth0-far down",
        "link set eth0 down",
        "link delete eth0",
        "link add br7 type bridge",
    ],
)
def test_addresses_cables_and_interfaces_that_come_and_go_are_changes(
    host: netns.Namespace, change: str
) -> None:
    async def scenario() -> None:
        with trio.fail_after(10):
            async with aclosing(interfaces.changes()) as changes:
                await anext(changes)
                host.ip(*change.split())
                await anext(changes)

    plug(host, "eth0", "10.5.0.7/24")
    host.call(trio.run, scenario)


def test_changes_without_end_are_reported_all_the_same(host: netns.Namespace) -> None:
    async def chatter() -> None:
        while True:
            await trio.to_thread.run_sync(host.ip, "link", "set", "eth0", "alias", str(trio.current_time()))

    async def scenario() -> None:
        with trio.fail_after(10):
            async with aclosing(interfaces.changes(longest=0.5)) as changes, trio.open_nursery() as nursery:
                await anext(changes)
                nursery.start_soon(chatter)
                await anext(changes)
                nursery.cancel_scope.cancel()

    plug(host, "eth0")
    host.call(trio.run, scenario)
