"""What doctor says of a ruleset is what the kernel does with it: datagrams are sent, and arrive or do not."""

from __future__ import annotations

import json
import random
import socket
import struct
from typing import TYPE_CHECKING

import pytest

from camrelay.daemon.doctor.ruleset import Ruleset
from camrelay.daemon.doctor.walk import Packet, Span, span_of
from tests.netns import address, namespaces, veth

from . import needs

if TYPE_CHECKING:
    from tests.netns import Namespace

pytestmark = pytest.mark.interop

BOX = "10.77.1.2"
SOURCES = ("10.77.1.11", "10.77.1.12", "10.77.1.200")
PORT = Span(2425, 2425)
RULES = (
    "ip saddr 10.77.1.11 accept",
    "ip saddr 10.77.1.0/25 drop",
    "ip saddr @some accept",
    "ip saddr != @some drop",
    "udp dport 2425 ip saddr 10.77.1.12 drop",
    "udp dport { 53, 2425 } counter",
    "udp dport vmap { 2425 : jump second }",
    "udp dport vmap @ports",
    "ip saddr . udp dport { 10.77.1.200 . 2425 } drop",
    "meta pkttype broadcast accept",
    "meta pkttype host ip saddr 10.77.1.12 drop",
    "fib daddr type broadcast drop",
    'iifname "eth*" udp sport 2000-3000 ip saddr 10.77.1.200 accept',
    'iifname "wan*" drop',
    "ct state new ip saddr 10.77.1.11 jump second",
    "ct state established accept",
    "ip protocol udp ip daddr 10.77.1.2 ip saddr >= 10.77.1.100 goto second",
    "udp sport != 2425 drop",
    "udp dport > 2425 drop",
    "tcp dport 2425 drop",
    "ip6 saddr ::1 accept",
)
SECOND = (
    "ip saddr 10.77.1.11 drop",
    "ip saddr 10.77.1.12 accept",
    "return",
    "meta pkttype broadcast return",
    "drop",
)


def ruleset(chance: random.Random) -> str:
    first = "\n".join(chance.sample(RULES, chance.randint(1, 6)))
    second = "\n".join(chance.sample(SECOND, chance.randint(0, 3)))
    hook = chance.choice(("input priority 0", "input priority 0", "prerouting priority -150"))
    return f"""
flush ruleset
table inet t {{
    set some {{ type ipv4_addr; flags interval; elements = {{ 10.77.1.11-10.77.1.12, 10.78.0.0/16 }}; }}
    map ports {{ type inet_service : verdict; elements = {{ 22 : drop, 2425 : goto second }}; }}
    chain second {{
        {second}
    }}
    chain first {{ type filter hook {hook}; policy {chance.choice(("accept", "drop"))};
        {first}
    }}
}}
"""


def heard(ear: socket.socket) -> set[bytes]:
    found = set()
    while True:
        try:
            found.add(ear.recv(100))
        except BlockingIOError:
            return found


def say(voice: socket.socket) -> None:
    card = socket.if_nametoindex("eth0")
    for source in SOURCES:
        for to in (BOX, "10.77.1.255"):
            block = struct.pack("i4s4s", card, socket.inet_aton(source), bytes(4))
            voice.sendmsg([f"{source} {to}".encode()], [(socket.SOL_IP, 8, block)], 0, (to, 2425))


def open_at(namespace: Namespace) -> socket.socket:
    def make() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_IP, 19, 1)  # IP_TRANSPARENT
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        made.bind(("0.0.0.0", 2425))
        made.setblocking(False)
        return made

    return namespace.call(make)


def expected(rules: Ruleset, source: str, to: str) -> bool:
    packet = Packet("eth0", span_of(source), span_of(to), "udp", PORT, PORT, "new", to.endswith(".255"))
    outcome = rules.outcome(packet)
    assert outcome.word != "unsure", outcome
    return outcome.word == "accept"


def test_the_kernel_agrees() -> None:
    if reason := needs.lacks("network"):
        assert not needs.required(), reason
        pytest.skip(reason)
    chance = random.Random(4)
    with namespaces("crn", "box", "other") as (box, other):
        veth(box, "eth0", other, "eth0")
        address(box, "eth0", f"{BOX}/24")
        address(other, "eth0", "10.77.1.3/24")
        box.rp_filter(0)
        with open_at(box) as ear, open_at(other) as voice:
            say_there = other.call
            say_there(say, voice)  # so that the neighbours know each other
            for _ in range(40):
                text = ruleset(chance)
                loaded = box.run("nft", "-f", "-", input=text, check=False)
                assert not loaded.returncode, loaded.stderr + text
                rules = Ruleset(json.loads(box.run("nft", "-j", "list", "ruleset").stdout))
                heard(ear)
                say_there(say, voice)
                arrived = heard(ear)  # veth delivers within sendmsg
                for source in SOURCES:
                    for to in (BOX, "10.77.1.255"):
                        came = f"{source} {to}".encode() in arrived
                        assert came == expected(rules, source, to), (source, to, text)
