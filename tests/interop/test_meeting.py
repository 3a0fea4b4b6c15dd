"""Clients of two segments find each other through a relay, whoever starts first, and then talk directly."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from .conftest import ONCE
from .rig import stays, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Measure, StartIpMessenger, StartIptux, StartRelay, StartWindow
    from .rig import Network

pytestmark = pytest.mark.interop

B_CLIENTS = ("10.77.2.11", "10.77.2.12")
A_CLIENTS = ("10.77.1.11", "10.77.1.12")


def test_two_interfaces_relay_first(iptux: StartIptux, relay: StartRelay, measure: Measure) -> None:
    relay("dual")
    alice = iptux("a11", "alice")
    alice.settle()
    carol = iptux("b11", "carol")
    both = max(alice.wait_listed(carol), carol.wait_listed(alice))
    measure("both listed after the later client's start", both - carol.started, at_most=1)


def test_two_interfaces_relay_last(iptux: StartIptux, relay: StartRelay, measure: Measure) -> None:
    alice = iptux("a11", "alice", wait=False)
    carol = iptux("b11", "carol")
    alice.ready()
    late = relay("dual", wait=False)
    began = late.start()
    both = max(alice.wait_listed(carol), carol.wait_listed(alice))
    measure("both listed after the relay's start", both - began, at_most=2)


def test_two_interfaces_relay_in_the_middle(iptux: StartIptux, relay: StartRelay, measure: Measure) -> None:
    alice = iptux("a11", "alice")
    relay("dual")
    carol = iptux("b11", "carol")
    both = max(alice.wait_listed(carol), carol.wait_listed(alice))
    measure("both listed after the later client's start", both - carol.started, at_most=1)


def test_all_start_at_once(iptux: StartIptux, relay: StartRelay, measure: Measure) -> None:
    box = relay("dual", wait=False)
    began = box.start()
    boxes = {"a11": "alice", "a12": "bob", "b11": "carol", "b12": "dave"}
    clients = [iptux(name, nick, wait=False) for name, nick in boxes.items()]
    for client in clients:
        client.ready()
    last = max(client.wait_listed(*clients) for client in clients)
    measure("four clients list each other after the first start", last - began, at_most=3)


def test_message_and_file_cross_both_ways(
    network: Network, iptux: StartIptux, relay: StartRelay, some_file: Path, tmp_path: Path
) -> None:
    relay("dual")
    alice = iptux("a11", "アリス", group="開発")
    carol = iptux("b11", "carol")
    alice.wait_listed(carol)
    carol.wait_listed(alice)
    alice.say(carol, "会議は三時です")
    carol.say(alice, "noted: three o'clock")
    original = some_file.read_bytes()
    assert alice.take_file(carol, some_file, tmp_path / "carol").read_bytes() == original
    assert carol.take_file(alice, some_file, tmp_path / "alice").read_bytes() == original
    carried = [seen for seen in network.capture.all(sender="dual") if seen.mode in (0x20, 0x21)]
    assert not carried, "messages and receipts go directly, the relay carries none"


def test_iptux_that_prefers_gb18030(iptux: StartIptux, relay: StartRelay) -> None:
    """It sends GB18030 with a mark that says UTF-8; whatever it gets with that mark it takes for UTF-8."""
    relay("dual")
    alice = iptux("a11", "アリス", group="開発")
    wang = iptux("b11", "王小明", group="研究", charset="gb18030")
    alice.wait_listed(wang)
    wang.wait_listed(alice)
    stays(
        lambda: wang.listed()[alice.address] == "アリス", 0.5, "what came by broadcast and by unicast agree"
    )
    wang.say(alice, "你好")
    alice.say(wang, "你好")


def test_swept_segment(
    iptux: StartIptux,
    relay: StartRelay,
    measure: Measure,
    some_file: Path,
    tmp_path: Path,
) -> None:
    """One relay in segment a alone; b is asked address by address."""
    alice = iptux("a11", "alice", wait=False)
    carol = iptux("b11", "carol")
    alice.ready()
    ra = relay("ra", wait=False, segments=B_CLIENTS)
    began = ra.start()
    both = max(alice.wait_listed(carol), carol.wait_listed(alice))
    measure("both listed after the relay's start (first pass)", both - began, at_most=2)
    alice.say(carol, "from the relay's segment")
    carol.say(alice, "from the swept one")
    original = some_file.read_bytes()
    assert alice.take_file(carol, some_file, tmp_path / "carol").read_bytes() == original
    assert carol.take_file(alice, some_file, tmp_path / "alice").read_bytes() == original

    dave = iptux("b12", "dave")
    assert ra.ready().sweep()["total"] == len(B_CLIENTS)
    both = max(alice.wait_listed(dave), dave.wait_listed(alice))
    measure("both listed after `camrelay sweep`, later client beyond", both - dave.started, at_most=5)
    bob = iptux("a12", "bob")
    both = max(bob.wait_listed(carol, dave), carol.wait_listed(bob), dave.wait_listed(bob))
    measure("all listed after the later client's start here", both - bob.started, at_most=1)

    given = carol.rename("caroline")
    bob.wait("changed", since=given, address=carol.address, name="caroline")
    wait_until(lambda: ra.users()[carol.address]["nick"] == "caroline", 1, "the relay knows the new name")
    given = dave.stop()
    bob.wait_gone(dave, since=given)
    wait_until(lambda: dave.address not in ra.online(), 6, "the relay knows that dave left")
    assert carol.address in ra.online()


@ONCE
def test_wildcard_segment(iptux: StartIptux, relay: StartRelay, measure: Measure) -> None:
    """254 addresses, two of them alive, at the default pace."""
    alice = iptux("a11", "alice", wait=False)
    carol = iptux("b11", "carol", wait=False)
    dave = iptux("b12", "dave")
    ra = relay("ra", wait=False, segments=["10.77.2.*"])
    began = ra.start()
    both = max(alice.ready().wait_listed(carol, dave), carol.wait_listed(alice), dave.wait_listed(alice))
    measure("all listed after the relay's start", both - began, at_most=3)
    wait_until(lambda: ra.ready().status()["relay"]["sweeping"] == 0, 5, "the pass ends")
    measure("one pass over 254 addresses", time.monotonic() - began)


def test_two_swept_segments_hear_of_each_other_only_if_asked_for(
    network: Network, iptux: StartIptux, relay: StartRelay
) -> None:
    """Speaking as b into c from a: a router with a strict reverse path check drops it, so the key is off."""
    alice = iptux("a11", "alice", wait=False)
    carol = iptux("b11", "carol", wait=False)
    erin = iptux("c11", "erin")
    ra = relay("ra", segments=["10.77.2.11", "10.77.3.11"])
    alice.ready().wait_listed(carol, erin)
    for client in (carol, erin):
        client.wait_listed(alice)
    stays(lambda: erin.address not in carol.listed(), 0.5, "by default nobody speaks as b into c")
    ra.stop()
    network.capture.forget()
    relay("ra2", segments=["10.77.2.11", "10.77.3.11"], remote=["between_remote = true"])
    wait_until(
        lambda: network.capture.all(sender="ra2", source=erin.address, to=carol.address), 3, "now it does"
    )
    if network.rp_filter:
        stays(lambda: erin.address not in carol.listed(), 0.5, "this router drops it")
    else:
        carol.wait_listed(erin)
        erin.wait_listed(carol)


@ONCE
def test_next_pass_of_the_sweep(iptux: StartIptux, relay: StartRelay, measure: Measure) -> None:
    """What happens unheard beyond the router is known with the next pass: start, refresh, death (30 s)."""
    carol = iptux("b11", "carol", wait=False)
    dave = iptux("b12", "dave")
    carol.ready()
    relay(
        "ra",
        segments=(*B_CLIENTS, "10.77.3.11"),
        remote=['sweep_every = "30s"', 'sweep_unknown_every = "30s"'],
        users=['silent_after = "20s"'],
    )
    alice = iptux("a11", "alice")
    alice.wait_listed(carol, dave)
    carol.wait_listed(alice)
    erin = iptux("c11", "erin")
    killed = dave.kill()
    pressed = carol.do("refresh")
    carol.wait("cleared", since=pressed)
    found = alice.wait_listed(erin, timeout=50) - erin.started
    measure("start beyond the router noticed (passes of 30 s)", found)
    measure("refreshed list full again", carol.wait_listed(alice, timeout=50) - pressed)
    measure("killed client dropped", alice.wait_gone(dave, timeout=50) - killed)


def test_pointed_client(iptux: StartIptux, relay: StartRelay, measure: Measure) -> None:
    """Nothing but the client's own setting names the other side; the relay only accepts its network."""
    relay("ra", relay=['accept_from = ["10.77.2.0/24"]'])
    alice = iptux("a11", "alice")
    carol = iptux("b11", "carol", pointed_at=["10.77.1.2"])
    both = max(alice.wait_listed(carol), carol.wait_listed(alice))
    measure("both listed after the pointed client's start", both - carol.started, at_most=1)
    bob = iptux("a12", "bob")
    both = max(bob.wait_listed(carol), carol.wait_listed(bob))
    measure("both listed after a later start near the relay", both - bob.started, at_most=1)
    carol.say(alice, "pointed")
    pressed = carol.do("refresh")
    carol.wait("cleared", since=pressed)
    measure("refreshed list full again", carol.wait_listed(alice, bob, timeout=9) - pressed, at_most=8)


