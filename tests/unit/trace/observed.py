"""What traces see: sets of facts, healthy ones and what becomes of them by a fault, written as key=outcome."""

from __future__ import annotations

from typing import Any

from camrelay.trace.facts import Fact

TARGET = "10.77.2.11"
ROUTER = "10.77.1.1"
HOST = {
    "target": TARGET, "user": "hanako", "here": "tokyo", "here_address": "10.77.1.2", "far": "osaka",
    "far_address": "10.77.2.2",
}  # fmt: skip
PAIR = {"here": "tokyo", "there": "osaka", "here_address": "10.77.1.2", "there_address": "10.77.2.2"}
PATH = {
    "first": "taro", "second": "hanako", "first_address": "10.77.1.11", "second_address": TARGET,
    "first_relay": "tokyo", "second_relay": "osaka", "first_relay_address": "10.77.1.2",
    "second_relay_address": "10.77.2.2",
}  # fmt: skip

Seen = dict[str, str]  # key of a fact -> its outcome

# A host in our own segment, all well.
ON_LINK: Seen = {
    "name": "none", "route": "on-link", "neighbour": "resolved", "arp": "one", "icmp": "answered",
    "udp": "answered", "names": "one", "answer-ttl": "whole", "info": "silent", "pubkey": "silent",
    "large": "passes", "mtu": "full", "tcp": "open", "path": "direct", "path-other": "direct",
    "others": "answer", "client": "known", "view": "complete", "roster": "online", "pointed": "no",
    "segment": "ours",
}  # fmt: skip
# A host behind a router, no relay there, all well.
ROUTED: Seen = ON_LINK | {
    "route": "routed", "arp": "not-checked", "answer-ttl": "not-checked", "path": "reaches",
    "path-other": "reaches", "segment": "remote",
}  # fmt: skip
BETWEEN: Seen = {
    "link": "linked", "udp-out": "passes", "udp-in": "passes", "large-out": "passes", "large-in": "passes",
    "tcp-out": "open", "tcp-in": "open", "calls-out": "open", "calls-in": "open", "mtu-out": "full",
    "mtu-in": "full", "source-out": "same", "source-in": "same", "speak-own-out": "arrives",
    "speak-own-in": "arrives", "speak-foreign-out": "arrives", "speak-foreign-in": "arrives",
    "path-out": "reaches", "path-in": "reaches",
}  # fmt: skip
FAR_CHECKS = ("neighbour", "arp", "icmp", "udp", "answer-ttl", "large", "tcp", "roster", "names")


def under(role: str, seen: Seen) -> Seen:
    """The same under a role."""
    return {f"{role}.{key}": outcome for key, outcome in seen.items()}


# The same with a relay in its segment.
WITH_FAR: Seen = (
    ROUTED | under("far", {check: ON_LINK[check] for check in FAR_CHECKS}) | under("pair", BETWEEN)
)
# Two users in two segments with a relay each.
TWO_USERS: Seen = (
    BETWEEN | under("1", ON_LINK) | under("2", ON_LINK) | under("1far", ROUTED) | under("2far", ROUTED)
)

DETAILS: dict[str, dict[str, Any]] = {
    "refused": {"by": TARGET}, "prohibited": {"by": ROUTER}, "unreachable": {"by": ROUTER, "kind": "host"},
    "stops": {"last": ROUTER, "hops": [ROUTER]}, "filtered": {"last": ROUTER, "next": "10.77.9.1"},
    "loops": {"hops": [ROUTER, "10.77.9.1", ROUTER]}, "routed": {"gateway": ROUTER, "source": "10.77.1.2"},
    "several": {"macs": ["02:00:00:00:00:01", "02:00:00:00:00:02"], "names": ["a", "b"]},
}  # fmt: skip


def facts(seen: Seen, **details: dict[str, Any]) -> list[Fact]:
    """Facts of key=outcome; ``details`` by key ("udp"), else such as this outcome usually has."""
    made = []
    for key, outcome in seen.items():
        role, _, check = key.rpartition(".")
        detail = details.get(key.replace("-", "_").replace(".", "_"), DETAILS.get(outcome, {}))
        made.append(Fact(check, outcome, role=role, by="osaka" if role == "far" else "", detail=detail))
    return made
