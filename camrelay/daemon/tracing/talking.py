"""The checks in which a client itself is asked: does it answer, what is it, what passes, whom does it list?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import trio

from camrelay.daemon.tracing.known import client, decremented
from camrelay.relay.questions import Asked
from camrelay.trace.facts import Fact

if TYPE_CHECKING:
    from collections.abc import Callable

    from camrelay.daemon.tracing.checklist import Checklist
    from camrelay.daemon.tracing.interview import Interview
    from camrelay.daemon.tracing.known import Known
    from camrelay.daemon.tracing.reaching import Reaching

# Linux hosts and routers send six ICMP errors at once, then one a second. Those about our own questions teach nothing,
# so the questions come after what listens for errors.
AFTER_STEPS: Final = 0.15  # seconds
AGAIN: Final = 4.5  # seconds until BR_ENTRY is asked again: the slowest client answers after 4.1
UNANSWERED: Final = 9.5  # seconds after which there is no answer: the same once more, and some for the way
CLOSED: Final = 2.5  # seconds, if the host itself said that nothing listens: most clients answer within 2
QUIET_AGAIN: Final = 1.2  # seconds: quiet questions are answered at once; a lost one is asked again,
QUIET: Final = 2.5  # and given up
PAGE: Final = 2.0  # seconds for the next page of a member list
LARGE: Final = 4.6  # seconds: the slowest client,
LARGE_AGAIN: Final = 2.3  # and once more in between, as all fragments of one have to arrive
PAD: Final = 2_900  # bytes: with names and headers three fragments of 1500
MUTE: Final = "it does not answer at all"


class Talking:
    """Each method without arguments is the check of its name."""

    def __init__(
        self, talk: Interview, checks: Checklist, known: Known, reaching: Reaching, route: Fact
    ) -> None:
        self._talk = talk
        self._checks = checks
        self._known = known
        self._reaching = reaching
        self._source = route.detail.get("source", "")
        self._began = talk.began

    async def begin(self) -> None:
        """The questions that no user sees, and the one that all clients answer."""
        await trio.sleep(AFTER_STEPS)
        quiet = Asked.INFO | Asked.KEY
        if not self._known.keeps_its_list:
            quiet |= Asked.LIST  # first: BR_ENTRY puts us into its list
        self._talk.ask(quiet)
        self._talk.ask(Asked.ENTRY)

    def _about(self, check: str, outcome: str, **detail: Any) -> Fact:
        """Of a check that began with all others."""
        return Fact(check, outcome, round(trio.current_time() - self._began, 3), detail=detail)

    def _mute(self, check: str) -> Fact:
        return Fact(check, "not-checked", detail={"why": MUTE})

    # -- does it answer? -------------------------------------------------------------------------------------------

    async def udp(self) -> Fact:
        """BR_ENTRY by our own presence, twice if need be."""
        talk, reaching, began = self._talk, self._reaching, self._began
        await talk.until(lambda: talk.answered() or reaching.refused(), began + CLOSED)
        if not (talk.answered() or reaching.refused()):
            await talk.until(talk.answered, began + AGAIN)
        if not talk.spoke() and not reaching.hopeless():
            talk.ask(Asked.ENTRY | Asked.INFO)
            await talk.until(talk.spoke, began + UNANSWERED)
        if talk.first is not None:
            seconds = round(talk.first_at - talk.began, 4)
            detail = {"ms": round(seconds * 1000, 1), "ttl": talk.first.ttl, "port": talk.first.port}
            return Fact("udp", "answered", seconds, detail=detail)
        if said := reaching.said():
            return self._about("udp", said.outcome, **said.detail)
        return self._about("udp", "silent", waited=round(trio.current_time() - began, 1))

    async def names(self) -> Fact | None:
        """Under how many names does it speak, now and lately?"""
        await self._checks.wait("udp")
        await self._checks.wait("large")
        names = list(dict.fromkeys([*self._talk.names.values(), *self._known.names_heard]))
        if not names:
            return None
        return Fact("names", "several" if len(names) > 1 else "one", detail={"names": names})

    async def answer_ttl(self) -> Fact | None:
        """A neighbour's answer that came through a router."""
        await self._checks.wait("udp")
        ttl = self._talk.first.ttl if self._talk.first else 0
        if not ttl:
            return None
        return Fact("answer-ttl", "through-router" if decremented(ttl) else "whole", detail={"ttl": ttl})

    # -- what it answers -------------------------------------------------------------------------------------------

    async def info(self) -> Fact:
        """GETINFO."""
        versions = self._talk.versions
        if await self._quiet(Asked.INFO, lambda: bool(versions)):
            return self._about("info", "answered", version=versions[0])
        return self._about("info", "silent") if self._talk.spoke() else self._mute("info")

    async def pubkey(self) -> Fact:
        """GETPUBKEY."""
        if await self._quiet(Asked.KEY, lambda: self._talk.bits > 0):
            return self._about("pubkey", "answered", bits=self._talk.bits)
        return self._about("pubkey", "silent") if self._talk.spoke() else self._mute("pubkey")

    async def _quiet(self, kind: Asked, got: Callable[[], bool]) -> bool:
        """Wait for what is answered at once. From a host that says nothing at all, as long as for anything."""
        talk = self._talk
        if await talk.until(got, self._began + QUIET_AGAIN):
            return True
        talk.ask(kind)
        if await talk.until(got, self._began + QUIET):
            return True
        if not talk.spoke():
            await self._checks.wait("udp")
        return await talk.until(got, talk.first_at + QUIET_AGAIN)

    async def large(self) -> Fact:
        """A question in fragments: GETINFO where that is answered, which is at once, else BR_ENTRY."""
        await self._checks.wait("udp")
        await self._checks.wait("info")
        talk = self._talk
        if not talk.spoke():
            return self._mute("large")
        began = trio.current_time()
        kind: Asked = Asked.INFO if talk.versions else Asked.ENTRY
        said: list[Any] = talk.versions if talk.versions else talk.answers
        passes, size = None, 0
        while passes is None:
            passes, size = await self._large(kind, said)
        seconds = round(trio.current_time() - began, 3)
        return Fact("large", "passes" if passes else "lost", seconds, detail={"bytes": size})

    async def _large(self, kind: Asked, said: list[Any]) -> tuple[bool | None, int]:
        """Is it answered? None: what came may answer a small question of the relay's own. And the bytes sent."""
        talk = self._talk
        # Answers do not say to what: those to small questions, which may be still to come, go first.
        await talk.until(lambda: len(said) >= talk.small[kind], talk.small_at.get(kind, 0.0) + AGAIN)
        heard, small, began = len(said), talk.small[kind], trio.current_time()

        def surplus() -> bool:
            return len(said) - heard > talk.small[kind] - small

        size = talk.ask(kind, pad=PAD)
        if not await talk.until(surplus, began + LARGE_AGAIN):
            talk.ask(kind, pad=PAD)
            await talk.until(surplus, began + LARGE)
        return (None if len(said) > heard and not surplus() else surplus()), size

    async def client(self) -> Fact:
        """What kind it is, by its own word or what is known of it."""
        await self._checks.wait("udp")
        await self._checks.wait("info")
        talk = self._talk
        presence = talk.answers[-1].presence if talk.answers else self._known.presence
        return client(presence, talk.versions[0] if talk.versions else "")

    async def view(self) -> Fact:
        """Whom its client lists, against whom it should."""
        talk, why = self._talk, self._known.keeps_its_list
        if why:
            return Fact("view", "not-given", detail={"why": why})
        if not await self._quiet(Asked.LIST, lambda: talk.pages > 0):
            if not talk.spoke():
                return self._mute("view")
            return self._about("view", "not-given", why="it was asked, and did not answer")
        while talk.following:
            page = talk.pages
            if not self._known.reads_its_list():  # else the relay asks by itself
                talk.ask(Asked.LIST, start=talk.following)
            if not await talk.until(lambda page=page: talk.pages > page, trio.current_time() + PAGE):  # type: ignore[misc]
                return self._about("view", "not-checked", why="its list broke off")
        return self._known.view(talk.listed, self._source)
