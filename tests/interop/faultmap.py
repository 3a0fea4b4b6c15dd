"""The map of the fault laboratory (``faults.py``): one network in which every fault of the manual exists at once.

    wire h  10.79.1.0/24   rh; the administrators' own segment, with faults of single machines
            |
           core ---------------------------- gt -- wire t  10.79.8.0/24   rt; a link of MTU 1400
            |    \\-------------------------- gk -- wire k  10.79.9.0/24   the same, and ICMP is not passed on
           gate
            |---- wire m  10.79.2.0/24   rm; sound
            |---- wire n  10.79.3.0/24   no relay; sound, with faults of single machines
            |---- wire u  10.79.4.0/24   drops UDP 2425 both ways, passes TCP
            |---- wire p  10.79.5.0/24   rejects 2425 and says so (admin-prohibited)
            |---- wire o  10.79.7.0/24   ro; UDP 2425 passes towards o only; ro's switch port has IP source guard
            |---- wire x  10.79.10.0/24  rx; NAT: the company knows no route to it
            |---- wire f  10.79.11.0/24  rf; drops foreign sources (strict rp_filter)
            |---- gq ---- wire q 10.79.6.0/24   drops UDP 2425 as it arrives
    10.79.20.0/24 goes round in circles between core and gate; to 10.79.21.0/24 there is no route.

Boxes are called wire and number: n21 is 10.79.3.21; relays r and wire: rm is 10.79.2.100. What is wrong with a box is
said in ``BOXES``, with a router in ``RULES``. Faults are nft rules, routes and masks; nothing is pretended. Routers
here do not limit their ICMP errors, since thirty traces at once are the tests' doing, not an administrator's.
"""

from __future__ import annotations

from dataclasses import dataclass

NETWORK = "10.79"
WIRES = {"h": 1, "m": 2, "n": 3, "u": 4, "p": 5, "q": 6, "o": 7, "t": 8, "k": 9, "x": 10, "f": 11}
RELAYS = ("rh", "rm", "ro", "rt", "rx", "rf")
RELAY_NUMBER = 100  # beyond the 16 addresses that the narrow mask of h14 takes for its network
ROUTERS = {"core": "h", "gate": "mnupoxf", "gq": "q", "gt": "t", "gk": "k"}
LINKS = {"gate": 0, "gt": 4, "gk": 8, "gq": 12}  # 10.79.100.N/30 towards core, gq's towards gate
SMALL_MTU = 1400
NAT_ADDRESS = f"{NETWORK}.100.2"  # under which the segment x is seen
DEAD = {"on link": f"{NETWORK}.1.13", "behind a router": f"{NETWORK}.3.25"}
IN_CIRCLES = f"{NETWORK}.20.11"
NO_ROUTE = f"{NETWORK}.21.11"

FIREWALL = """table ip host {{
 chain in {{ type filter hook input priority 0
  {rule}
 }}
}}"""
UDP_ONLY = "udp dport 2425 drop"
TCP_ONLY = "tcp dport 2425 drop"
BOTH = "meta l4proto { tcp, udp } th dport 2425 drop"
NOTHING = "iifname != lo drop"
LOCAL_SUBNET = "iifname eth0 ip saddr != {network}.0/24 drop"
NO_FRAGMENTS = """table netdev host {
 chain in { type filter hook ingress device eth0 priority 0
  ip frag-off & 0x3fff != 0 drop
 }
}"""
NO_ARP = """table arp host {
 chain in { type filter hook input priority 0
  drop
 }
 chain out { type filter hook output priority 0
  drop
 }
}"""

