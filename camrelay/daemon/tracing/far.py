"""Questions between relays, over their link: what another one sees of a fault, and what it is asked to do for it.

Rules kept here: a member of the fleet is trusted only so far: what it may ask is in ``allowed``, little of it at a
time, with bounds on everything; whoever does not want the answer any more, or is gone, is not worked for any longer.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import msgspec
import trio

from camrelay.daemon import fleetnames, tracing
from camrelay.daemon.tracing.allowed import BROKEN, FAR, FarQuestion, holds, too_deep, words_in, words_of
from camrelay.daemon.wire import BUSY, EVENT, MOST_TRACED, REFUSED, RESULT, TAKEN, Cancel, Question, Reply
from camrelay.errors import FleetError, UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from camrelay.daemon.control import Tell
    from camrelay.daemon.links import Traced
    from camrelay.daemon.neighbour import LinkRow
    from camrelay.daemon.peers import Peers
    from camrelay.daemon.tracing import Stand
    from camrelay.relay.messages import RelayId
    from camrelay.trace.facts import Fact

T = TypeVar("T")
ANYTHING: Final = cast("type[Any]", Any)

FIRST_WITHIN: Final = 5.0  # seconds for the sign that a question is worked at
SIGN_OF_LIFE: Final = 3.0  # seconds between two more of them
SILENT_AFTER: Final = 10.0  # seconds without any
AT_ONCE: Final = 2  # questions of one peer
AT_ONCE_IN_ALL: Final = 4
BUSY_FOR: Final = 15.0  # seconds until a relay that is busy is given up
TRY_AGAIN: Final = 1.0
UNREAD: Final = 256  # replies to one question that wait to be read
STRANGE: Final = "{} answered {!r} in a form that is not known here"
LONGEST_WORK: Final = 130.0  # seconds, whatever was asked (a search of a segment takes two minutes)


class Far:
    """See above. ``table`` and ``find`` are for tests."""

    def __init__(
        self,
        stand: Stand,
        peers: Peers,
        table: Mapping[str, str] = FAR,
        find: Callable[[str], Awaitable[Callable[..., Awaitable[Any]]]] = tracing.find,
    ) -> None:
        self._counters = peers.links.counters
        self._stand = stand
        self._links = peers.links
        self._fleet = peers.fleet
        self._table = table
        self._find = find
        self._numbers = count(1)
        self._asked: dict[tuple[RelayId, int], trio.MemorySendChannel[Reply]] = {}
        self._turns: dict[RelayId, trio.CapacityLimiter] = {}
        self._work: dict[tuple[RelayId, int], trio.CancelScope] = {}
        # Of each peer: one measurement at a time, and when the last one began and what it found. See ``pair``.
        self.measuring: defaultdict[RelayId, trio.Lock] = defaultdict(trio.Lock)
        self.measured: dict[RelayId, tuple[float, list[Fact]]] = {}

    # -- who there is -----------------------------------------------------------------------------------------

    @property
    def me(self) -> str:
        """How this relay is called."""
        return self.name(self._fleet.me.id)

    def find(self, text: str) -> RelayId:
        """Another relay of the fleet by name or id. UsageError if there is none, or if it is this one."""
        peer = fleetnames.find(self._fleet, text)
        if peer == self._fleet.me.id:
            raise UsageError(f"{text!r} is this relay: name another one, see `camrelay peer list`")
        return peer

    def name(self, peer: RelayId) -> str:
        """How people call it."""
        return self._fleet.label(peer)

    def link(self, peer: RelayId) -> LinkRow | None:
        """How it is with the link to it."""
        return next((row for row in self._links.rows() if row.id == peer), None)

    def address(self, peer: RelayId) -> str:
        """The IPv4 address of its link; "" if there is none."""
        row = self.link(peer)
        return row.address.rpartition(":")[0] if row and row.state == "linked" else ""

    def dialled_at(self, peer: RelayId = "") -> tuple[str, ...]:
        """Where it says that it is to be reached, "host:port"; we, if it is not named."""
        return self._fleet.addresses(peer) if peer else self._fleet.me.addresses

    def linked(self, peer: RelayId) -> bool:
        """Can it be asked?"""
        return bool(self.address(peer))

    def beside(self, address: str) -> list[RelayId]:
        """The linked relays that are in the segment of this address."""
        rows = self._stand.relay.peers(trio.current_time())
        return [
            row.id for row in rows if row.linked and any(holds(network, address) for network in row.local)
        ]

    # -- asking -----------------------------------------------------------------------------------------------

    async def ask(
        self,
        peer: RelayId,
        what: str,
        params: object,
        tell: Tell | None = None,
        within: float = 60.0,
        form: type[T] = ANYTHING,
    ) -> T:
        """The answer of another relay, in this form; what it finds on the way is told.

        ``within``: seconds, once it is this question's turn. Raises FleetError, with a remedy if there is one.
        """
        turn = self._turns.setdefault(peer, trio.CapacityLimiter(AT_ONCE))
        async with turn:
            patience = trio.current_time() + BUSY_FOR
            while (body := await self._ask_once(peer, what, params, tell, within)) is None:
                if trio.current_time() >= patience:
                    raise FleetError(
                        f"{self.name(peer)} is busy with other traces: try again when they have ended"
                    )
                await trio.sleep(TRY_AGAIN)
        return self._read(self.name(peer), what, body, form)

    async def _ask_once(
        self, peer: RelayId, what: str, params: object, tell: Tell | None, within: float
    ) -> bytes | None:
        """The result as it came; None: busy."""
        if not self.linked(peer):
            raise FleetError(f"{self.name(peer)} is not linked: see `camrelay peer list`")
        number = next(self._numbers)
        send, replies = trio.open_memory_channel[Reply](UNREAD)
        self._asked[peer, number] = send
        self._links.tell(peer, Question(number, what, msgspec.json.encode(params)))
        reply = None
        try:
            with trio.move_on_after(within):
                reply = await self._follow(self.name(peer), what, replies, tell)
        finally:
            if self._asked.pop((peer, number), None) is not None and reply is None:
                self._links.tell(peer, Cancel(number))
        if reply is None:
            raise FleetError(f"{self.name(peer)} was not ready with {what!r} within {within:g} s")
        if reply.kind == REFUSED:
            raise FleetError(f"{self.name(peer)} says: {words_in(reply.body)}")
        return reply.body if reply.kind == RESULT else None

    async def _follow(
        self, name: str, what: str, replies: trio.MemoryReceiveChannel[Reply], tell: Tell | None
    ) -> Reply:
        """The last one."""
        patience = FIRST_WITHIN
        while True:
            try:
                with trio.fail_after(patience):
                    reply = await replies.receive()
            except trio.TooSlowError:
                raise FleetError(f"{name} does not answer: its camrelay is older or busy") from None
            except trio.EndOfChannel:
                raise FleetError(f"the link to {name} ended before it answered") from None
            patience = SILENT_AFTER
            if reply.kind in (RESULT, REFUSED, BUSY):
                return reply
            if reply.kind == EVENT and tell is not None:
                event = self._read(name, what, reply.body, dict[str, Any])
                try:
                    await tell(event)
                except msgspec.ValidationError:  # it took a closer look
                    raise FleetError(STRANGE.format(name, what)) from None

    def _read(self, name: str, what: str, body: bytes, form: type[T]) -> T:
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            if not too_deep(body):
                return msgspec.json.decode(body, type=form)
        raise FleetError(STRANGE.format(name, what))

    # -- what comes over the links ------------------------------------------------------------------------------

    def hear(self, peer: RelayId, message: Traced | None) -> None:
        """A peer said this; None: the link to it has ended."""
        if message is None:
            for key in [key for key in self._asked if key[0] == peer]:
                self._asked.pop(key).close()
            for key in [key for key in self._work if key[0] == peer]:
                self._work[key].cancel()
        elif isinstance(message, Question):
            self._take(peer, message)
        elif isinstance(message, Reply):
            self._replied(peer, message)
        elif (scope := self._work.get((peer, message.number))) is not None:
            scope.cancel()

    def _replied(self, peer: RelayId, reply: Reply) -> None:
        reader = self._asked.get((peer, reply.number))
        if reader is None:
            return
        try:
            reader.send_nowait(reply)
        except trio.WouldBlock:  # it says more than anybody reads
            self._count("trace answers of peers cut off: too many")
            self._asked.pop((peer, reply.number)).close()
            self._links.tell(peer, Cancel(reply.number))

    def _take(self, peer: RelayId, question: Question) -> None:
        place = self._table.get(question.what)
        running = [key[0] for key, scope in self._work.items() if not scope.cancel_called]
        why, kind = "", REFUSED
        if (peer, question.number) in self._work:
            why = "this number is taken"
        elif place is None:
            why = f"{question.what!r} is not known here: upgrade camrelay on {self.me}"
        elif running.count(peer) >= AT_ONCE or len(running) >= AT_ONCE_IN_ALL:
            why, kind = "busy with other traces", BUSY
        elif not self._stand.often.spend(peer, trio.current_time()):
            why = "asked too often: try again in 10 s"
        if why or place is None:
            self._count("trace questions of peers refused")
            self._reply(peer, question.number, kind, why)
            return
        self._count("trace questions of peers")
        scope = self._work[peer, question.number] = trio.CancelScope()
        self._reply(peer, question.number, TAKEN, None)
        self._links.beside(self._answer, place, peer, question, scope)

    # -- answering -------------------------------------------------------------------------------------------------

    async def _answer(self, place: str, peer: RelayId, question: Question, scope: trio.CancelScope) -> None:
        """Work at it, and say what came of it. Raises nothing."""
        reply = partial(self._reply, peer, question.number)
        asked = FarQuestion(question.what, question.params, peer, self.name(peer), self.address(peer))
        try:
            with scope, trio.move_on_after(LONGEST_WORK) as limit:
                reply(*await self._outcome(place, asked, partial(self._event, peer, question.number)))
            if limit.cancelled_caught:
                reply(REFUSED, f"{question.what!r} took longer than {LONGEST_WORK:g} s")
        finally:
            del self._work[peer, question.number]

    async def _outcome(self, place: str, asked: FarQuestion, tell: Tell) -> tuple[int, object]:
        result: object = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._show_life, tell)
                answer = await self._find(place)
                result = await answer(self._stand, asked, tell)
                nursery.cancel_scope.cancel()
        except Exception as error:  # noqa: BLE001 - a peer's words never end the daemon
            if (said := words_of(error)) is None:
                self._count("trace questions of peers failed: bug")
                self._stand.log.bug("a peer's question failed", error, peer=asked.name, what=asked.do)
                said = BROKEN
            return REFUSED, said
        return RESULT, result

    async def _event(self, peer: RelayId, number: int, event: object) -> None:
        await trio.lowlevel.checkpoint()
        self._reply(peer, number, EVENT if event else TAKEN, event or None)

    async def _show_life(self, tell: Tell) -> None:
        while True:
            await trio.sleep(SIGN_OF_LIFE)
            await tell({})

    def _reply(self, peer: RelayId, number: int, kind: int, value: object) -> None:
        try:
            body = msgspec.json.encode(value)
        except (TypeError, ValueError, RecursionError):  # a name with half a character, perhaps
            kind, body = REFUSED, msgspec.json.encode("the answer cannot be written")
        if len(body) > MOST_TRACED:
            kind, body = REFUSED, msgspec.json.encode("the answer is too long for one message")
        self._links.tell(peer, Reply(number, kind, body))

    def _count(self, cause: str) -> None:
        self._counters[cause] = self._counters.get(cause, 0) + 1
