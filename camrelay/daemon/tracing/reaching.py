"""The checks of the way to a host: its wire, its path, its neighbours there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from camrelay.daemon.probes.hops import Walk, path_fact, udp_fact
from camrelay.daemon.tracing.known import is_windows, nick
from camrelay.ipmsg.command import PORT
from camrelay.relay.looking import nothing
from camrelay.relay.questions import Asked
from camrelay.trace.facts import Fact

if TYPE_CHECKING:
    from camrelay.daemon.tracing import Stand
    from camrelay.daemon.tracing.checklist import Checklist
    from camrelay.daemon.tracing.examining import Probes
    from camrelay.daemon.tracing.interview import Interview
    from camrelay.relay.user import User

AFTER_QUESTIONS: Final = 0.8  # seconds: the many datagrams of ``mtu`` come after what hopes for ICMP errors
SOON: Final = 1.5  # seconds after which a host that said nothing is worth asking its neighbours for
OTHERS: Final = 3  # users who are asked beside it
OTHERS_WITHIN: Final = 4.5  # seconds: the slowest client answers after 4.1
OTHER_PORT: Final = 33_434  # what traceroute begins with
SHORT: Final = 60  # bytes of a datagram that means nothing
LURES: Final = 3  # addresses beyond the router that a host with too wide a mask looks for on its wire
CLOSED: Final = ("silent", "prohibited", "unreachable")


class Reaching:
    """Each method without arguments is the check of its name, but for those that say what the path taught."""

    def __init__(
        self, stand: Stand, address: str, probes: Probes, checks: Checklist, talk: Interview, route: Fact
    ) -> None:
        self.route = route
        self.on_link = route.outcome == "on-link"
        self._stand = stand
        self._address = address
        self._probes = probes
        self._checks = checks
        self._talk = talk
        self._walked: Walk | None = None
        self._other: Walk | None = None

    # -- what the path taught --------------------------------------------------------------------------------------

    def said(self) -> Fact | None:
        """What ICMP errors say of UDP 2425."""
        return udp_fact(self._walked) if self._walked else None

    def refused(self) -> bool:
        """Did the host itself say that nothing listens?"""
        end = self._walked.end if self._walked else None
        return end is not None and end.kind == "refused" and end.by == self._address

    def hopeless(self) -> bool:
        """Did a router, or the silence of the wire, say that nothing gets there?"""
        neighbour = self._checks.get("neighbour")
        return (neighbour is not None and neighbour.outcome == "unresolved") or self.said() is not None

    # -- the way ---------------------------------------------------------------------------------------------------

    async def arp(self) -> Fact:
        """Who answers for its address, and whom it looks for, all the while."""
        lures = self._stand.relay.look.beyond(self._address, LURES)
        with self._probes.arp(self.route.detail["interface"], self._address, lures) as watch:
            await self._checks.wait("neighbour")
            await self._checks.wait("icmp")
            fact: Fact = await watch.fact()
            return fact

    async def mtu(self) -> Fact:
        """The largest datagram that nobody has to fragment."""
        await trio.sleep(AFTER_QUESTIONS)
        return await self._probes.mtu(self._address, PORT, nothing)

    async def path(self) -> Fact:
        """UDP 2425 step by step; what errors say of the port counts for ``udp`` too."""
        talk = self._talk
        self._walked = walked = await self._walk(PORT)
        talk.stir()
        await self._checks.wait("path-other")
        if not (self.on_link or walked.arrived):
            await self._checks.wait("udp")
        return path_fact(walked, talk.spoke(), other=self._other)

    async def path_other(self) -> Fact | None:
        """The same for another port, if it says nothing at this one."""
        if self.on_link or await self._talk.until(self._talk.spoke, self._talk.began + SOON):
            return None
        self._other = await self._walk(OTHER_PORT)
        return path_fact(self._other, check="path-other")

    async def _walk(self, port: int) -> Walk:
        return await self._probes.walk(self._address, port, nothing(SHORT), enough=self._talk.spoken)

    # -- its neighbours --------------------------------------------------------------------------------------------

    async def others(self) -> Fact | None:
        """Users beside it, if it says nothing itself."""
        if await self._talk.until(self._talk.spoke, self._talk.began + SOON):
            return None
        users = self._beside()
        if not users:
            return Fact("others", "none-known")
        began = trio.current_time()
        heard = await self._ask(users)
        seconds = round(trio.current_time() - began, 3)
        detail = {"asked": len(users), "answered": len(heard)}
        if not heard:
            return Fact("others", "silent", seconds, detail=detail)
        names = [nick(user) for user in users if user.address in heard]
        return Fact("others", "answer", seconds, detail=detail | {"names": names})

    async def others_tcp(self) -> Fact | None:
        """TCP to users beside it, if it lets in UDP alone."""
        tcp = await self._checks.wait("tcp")
        await self._checks.wait("udp")
        if not self._talk.spoke() or tcp is None or tcp.outcome not in CLOSED:
            return None
        began = trio.current_time()
        found: list[Fact] = []

        async def connect(user: User) -> None:
            found.append(await self._probes.tcp(user.address, PORT))

        async with trio.open_nursery() as nursery:
            for user in self._beside():
                nursery.start_soon(connect, user)
        opened = sum(fact.outcome in ("open", "refused") for fact in found)
        seconds = round(trio.current_time() - began, 3)
        if not found:
            return Fact("others-tcp", "none-known")
        outcome = "open" if opened else "silent"
        return Fact("others-tcp", outcome, seconds, detail={"open": opened, "asked": len(found)})

    def _beside(self) -> list[User]:
        return self._stand.relay.look.others(self._address, OTHERS)

    async def _ask(self, users: list[User]) -> set[str]:
        """The addresses of those that say anything."""
        stand, now = self._stand, trio.current_time()
        addresses = {user.address for user in users}
        heard: set[str] = set()
        with stand.tap.listen(lambda seen: not seen.outgoing and seen.address in addresses) as ear:
            for user in users:
                kind = Asked.INFO if is_windows(user) else Asked.ENTRY
                stand.act(stand.relay.ask(user.address, kind, now), now)
            with trio.move_on_after(OTHERS_WITHIN):
                async for seen in ear:
                    heard.add(seen.address)
                    if heard == addresses:
                        break
        return heard
