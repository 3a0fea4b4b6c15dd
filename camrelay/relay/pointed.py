"""Clients whose own broadcast setting names us: they say BR_ENTRY to us alone, unasked. Nothing is decided by it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from camrelay.ipmsg.presence import Kind
from camrelay.relay.context import Recently

if TYPE_CHECKING:
    from camrelay.ipmsg.presence import Presence
    from camrelay.relay.outputs import Datagram

MOST = 2_048  # addresses: with all names at their longest 2 MB; strangers may forge more
WARM_FOR = 10.0  # seconds: Windows' BR_ENTRY follows its NOOPERATION after 0.25, and again after 5
KEPT_FOR = 7 * 86_400.0  # seconds: a PC that is never switched off speaks only when its list is refreshed
LATELY = 600.0  # seconds in which two names at one address are two people; they may also have taken turns
TURNS = 3  # changes of the name that are remembered; a PC that is handed over changes it once or twice a day
TURNS_WITHIN = 86_400.0


class Turn(NamedTuple):
    """Somebody spoke from an address."""

    name: str
    at: float


class Heard(NamedTuple):
    """All of one address. ``turns``: the last speakers, each other than the one before."""

    times: int
    turns: tuple[Turn, ...]


class Pointed:
    """See above. Who spoke last is last in the table, and forgotten last."""

    def __init__(self) -> None:
        self._heard: dict[str, Heard] = {}
        self._warmed = Recently(WARM_FOR, MOST)

    def warmed_up(self, datagram: Datagram, now: float) -> None:
        """NOOPERATION: Windows says it to all whom its settings name, just before its BR_ENTRY."""
        if not datagram.broadcast:
            self._warmed.note(datagram.source, now)

    def note(self, datagram: Datagram, presence: Presence, now: float) -> None:
        """A BR_ENTRY. One to us as member master does not count, nor what we asked Windows to tell us (DIALUPOPT)."""
        if datagram.broadcast or b"\nIP:" in datagram.data:
            return
        if presence.kind is Kind.WINDOWS and not self._warmed.within(datagram.source, now):
            return
        times, turns = self._heard.pop(datagram.source, Heard(0, ()))
        name = presence.nick_text or presence.logon_text
        if turns and turns[-1].name == name:
            turns = turns[:-1]
        if len(self._heard) >= MOST:
            del self._heard[next(iter(self._heard))]
        self._heard[datagram.source] = Heard(times + 1, (*turns, Turn(name, now))[-TURNS:])

    def times(self, address: str, now: float) -> int:
        """How often somebody spoke to us from there."""
        heard = self._heard.get(address)
        return heard.times if heard and now - heard.turns[-1].at < KEPT_FOR else 0

    def names(self, address: str, now: float) -> list[str]:
        """Who spoke from there lately; several are several PCs behind one address."""
        heard = self._heard.get(address)
        turns = heard.turns if heard else ()
        if len(turns) < TURNS or now - turns[0].at > TURNS_WITHIN:
            turns = tuple(turn for turn in turns if now - turn.at < LATELY)
        return list(dict.fromkeys(turn.name for turn in turns))