def test_pointed_client_of_no_accepted_network_is_dropped_and_counted(
    iptux: StartIptux, relay: StartRelay
) -> None:
    ra = relay("ra")
    iptux("b11", "carol", pointed_at=["10.77.1.2"])
    wait_until(
        lambda: ra.status()["counters"].get("dropped: source not in accept_from"), 3, "the drop is counted"
    )
    assert "10.77.2.11" not in ra.users()


def test_two_relays_sweeping_each_others_segment(
    iptux: StartIptux, relay: StartRelay, measure: Measure
) -> None:
    ra = relay("ra", segments=B_CLIENTS)
    rb = relay("rb", segments=A_CLIENTS)
    alice = iptux("a11", "alice")
    rb.sweep()
    wait_until(lambda: alice.address in rb.online(), 3, f"{rb!r} knows alice")
    carol = iptux("b11", "carol")
    both = max(alice.wait_listed(carol), carol.wait_listed(alice))
    measure("both listed after the later client's start", both - carol.started, at_most=1)
    ra.sweep()
    wait_until(lambda: carol.address in ra.online(), 3, f"{ra!r} knows carol")
    bob = iptux("a12", "bob")
    both = max(bob.wait_listed(carol), carol.wait_listed(bob))
    measure("both listed after a later start on the other side", both - bob.started, at_most=1)
    alice.say(carol, "hello")


