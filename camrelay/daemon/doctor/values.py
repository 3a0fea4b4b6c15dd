"""What nft's JSON (libnftables-json(5)) compares: the fields of a packet, and what stands right of them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from camrelay.daemon.doctor.walk import Span, covered, every, opposite, some, span_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from camrelay.daemon.doctor.walk import Packet, Test, Truth

    Sets = Mapping[str, Sequence[Any]]

# A field's value: numbers, or all the names that nft may write for it. None: not known. NEVER: the packet has no such
# field, so a match of it fails whatever the operator.
Value = Span | frozenset[str] | None
NEVER: Final = frozenset[str]()

PROTOCOLS: Final = {"udp": frozenset(("udp", "17")), "tcp": frozenset(("tcp", "6"))}
META: Final[Mapping[str, Callable[[Packet], Value]]] = {
    "iif": lambda packet: frozenset((packet.interface,)),
    "iifname": lambda packet: frozenset((packet.interface,)),
    "l4proto": lambda packet: PROTOCOLS[packet.protocol],
    "nfproto": lambda packet: frozenset(("ipv4", "2")),
    "protocol": lambda packet: frozenset(("ip", "2048", "0x0800")),
    "pkttype": lambda packet: frozenset(("broadcast",) if packet.broadcast else ("host", "unicast")),
}
IP: Final[Mapping[str, Callable[[Packet], Value]]] = {
    "saddr": lambda packet: packet.source,
    "daddr": lambda packet: packet.destination,
    "protocol": lambda packet: PROTOCOLS[packet.protocol],
    "version": lambda packet: Span(4, 4),
}
PORTS: Final[Mapping[str, Callable[[Packet], Value]]] = {
    "sport": lambda packet: packet.sport,
    "dport": lambda packet: packet.dport,
}
ORDER: Final[Mapping[str, Callable[[Span, int], Truth]]] = {
    "<": lambda span, n: covered(span, [Span(0, n - 1)]),
    "<=": lambda span, n: covered(span, [Span(0, n)]),
    ">": lambda span, n: opposite(covered(span, [Span(0, n)])),
    ">=": lambda span, n: opposite(covered(span, [Span(0, n - 1)])),
}


def match(about: Mapping[str, Any], sets: Sets) -> Test:
    """The test of one "match" statement; ``sets``: the elements of "@name"."""
    op, left, right = about.get("op", "=="), about.get("left"), about.get("right")

    def test(packet: Packet) -> Truth:
        value = field(left, packet)
        if isinstance(value, list):
            return None if NEVER not in value and op not in ("==", "!=") else _listed(op, value, right, sets)
        if value == NEVER and isinstance(value, frozenset):
            return False
        if op in ORDER:
            return ORDER[op](value, right) if isinstance(value, Span) and isinstance(right, int) else None
        if op not in ("==", "!=", "in"):
            return None
        found = among(value, elements(right, sets))
        return opposite(found) if op == "!=" else found

    return test


def _listed(op: str, values: list[Value], right: Any, sets: Sets) -> Truth:
    if NEVER in values:
        return False
    found = among(values, elements(right, sets))
    return opposite(found) if op == "!=" else found


def field(left: Any, packet: Packet) -> Value | list[Value]:
    """The value of an expression; a list for a concatenation."""
    if not isinstance(left, dict) or len(left) != 1:
        return None
    ((kind, about),) = left.items()
    if kind == "concat" and isinstance(about, list):
        return [value if not isinstance(value := field(part, packet), list) else None for part in about]
    if not isinstance(about, dict):
        return None
    if kind == "meta":
        find = META.get(str(about.get("key")))
        return find(packet) if find else None
    if kind == "payload":
        return _payload(about, packet)
    if kind == "ct" and about.get("key") == "state":
        return frozenset((packet.state,))
    if kind == "fib":
        return _fib(about, packet)
    return None


def _payload(about: Mapping[str, Any], packet: Packet) -> Value:
    protocol, name = about.get("protocol"), str(about.get("field"))
    if protocol == "ip":
        find = IP.get(name)
    elif protocol in ("th", packet.protocol):
        find = PORTS.get(name)
    elif protocol == "ether":
        return META["protocol"](packet) if name == "type" else None
    else:
        return None if protocol is None else NEVER  # None: raw bytes
    return find(packet) if find else None


def _fib(about: Mapping[str, Any], packet: Packet) -> Value:
    """The routing table's answers. The way back to a source leads through where it came in: so it was found."""
    flags = about.get("flags")
    flags = flags if isinstance(flags, list) else [flags]
    if about.get("result") == "type" and flags == ["daddr"]:
        return frozenset(("broadcast",) if packet.broadcast else ("local",))
    if about.get("result") in ("oif", "oifname") and "saddr" in flags and "iif" in flags:
        return frozenset((packet.interface, "True"))
    return None


def elements(right: Any, sets: Sets) -> Sequence[Any]:
    """What is on the right of a match, one by one."""
    if isinstance(right, str) and right.startswith("@"):
        return sets.get(right[1:], ())
    if isinstance(right, dict) and "set" in right:
        inner = right["set"]
        return inner if isinstance(inner, list) else [inner]
    return right if isinstance(right, list) else [right]


def among(value: Value | list[Value], items: Sequence[Any]) -> Truth:
    """Is a field's value one of these?"""
    items = [item["elem"].get("val") if isinstance(item, dict) and "elem" in item else item for item in items]
    if isinstance(value, list):
        return some(_same_row(value, item) for item in items)
    if value is None:
        return None if items else False
    if isinstance(value, frozenset):
        return some(_named(value, item) for item in items)
    spans = [_span(item) for item in items]
    found = covered(value, [span for span in spans if span])
    return None if found is False and None in spans else found


def _same_row(values: list[Value], item: Any) -> Truth:
    parts = item.get("concat") if isinstance(item, dict) else None
    if not isinstance(parts, list) or len(parts) != len(values):
        return None
    return every(among(value, elements(part, {})) for value, part in zip(values, parts, strict=True))


def _named(names: frozenset[str], item: Any) -> Truth:
    if not isinstance(item, str | int | bool):
        return None
    text = str(item)
    if text.endswith("*"):
        return any(name.startswith(text[:-1]) for name in names)
    return text in names


def _span(item: Any) -> Span | None:
    """Numbers; None for what we cannot read as such."""
    try:
        if isinstance(item, bool):
            return None
        if isinstance(item, int):
            return Span(item, item)
        if isinstance(item, str):
            return span_of(item)
        if "prefix" in item:
            return span_of(f"{item['prefix']['addr']}/{item['prefix']['len']}")
        first, last = (_span(end) for end in item["range"])
    except (ValueError, KeyError, TypeError):
        return None
    return Span(first.low, last.high) if first and last else None