RULES = {
    "gate": """table ip filter {
 chain before { type filter hook forward priority -10
  oifname eth-p meta l4proto { tcp, udp } th dport 2425 reject with icmp type admin-prohibited
  iifname eth-o meta l4proto udp th dport 2425 drop
 }
 chain nat { type nat hook postrouting priority 100
  iifname eth-x oifname core masquerade
 }
}""",
    "gq": """table ip filter {
 chain early { type filter hook prerouting priority -300
  iifname gate udp dport 2425 drop
 }
}""",
    "gt": """table ip filter {
 chain calls { type filter hook forward priority 0
  udp dport 22224-22229 drop
 }
}""",
    "gk": """table ip filter {
 chain silent { type filter hook output priority 0
  icmp type destination-unreachable icmp code frag-needed drop
 }
}""",
    "core": """table ip filter {
 chain silent { type filter hook output priority 0
  icmp type destination-unreachable icmp code frag-needed @th,192,24 0x0a4f09 drop
 }
}""",
    # the switch: the port of ro lets nobody pass but ro
    "switch": """table netdev guard {
 chain port { type filter hook ingress device ro-0 priority 0
  ip saddr != 10.79.7.100 drop
 }
}""",
}

SINCE_TODAY = """table ip today {
 chain shut { type filter hook forward priority 0
  iifname eth-u udp sport 2425 drop
  oifname eth-u udp dport 2425 drop
 }
}"""


@dataclass(frozen=True)
class Machine:
    """A box for clients. ``program``: "iptux", "windows" or "" for none. ``pointed``: its settings name rh."""

    program: str = "iptux"
    rules: str = ""  # for nft; {network} is that of its wire
    mask: int = 24
    gateway: str = ""  # its default route, if that is not its router
    pointed: bool = False
    twin: bool = False  # has the address of the box without the b


BOXES = {
    "h11": Machine(),
    "h12": Machine(),
    "h12b": Machine(twin=True),
    "h14": Machine(mask=28),  # its router is among these 16 addresses, rh is not
    "h15": Machine(mask=16),  # takes the whole company for its own wire
    "h16": Machine(rules=NO_ARP),  # its broadcasts are heard, that is all
    "h17": Machine(program=""),
    "h18": Machine(rules=FIREWALL.format(rule=UDP_ONLY)),
    "h19": Machine(program="windows"),
    "h20": Machine(rules=FIREWALL.format(rule=NOTHING)),
    "h21": Machine(rules=FIREWALL.format(rule=BOTH)),
    "h22": Machine(rules=FIREWALL.format(rule=TCP_ONLY)),
    "m11": Machine(),
    "m12": Machine(rules=FIREWALL.format(rule=LOCAL_SUBNET)),
    "m13": Machine(mask=16),
    "m14": Machine(rules=NO_FRAGMENTS),
    "m15": Machine(gateway="10.79.2.254"),  # where nobody is
    "n11": Machine(),
    "n12": Machine(pointed=True),
    "n21": Machine(rules=FIREWALL.format(rule=UDP_ONLY)),
    "n22": Machine(rules=FIREWALL.format(rule=TCP_ONLY)),
    "n23": Machine(rules=FIREWALL.format(rule=BOTH)),
    "n24": Machine(program=""),
    "n26": Machine(rules=FIREWALL.format(rule=LOCAL_SUBNET), pointed=True),
    "u11": Machine(),
    "u12": Machine(),
    "p11": Machine(),
    "q11": Machine(),
    "o11": Machine(),
    "o19": Machine(program="windows"),
    "t11": Machine(),
    "k11": Machine(),
    "x11": Machine(pointed=True),
    "x12": Machine(pointed=True),
    "f11": Machine(),
}


def place(name: str) -> str:
    """The address of a box or relay."""
    if name in RELAYS:
        return f"{NETWORK}.{WIRES[name[1]]}.{RELAY_NUMBER}"
    return f"{NETWORK}.{WIRES[name[0]]}.{name[1:].rstrip('b')}"


def names() -> str:
    """The company's hosts file: a name for every machine, and for rh's eyes only."""
    machines = (name for name, machine in BOXES.items() if not machine.twin)
    return "127.0.0.1 localhost\n" + "".join(f"{place(name)} h-{name}\n" for name in (*machines, *RELAYS))