def test_ipymessenger_gets_its_list_through_getlist(
    iptux: StartIptux,
    ipymessenger: StartIpMessenger,
    relay: StartRelay,
    network: Network,
    measure: Measure,
) -> None:
    dual = relay("dual")
    carol = iptux("b11", "carol")
    wait_until(lambda: carol.address in dual.online(), 3, "the relay knows carol")
    pim = ipymessenger("a12", "pim")
    measure("listed after its start", pim.wait_listed(carol) - pim.started, at_most=2)
    lists = wait_until(lambda: network.capture.all(sender="dual", to=pim.address, mode=0x13), 3, "an ANSLIST")
    assert b"carol" in lists[0].data
    assert pim.listed().keys() <= {pim.address, carol.address, dual.address}
    carol.wait_listed(pim)
    given = pim.do("send", to=carol.address, text="from ipymessenger")
    assert carol.wait("message", since=given)["text"] == "from ipymessenger"
    pim.wait("delivered", since=given)
    given = carol.do("send", to=pim.address, text="from iptux")
    assert pim.wait("message", since=given)["text"] == "from iptux"
    dave = iptux("b12", "dave")
    measure("a later client listed (ANSENTRY)", pim.wait_listed(dave) - dave.started, at_most=2)


@ONCE
def test_window_lists_an_external_user(
    iptux: StartIptux,
    iptux_window: StartWindow,
    relay: StartRelay,
    measure: Measure,
) -> None:
    relay("dual")
    alice = iptux("a11", "アリス")
    window = iptux_window("b12", "wanda")
    measure(
        "external user in the window after the program's start",
        window.wait_listed(alice, timeout=20) - window.started,
    )
    alice.wait_listed(window)


@ONCE
def test_command_line_shows_what_the_clients_see(iptux: StartIptux, relay: StartRelay) -> None:
    dual = relay("dual")
    alice = iptux("a11", "アリス", group="開発")
    carol = iptux("b11", "carol")
    carol.wait_listed(alice)
    users = json.loads(dual.command_line("users", "--json"))
    rows = {user["address"]: user for user in users}
    wanted = {"logon", "host", "nick", "group", "address", "port", "segment", "state", "home", "last_seen"}
    assert wanted <= rows[alice.address].keys()
    assert rows[alice.address]["nick"] == "アリス"
    assert rows[alice.address]["group"] == "開発"
    assert rows[carol.address]["segment"] == "10.77.2.0/24"
    assert json.loads(dual.command_line("status", "--json"))["relay"]["online"] >= 2
