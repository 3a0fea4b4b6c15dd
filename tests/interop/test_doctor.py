"""``camrelay doctor`` on a real box: does speaking as others arrive, and does the box's own firewall let IPMSG in?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from camrelay.errors import ControlError

from .conftest import ONCE
from .relay_box import ROOT
from .rig import wait_until
from .windows_box import WindowsBox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import StartRelay
    from .fleet import Fleet
    from .relay_box import RelayBox
    from .rig import Box, Network

pytestmark = pytest.mark.interop

SEGMENT = "10.77.1.0/24"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
CAMRELAY = (sys.executable, "-m", "camrelay")
# What a switch with IP source guard does at the port of the relay.
GUARD = """
table netdev guard {
    chain port {
        type filter hook ingress device "ra-0" priority 0; policy accept;
        ip saddr != { 10.77.1.0/24, 0.0.0.0 } drop
    }
}
"""
HOST_FIREWALL = """
table inet filter {
    chain input {
        type filter hook input priority filter; policy drop;
        ct state established,related accept
        iifname "lo" accept
        tcp dport 22 accept
    }
}
"""


class Examined(NamedTuple):
    """What doctor said."""

    code: int
    facts: list[dict[str, Any]]
    verdicts: list[str]

    def of(self, check: str) -> list[dict[str, Any]]:
        return [fact for fact in self.facts if fact["check"] == check]


def doctor(relay: RelayBox) -> Examined:
    command = relay.box.command(*CAMRELAY, "doctor", "--json", "--config", str(relay.config))
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=ENVIRONMENT, check=False)
    assert ran.returncode in (0, 1), ran.stderr
    said = json.loads(ran.stdout)
    return Examined(ran.returncode, said["facts"], [verdict["id"] for verdict in said["verdicts"]])


def listen(box: Box) -> subprocess.Popen[str]:
    """``camrelay listen`` in a box, ready."""
    process = subprocess.Popen(
        box.command(*CAMRELAY, "listen", "--seconds", "60"),
        stdout=subprocess.PIPE, text=True, cwd=ROOT, env=ENVIRONMENT,
    )  # fmt: skip
    box.namespace.processes.append(process)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("listening")
    return process


@pytest.fixture
def guarded(network: Network) -> Iterator[None]:
    switch = network.switches["a"]
    switch.run("nft", "-f", "-", input=GUARD)
    yield
    switch.run("nft", "delete", "table", "netdev", "guard")


def heard_by_listen(network: Network, relay: StartRelay) -> tuple[Examined, str]:
    ra = relay("ra")
    process = listen(network["a12"])
    found = doctor(ra)
    process.terminate()
    said, _ = process.communicate(timeout=10)
    return found, said


@ONCE
def test_a_listener_says_that_it_arrives(network: Network, relay: StartRelay) -> None:
    found, said = heard_by_listen(network, relay)
    (fact,) = found.of("speaking")
    assert (fact["outcome"], fact["detail"]["by"], fact["detail"]["segment"]) == (
        "arrives",
        "listen",
        SEGMENT,
    )
    assert network["a12"].address in fact["detail"]["witness"]
    assert not {"segment-drops-foreign-sources", "speaking-not-proven", "firewall-closed"} & set(
        found.verdicts
    )
    assert "asks in another name: answered" in said
    assert found.of("port")[0]["outcome"] == "ours"


@ONCE
@pytest.mark.usefixtures("guarded")
def test_a_listener_says_that_it_does_not(network: Network, relay: StartRelay) -> None:
    found, said = heard_by_listen(network, relay)
    (fact,) = found.of("speaking")
    assert (fact["outcome"], fact["detail"]["by"]) == ("dropped", "listen")
    assert "segment-drops-foreign-sources" in found.verdicts
    assert found.code == 1
    assert "asks in its own name: answered" in said
    assert "in another name" not in said


def by_windows(network: Network, relay: StartRelay, started: list[Any]) -> tuple[Examined, WindowsBox]:
    ra = relay("ra")
    window = WindowsBox(network["a13"], "win", "staff")
    started.append(window)
    window.ready()
    wait_until(lambda: window.address in ra.online(), 10, "the relay knows the Windows client")
    return doctor(ra), window


@ONCE
def test_windows_lists_the_test_user_for_a_moment(
    network: Network, relay: StartRelay, started: list[Any]
) -> None:
    found, window = by_windows(network, relay, started)
    (fact,) = found.of("speaking")
    assert (fact["outcome"], fact["detail"]["by"]) == ("arrives", "windows")
    source = fact["detail"]["source"]
    assert window.wait("gone", address=source)["name"] == "camrelay test"
    assert source not in window.listed()


@ONCE
@pytest.mark.usefixtures("guarded")
def test_windows_does_not_list_it_behind_a_guarded_port(
    network: Network, relay: StartRelay, started: list[Any]
) -> None:
    found, _ = by_windows(network, relay, started)
    assert [fact["outcome"] for fact in found.of("speaking")] == ["dropped"]
    assert "segment-drops-foreign-sources" in found.verdicts


@ONCE
def test_nobody_to_ask_names_the_remedy_and_a_closed_firewall_its_rule(
    network: Network, relay: StartRelay
) -> None:
    ra = relay("ra", segments=["10.77.2.11"])
    ra.box.namespace.run("nft", "-f", "-", input=HOST_FIREWALL)
    try:
        found = doctor(ra)
    finally:
        ra.box.namespace.run("nft", "delete", "table", "inet", "filter")
    assert {"speaking-not-proven", "firewall-closed", "firewall-answers-only"} <= set(found.verdicts)
    here, beyond = found.of("firewall-udp")
    assert here["detail"] == {"segments": [SEGMENT], "count": 1, "rule": "inet filter input: policy drop"}
    assert (beyond["outcome"], beyond["detail"]["segments"]) == ("answers", ["10.77.2.11"])
    assert [fact["outcome"] for fact in doctor(ra).of("firewall-udp")] == ["open"]


def test_a_standby_says_that_it_arrives_and_a_relay_searches_for_another(fleet: Fleet) -> None:
    fleet.traced = True
    r1 = fleet["r1"]
    (fact,) = doctor(r1).of("speaking")
    assert (fact["outcome"], fact["detail"]["by"], fact["detail"]["witness"]) == ("arrives", "relay", "r1b")
    dave = fleet.iptux("c21", "dave")
    found = json.loads(r1.command_line("search", dave.address, "10.78.2.12", "--from", "r2", "--json"))
    assert (found["by"], found["asked"], [hit["nick"] for hit in found["found"]]) == ("r2", 2, ["dave"])
    with pytest.raises(ControlError, match=r"r2 says: .* is in no segment of this relay"):
        r1.ask("search", more={"segments": ["10.99.9.*"], "peer": "r2"})
