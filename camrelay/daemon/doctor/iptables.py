"""What the filter table of iptables (``iptables -S``) does with one sort of datagram that comes in. Pure."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from camrelay.daemon.doctor.values import PROTOCOLS
from camrelay.daemon.doctor.walk import Act, Rule, Span, Walker, covered, opposite, span_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from camrelay.daemon.doctor.walk import Outcome, Packet, Test, Truth

VERDICTS: Final = {"ACCEPT": "accept", "DROP": "drop", "REJECT": "drop", "RETURN": "return"}
# Targets that decide nothing.
HARMLESS: Final = {
    "LOG",
    "NFLOG",
    "TRACE",
    "MARK",
    "CONNMARK",
    "SET",
    "CT",
    "AUDIT",
    "TOS",
    "DSCP",
    "CHECKSUM",
}
ALIASES: Final = {
    "--source": "-s", "--src": "-s", "--destination": "-d", "--dst": "-d", "--in-interface": "-i", "--protocol": "-p",
    "--destination-port": "--dport", "--destination-ports": "--dports", "--source-port": "--sport",
    "--source-ports": "--sports", "--state": "--ctstate", "--jump": "-j", "--goto": "-g",
}  # fmt: skip


def outcome(listing: str, packet: Packet) -> Outcome:
    """What becomes of the packet by ``iptables -S``."""
    chains: dict[str, list[Rule]] = {}
    policy = "accept"
    for line in listing.splitlines():
        words = _words(line)
        if words[:2] == ["-P", "INPUT"]:
            policy = "drop" if words[-1] == "DROP" else "accept"
        elif words[:1] == ["-A"] and len(words) > 2:
            chains.setdefault(words[1], []).append(rule(words[2:], f"iptables: {line.strip()}"))
    return Walker(chains, packet).base("INPUT", policy, "iptables INPUT")


def rule(words: Sequence[str], text: str) -> Rule:
    """One rule: all options behind "-A CHAIN"."""
    tests: list[Test] = []
    act: Act | None = None
    rest = list(words)
    while rest:
        negated = rest[0] == "!"
        option = rest.pop(0) if not negated else (rest.pop(0), rest.pop(0) if rest else "")[1]
        values = []
        while rest and rest[0] != "!" and not rest[0].startswith("-"):
            values.append(rest.pop(0))
        option = ALIASES.get(option, option)
        value = values[0] if values else ""
        if option in ("-j", "-g"):
            act = _target(option, value)
            break  # what follows are the target's own options
        if option in ("-m", "--comment"):
            continue
        test = _test(option, value)
        tests.append(_not(test) if negated else test)
    return Rule(text, (*tests, act) if act else tuple(tests))


def _target(option: str, name: str) -> Act | None:
    if name in VERDICTS:
        return Act(VERDICTS[name])
    if name in HARMLESS:
        return None
    if name.isupper() and option == "-j" and name in ("QUEUE", "NFQUEUE", "TPROXY", "SYNPROXY", "TARPIT"):
        return Act("unsure")
    return Act("jump" if option == "-j" else "goto", name)


def _test(option: str, value: str) -> Test:
    make = TESTS.get(option)
    if make is None:
        return _who_knows
    try:
        return make(value)
    except ValueError:
        return _who_knows


def _not(test: Test) -> Test:
    return lambda packet: opposite(test(packet))


def _protocol(value: str) -> Test:
    return lambda packet: value == "all" or value in PROTOCOLS[packet.protocol]


def _source(value: str) -> Test:
    spans = [span_of(text) for text in value.split(",")]
    return lambda packet: covered(packet.source, spans)


def _destination(value: str) -> Test:
    spans = [span_of(text) for text in value.split(",")]
    return lambda packet: covered(packet.destination, spans)


def _interface(value: str) -> Test:
    if value.endswith("+"):
        return lambda packet: packet.interface.startswith(value[:-1])
    return lambda packet: packet.interface == value


def _ports(of: Callable[[Packet], Span]) -> Callable[[str], Test]:
    def make(value: str) -> Test:
        spans = []
        for text in value.split(","):
            first, colon, last = text.partition(":")
            spans.append(Span(int(first or 0), int(last or 65535) if colon else int(first)))
        return lambda packet: covered(of(packet), spans)

    return make


def _state(value: str) -> Test:
    states = value.casefold().split(",")
    return lambda packet: packet.state in states


def _packet_type(value: str) -> Test:
    return lambda packet: value == ("broadcast" if packet.broadcast else "unicast")


def _destination_type(value: str) -> Test:
    return lambda packet: ("BROADCAST" if packet.broadcast else "LOCAL") in value.split(",")


def _who_knows(packet: Packet) -> Truth:
    return None


TESTS: Final[dict[str, Callable[[str], Test]]] = {
    "-p": _protocol,
    "-s": _source,
    "-d": _destination,
    "-i": _interface,
    "--dport": _ports(lambda packet: packet.dport),
    "--dports": _ports(lambda packet: packet.dport),
    "--sport": _ports(lambda packet: packet.sport),
    "--sports": _ports(lambda packet: packet.sport),
    "--ctstate": _state,
    "--pkt-type": _packet_type,
    "--dst-type": _destination_type,
}


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:
        return []
