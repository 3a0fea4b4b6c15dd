"""Whether one user is shown to another, as far as it is this relay's part: for ``trace path``, of us and of peers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import trio

from camrelay.daemon.tracing.numbered import Address  # noqa: TC001 - msgspec reads the annotations
from camrelay.trace.facts import Fact

if TYPE_CHECKING:
    from camrelay.daemon.control import Tell
    from camrelay.daemon.tracing import Stand
    from camrelay.daemon.tracing.allowed import FarQuestion
    from camrelay.relay.reasons import WhyRow


class Both(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Two users, by address."""

    first: Address
    second: Address


class FarFacts(msgspec.Struct, frozen=True):
    """What another relay found."""

    facts: list[Fact]


async def far_shown(stand: Stand, asked: FarQuestion, tell: Tell) -> FarFacts:
    """For another relay: of users whom we know."""
    both = asked.args(Both)
    return FarFacts(await shown(stand, both.first, both.second))


async def shown(stand: Stand, first: str, second: str) -> list[Fact]:
    """Whether the user at ``first`` is shown to the one at ``second``, as far as it is our part, and back."""
    facts = []
    for check, who, to in (("shown-out", first, second), ("shown-in", second, first)):
        outcome, detail = await _is_shown(stand, who, to)
        facts.append(Fact(check, outcome, detail=detail))
    return facts


async def _is_shown(stand: Stand, who: str, to: str) -> tuple[str, dict[str, Any]]:
    user = stand.relay.look.at(who)
    if user is None:
        return "unknown", {}
    for row in stand.relay.look.explain([user], trio.current_time()):
        if row is not None:
            return _told_there(stand, row, to)
        await trio.lowlevel.checkpoint()
    return "unknown", {}


def _told_there(stand: Stand, row: WhyRow, to: str) -> tuple[str, dict[str, Any]]:
    """By what holds now: what those in the segment of ``to`` hear of the user, or the relay that tells them."""
    home = stand.relay.look.segment(to)
    segment = home.name if home else ""
    audience = next((one for one in row.audience if one.segment == segment), None)
    other = stand.relay.look.at(to)
    relay = audience.by if audience and audience.why == "relay" else other.via if other else None
    informed = next((one for one in row.informed if one.relay == relay), None) if relay else None
    for found in (informed, audience):
        if found is not None and found.why == "rule":
            return "rule", {"rule": found.rule, "segment": segment}
    if informed is not None:
        reasons = {"away": f"no link to relay {relay}", "late": f"relay {relay} is still being told"}
        return ("unable", {"why": reasons[informed.why]}) if informed.why in reasons else ("yes", {})
    if audience is None:
        return "not-checked", {"why": "its segment is not served from here"}
    reasons = {
        "mute": "this relay may not speak as others",
        "between": "both are in remote segments, and between_remote is not set",
        "offline": "offline",
        "doubt": "not proven since a restart",
    }
    return ("unable", {"why": reasons[audience.why]}) if audience.why in reasons else ("yes", {})
