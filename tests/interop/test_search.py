"""``camrelay search``: real clients are found; those added are served from then on, whatever becomes of the relay."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from .conftest import ONCE
from .rig import wait_until

if TYPE_CHECKING:
    from .conftest import Measure, StartIptux, StartRelay
    from .relay_box import RelayBox
    from .rig import Network

pytestmark = [pytest.mark.interop, ONCE]

# Few addresses: the neighbour table is one for the whole kernel.
ADDRESSES = ("10.77.2.11", "10.77.2.12", "10.77.2.13", "10.77.3.11")


def search(relay: RelayBox, *words: str) -> dict[str, Any]:
    return dict(json.loads(relay.command_line("search", *words, "--json")))


def test_clients_are_found_and_nobody_is_taken_in(
    iptux: StartIptux, relay: StartRelay, measure: Measure
) -> None:
    carol = iptux("b11", "carol", group="sales")
    ra = relay("ra")
    found = search(ra, *ADDRESSES)
    measure("four addresses searched", found["seconds"], at_most=7)
    (hit,) = found["found"]
    assert (hit["address"], hit["nick"], hit["group"], hit["kind"]) == (
        carol.address,
        "carol",
        "sales",
        "iptux",
    )
    assert (found["asked"], found["added"], hit["known"]) == (4, 0, False)
    assert carol.address not in ra.users()


def test_who_was_added_is_served_also_after_kill_9(
    network: Network, iptux: StartIptux, relay: StartRelay, measure: Measure
) -> None:
    alice = iptux("a11", "alice")
    carol = iptux("b11", "carol")
    ra = relay("ra")
    assert search(ra, *ADDRESSES, "--add")["added"] == 1
    both = max(alice.wait_listed(carol), carol.wait_listed(alice))
    assert both
    ra.kill()
    gone = carol.do("refresh")
    carol.wait("cleared", since=gone)
    began = ra.start()
    ra.ready()
    carol.wait("listed", since=gone, address=alice.address)
    measure("listed again after the restart", carol.wait_listed(alice) - began, at_most=5)
    assert [
        host["address"] for host in json.loads(ra.command_line("search", "--list", "--json"))["hosts"]
    ] == [carol.address]
    ra.command_line("search", "--forget", carol.address)
    wait_until(lambda: carol.address not in ra.online(), 5, "who was forgotten is served no more")
