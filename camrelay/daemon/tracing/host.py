"""``trace host``: one host from here, and from the relay in its own segment if there is one.

Result: {"target", "user", "subject", "facts", "seconds"}; events: {"subject"}, {"begun", "role", "by"}, {"fact"}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import trio
from msgspec.structs import replace

from camrelay.daemon.tracing.examining import PROBES, Probes, examine
from camrelay.daemon.tracing.naming import Target, whom
from camrelay.errors import CamrelayError, FleetError
from camrelay.trace.facts import Fact

if TYPE_CHECKING:
    from camrelay.daemon.answers import Request
    from camrelay.daemon.control import Tell
    from camrelay.daemon.tracing import Stand
    from camrelay.daemon.tracing.allowed import FarQuestion
    from camrelay.relay.messages import RelayId

FAR_WITHIN: Final = 15.0  # seconds for the checks of another relay: its own take 11.5
PAIR_WITHIN: Final = 30.0  # seconds: 5 to 10, unless others measure the same way
MOST_FACTS: Final = 64  # of another relay


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked for. ``far``: also by the relay in its segment; ``via``: only by this relay, not from here."""

    target: str
    far: bool = True
    via: str = ""


class FarWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What another relay asks for."""

    address: str


class FarFound(msgspec.Struct, frozen=True):
    """What another relay found."""

    facts: list[Fact]


class Found(msgspec.Struct, frozen=True):
    """The answer. ``subject``: the names in the texts of verdicts."""

    target: str
    user: str
    subject: dict[str, str]
    facts: list[Fact]
    seconds: float


async def host(stand: Stand, request: Request, tell: Tell, probes: Probes = PROBES) -> Found:
    """For the control socket. UsageError if several users are meant, or there is no such relay."""
    wanted = request.args(Wanted)
    began = trio.current_time()
    via = stand.far.find(wanted.via) if wanted.via else None
    target = await whom(stand, wanted.target)
    beside = None if via or not target.address or not wanted.far else _beside(stand, target.address)
    subject = _subject(stand, target, via, beside)
    await tell({"subject": subject})
    facts: list[Fact] = []
    if target.fact is not None and target.fact.outcome != "unknown-name":
        why = target.fact.detail.get("why", "")
        raise CamrelayError(
            f"nobody is known as {target.word!r}, and the name cannot be looked up ({why}): see `camrelay users`,"
            " or write the address"
        )
    if target.fact is not None:
        await tell({"fact": target.fact})
        facts = [target.fact]
    elif via is not None:
        facts = await _from(stand, via, target.address, tell, "")
    elif target.address:
        facts = await _look(stand, target.address, tell, beside, probes)
    subject["here_address"] = next((f.detail.get("source", "") for f in facts if f.key == "route"), "")
    seconds = round(trio.current_time() - began, 3)
    return Found(target.address, target.name, subject, facts, seconds)


async def far_host(stand: Stand, asked: FarQuestion, tell: Tell) -> FarFound:
    """For another relay of the fleet."""
    from camrelay.daemon.tracing.allowed import may_look

    address = asked.args(FarWanted).address
    may_look(stand, address)
    return FarFound(await examine(stand, address, tell))


def _beside(stand: Stand, address: str) -> RelayId | None:
    """A linked relay in the segment of this address."""
    if stand.peers is None:
        return None
    return next(iter(stand.far.beside(address)), None)


def _subject(stand: Stand, target: Target, via: RelayId | None, beside: RelayId | None) -> dict[str, str]:
    here = stand.far.name(via) if via else stand.relay.look.name
    subject = {"target": target.address or target.word, "user": target.name, "here": here, "here_address": ""}
    if beside is None:
        return subject
    return subject | {"far": stand.far.name(beside), "far_address": stand.far.address(beside)}


async def _look(stand: Stand, address: str, tell: Tell, beside: RelayId | None, probes: Probes) -> list[Fact]:
    """From here; at the same time from the relay beside it, and between that one and us."""
    here: list[Fact] = []
    far: list[Fact] = []
    pair: list[Fact] = []

    async def look_here() -> None:
        here.extend(await examine(stand, address, tell, probes=probes))

    async def look_far(peer: RelayId) -> None:
        far.extend(await _from(stand, peer, address, tell, "far"))

    async def measure(peer: RelayId) -> None:
        from camrelay.daemon.tracing.pair import measure

        try:
            with trio.move_on_after(PAIR_WITHIN):
                pair.extend(await measure(stand, peer, tell, role="pair"))
        except Exception as error:  # noqa: BLE001 - it is not the trace, only part of it
            stand.meant(error, "pair")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look_here)
        if beside is not None:
            nursery.start_soon(look_far, beside)
            nursery.start_soon(measure, beside)
    return [*here, *far, *pair]


async def _from(stand: Stand, peer: RelayId, address: str, tell: Tell, role: str) -> list[Fact]:
    """The same checks by another relay. One that cannot be asked has found nothing, and the link says why."""
    by = stand.far.name(peer)

    def named(fact: Fact) -> Fact:
        return replace(fact, role=role, by=by)

    async def pass_on(event: Any) -> None:
        for what, value in event.items() if isinstance(event, dict) else ():
            if what in ("begun", "dropped") and isinstance(value, str):
                await tell({what: value, "role": role, "by": by})
            elif what == "fact":
                await tell({"fact": named(msgspec.convert(value, Fact))})

    try:
        found = await stand.far.ask(peer, "host", {"address": address}, pass_on, FAR_WITHIN, FarFound)
    except FleetError:
        if not role:
            raise
        return []
    return [named(fact) for fact in found.facts[:MOST_FACTS]]
