"""``trace path``: two users who cannot see each other, from both ends: each user as the relays of both see it, the way
between these relays, and whether the one is shown to the other.

Roles of facts: "1" and "2" are the first and the second user, seen by its own relay; "1far" and "2far" by the
other one's; "" is the way between the relays, "-out" from the first user's to the second user's.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import trio
from msgspec.structs import replace

from camrelay.daemon.tracing.shown import Both, FarFacts, shown
from camrelay.daemon.tracing.sockets import SOCKETS
from camrelay.errors import FleetError, UsageError
from camrelay.trace.facts import Fact  # noqa: TC001 - msgspec reads the annotations

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from camrelay.daemon.answers import Request
    from camrelay.daemon.control import Tell
    from camrelay.daemon.tracing import Stand
    from camrelay.daemon.tracing.naming import Target
    from camrelay.daemon.tracing.sockets import Sockets
    from camrelay.relay.messages import RelayId

US: Final = ""  # in the place of a peer's id
HOST_WITHIN: Final = 15.0  # seconds for the checks of one host by another relay
PAIR_WITHIN: Final = 60.0
MOST_FACTS: Final = 64  # of another relay, for one question
WORST_FIRST: Final = ("rule", "unable", "yes", "unknown")


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Two users, by address or name."""

    first: str
    second: str


class Told(msgspec.Struct, frozen=True):
    """The same about the way to a third relay, with names and addresses of the two."""

    facts: list[Fact]
    subject: dict[str, str]


class End(NamedTuple):
    """One of the two users. ``relay``: a peer's id, US, or None: no relay of ours has it or its segment."""

    role: str
    name: str
    address: str
    relay: RelayId | None


async def path(stand: Stand, request: Request, tell: Tell) -> dict[str, Any]:
    """For the control socket. UsageError where a word means nobody, or several."""
    from camrelay.daemon.tracing.naming import whom

    wanted, began = request.args(Wanted), trio.current_time()
    first = _end(stand, "1", await whom(stand, wanted.first))
    second = _end(stand, "2", await whom(stand, wanted.second))
    if first.address == second.address:
        raise UsageError(f"{wanted.first!r} and {wanted.second!r} are the same: name two users")
    if first.relay is second.relay is None:  # then at least we look
        first, second = first._replace(relay=US), second._replace(relay=US)
    facts, subject = await Trace(stand, first, second, tell).run()
    return {"subject": subject, "facts": facts, "seconds": round(trio.current_time() - began, 3)}


def _end(stand: Stand, role: str, target: Target) -> End:
    if not target.address:
        raise UsageError(f"no user and no host is called {target.word!r}: see `camrelay users`")
    return End(role, target.name, target.address, _relay_of(stand, target))


def _relay_of(stand: Stand, target: Target) -> RelayId | None:
    """Who is in this user's segment; of several, or if nobody is, who told us of it."""
    user, home = target.user, stand.relay.look.segment(target.address)
    if home is not None and home.interface:
        return US
    beside: list[RelayId] = []
    told: list[RelayId] = []
    if stand.peers is not None:
        via = user.via if user is not None and not user.home else ""
        beside = stand.far.beside(target.address)
        told = [peer for peer in stand.peers.fleet.members if via and stand.far.name(peer) == via]
    found = [peer for peer in told if peer in beside] or [*beside, *told]
    return found[0] if found else US if home is not None else None


