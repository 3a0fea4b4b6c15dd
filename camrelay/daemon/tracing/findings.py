"""The facts about the way between two relays, as they are found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

if TYPE_CHECKING:
    from camrelay.daemon.control import Tell
    from camrelay.trace.facts import Fact

ENDS: Final = ("-out", "-in")
CHECKS: Final = (
    "udp",
    "large",
    "mtu",
    "tcp",
    "calls",
    "source",
    "speak-own",
    "speak-foreign",
    "path",
)  # as shown


class Facts:
    """What was found so far."""

    def __init__(self, tell: Tell, role: str, by: str) -> None:
        self._tell = tell
        self._role = role
        self._by = by
        self._facts: dict[str, Fact] = {}

    async def begin(self, *checks: str) -> None:
        """These are being made now."""
        for check in checks:
            await self._tell({"begun": check, "role": self._role, "by": self._by})

    async def add(self, fact: Fact) -> None:
        """One more."""
        made = replace(fact, role=self._role, by=self._by, seconds=round(fact.seconds, 3))
        self._facts[fact.check] = made
        await self._tell({"fact": made})

    def in_order(self) -> list[Fact]:
        """All, as they are to be shown."""
        checks = ["link", *(check + end for check in CHECKS for end in ENDS)]
        return [self._facts[check] for check in checks if check in self._facts]