class Trace:
    """One of these. ``look`` (checks of a host) and ``sockets`` are for tests."""

    def __init__(
        self,
        stand: Stand,
        first: End,
        second: End,
        tell: Tell,
        look: Callable[..., Awaitable[list[Fact]]] | None = None,
        sockets: Sockets = SOCKETS,
    ) -> None:
        self._stand = stand
        self._first = first
        self._second = second
        self._tell = tell
        self._look = look
        self._sockets = sockets
        self._facts: dict[str, list[Fact]] = {}

    async def run(self) -> tuple[list[Fact], dict[str, str]]:
        """All facts in the order in which they are to be shown, and the names for the texts."""
        first, second = self._first, self._second
        subject = {
            "first": first.name,
            "second": second.name,
            "first_address": first.address,
            "second_address": second.address,
            "first_relay": self._name(first.relay),
            "second_relay": self._name(second.relay),
        }
        await self._tell({"subject": subject})
        hosts = [(first.role, first, first.relay), (second.role, second, second.relay)]
        if first.relay != second.relay:
            hosts += [("1far", first, second.relay), ("2far", second, first.relay)]
        async with trio.open_nursery() as nursery:
            for role, end, relay in hosts:
                if relay == US:
                    nursery.start_soon(self._look_here, role, end.address)
            nursery.start_soon(self._shown)
            await self._pair(subject)
            for role, end, relay in hosts:
                if relay:
                    nursery.start_soon(self._look_there, role, end.address, relay)
        in_order = ["shown", "pair", "1", "2", "1far", "2far"]
        return [fact for part in in_order for fact in self._facts.get(part, [])], subject

    def _name(self, relay: RelayId | None) -> str:
        if relay is None:
            return ""
        return self._stand.far.name(relay) if relay else self._stand.relay.look.name

    # -- hosts --------------------------------------------------------------------------------------------------

    async def _look_here(self, role: str, address: str) -> None:
        from camrelay.daemon.tracing.examining import examine

        by = self._stand.relay.look.name
        self._facts[role] = await (self._look or examine)(self._stand, address, self._tell, role=role, by=by)

    async def _look_there(self, role: str, address: str, relay: RelayId) -> None:
        found = await self._ask(relay, "host", {"address": address}, role, HOST_WITHIN, FarFacts)
        self._facts[role] = self._named(found.facts if found else [], role, relay)

    def _named(self, facts: Iterable[Fact], role: str, relay: RelayId) -> list[Fact]:
        by = self._name(relay)
        return [replace(fact, role=role, by=by) for fact in facts][:MOST_FACTS]

    async def _ask(
        self, relay: RelayId, what: str, params: object, role: str, within: float, form: type[Any]
    ) -> Any:
        """Another relay; None if it cannot: then there is nothing of it, and the link says why."""
        by = self._name(relay)

        async def pass_on(event: Any) -> None:
            if isinstance(event.get("begun"), str):
                await self._tell({"begun": event["begun"], "role": role, "by": by})

        try:
            return await self._stand.far.ask(relay, what, params, pass_on, within, form)
        except FleetError as error:
            self._stand.log.info("a relay did not help with a trace", peer=by, what=what, cause=str(error))
            return None

    # -- the way between the relays ---------------------------------------------------------------------------------

    async def _pair(self, subject: dict[str, str]) -> None:
        first, second = self._first.relay, self._second.relay
        if first is None or second is None or first == second:
            return
        if first != US and second != US:
            await self._pair_of_others(first, second, subject)
            return
        from camrelay.daemon.tracing.pair import measure, names

        turned = first != US
        peer = first if turned else second
        tell = _turning(self._tell) if turned else self._tell
        facts = await measure(self._stand, peer, tell, sockets=self._sockets)
        self._facts["pair"] = [_turned(fact) for fact in facts] if turned else facts
        called = names(self._stand, peer)
        here, there = ("second", "first") if turned else ("first", "second")
        subject[f"{here}_relay_address"] = called["here_address"]
        subject[f"{there}_relay_address"] = called["there_address"]

    async def _pair_of_others(self, first: RelayId, second: RelayId, subject: dict[str, str]) -> None:
        told = await self._ask(first, "pair", {"peer": second}, "", PAIR_WITHIN, Told)
        if told is not None:
            self._facts["pair"] = self._named(told.facts, "", first)
            subject["first_relay_address"] = str(told.subject.get("here_address", ""))
            subject["second_relay_address"] = str(told.subject.get("there_address", ""))

    # -- who is shown to whom -----------------------------------------------------------------------------------------

    async def _shown(self) -> None:
        """As both relays know it; the worse one counts."""
        first, second = self._first, self._second
        said: list[Fact] = []
        for relay in dict.fromkeys((first.relay, second.relay)):
            if relay == US:
                said += await shown(self._stand, first.address, second.address)
            elif relay:
                params = Both(first.address, second.address)
                told = await self._ask(relay, "shown", params, "", HOST_WITHIN, FarFacts)
                said += told.facts[:4] if told else []
        for check in ("shown-out", "shown-in"):
            found = [fact for fact in said if fact.check == check and fact.outcome in WORST_FIRST]
            if found:
                fact = replace(min(found, key=lambda one: WORST_FIRST.index(one.outcome)), role="", by="")
                self._facts.setdefault("shown", []).append(fact)
                await self._tell({"fact": fact})


def _turned(fact: Fact) -> Fact:
    return replace(fact, check=_other_way(fact.check))


def _other_way(check: str) -> str:
    for end, other in (("-out", "-in"), ("-in", "-out")):
        if check.endswith(end):
            return check.removesuffix(end) + other
    return check


def _turning(tell: Tell) -> Callable[[object], Awaitable[None]]:
    """Tells of "-out" what is "-in" to us, and the other way round."""
    return partial(_tell_turned, tell)


async def _tell_turned(tell: Tell, event: Any) -> None:
    if "begun" in event:
        event = event | {"begun": _other_way(event["begun"])}
    elif "fact" in event:
        event = {"fact": _turned(event["fact"])}
    await tell(event)
