"""The links to all other members of the fleet: one session for each, dialled from either side.

Rules kept here: what the two sides keep of two connections is decided by the same rule at both ends, so it is the same
one; a member that is slow, silent or hostile costs its own session and nobody else's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from camrelay.daemon.meeting import ALREADY, AlreadyConnected, Meeting, is_elsewhere
from camrelay.daemon.neighbour import LinkRow, Neighbour
from camrelay.daemon.session import CAUSES, Session, frame
from camrelay.daemon.wire import Bye, Cancel, Members, Question, Reply, Seen, Unknown
from camrelay.errors import LinkError, MalformedFrame, PeerRefused
from camrelay.relay.messages import Changes, Digest, Marks, Reach, Rows

if TYPE_CHECKING:
    import random
    import ssl
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from camrelay.daemon.fleet import Fleet
    from camrelay.daemon.log import Log
    from camrelay.daemon.session import Line, Message
    from camrelay.daemon.wire import LinkMessage
    from camrelay.relay.messages import PeerMessage, RelayId
    from camrelay.relay.outputs import Output
    from camrelay.relay.relay import Relay

    Traced = Question | Reply | Cancel
    Reaching = Callable[[str, ssl.SSLContext, Collection[str], str], Awaitable[Line]]

HEARD_EVERY: Final = 60.0  # seconds: how old the note on disk may be that a peer is linked
STOPPING: Final = "it is being stopped"


class Links:
    """See above. ``act``: lets happen what the relay decided; ``heard``: a peer is linked, or was until now."""

    def __init__(
        self,
        fleet: Fleet,
        relay: Relay,
        *,
        act: Callable[[list[Output], float], None],
        log: Log,
        boot: int,
        chance: random.Random,
        reach: Reaching,
        enrol: Callable[[Line], Awaitable[None]],
        heard: Callable[[RelayId], None] = lambda peer: None,
    ) -> None:
        self.counters: dict[str, int] = {}
        self.context: ssl.SSLContext | None = None  # for those who dial us; None: nobody may
        self.traced: Callable[[RelayId, Traced | None], None] = lambda peer, message: (
            None
        )  # None: it has ended
        self._fleet = fleet
        self._relay = relay
        self._act = act
        self._log = log
        self._meeting = Meeting(fleet, boot, chance, self)
        self._chance = chance
        self._reach = reach
        self._enrol = enrol
        self._heard = heard
        self._client: ssl.SSLContext | None = None
        self._known: tuple[bytes, tuple[bytes, ...]] | None = None  # what the contexts were made of
        self._neighbours: dict[RelayId, Neighbour] = {}
        self._nursery: trio.Nursery | None = None
        self._leaving = False

    # -- for the rest of the daemon ------------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep sessions with all members, until cancelled. Started: whoever may dial us can be recognised."""
        async with trio.open_nursery() as self._nursery:
            self.refresh()
            task_status.started()
            while True:
                await trio.sleep(HEARD_EVERY)
                for neighbour in self._neighbours.values():
                    if neighbour.session:
                        self._heard(neighbour.id)

    def tell(self, peer: RelayId, message: PeerMessage | LinkMessage) -> None:
        """Queue a message. A peer without a session is not told; one whose queue is full loses the session."""
        neighbour = self._neighbours.get(peer)
        if neighbour is None or neighbour.session is None or self._nursery is None:
            return
        try:
            if not neighbour.session.put(frame(message)):
                # soon, not now: the relay may be in the middle of what it has to say
                self._nursery.start_soon(self._too_slow, neighbour.session)
        except MalformedFrame as error:
            self._count("peer messages not sent: too large")
            self._log.error("peer not told", peer=neighbour.name, cause=str(error))

    def rows(self) -> list[LinkRow]:
        """All links, by name."""
        now = trio.current_time()
        return sorted((each.row(now) for each in self._neighbours.values()), key=lambda row: row.name)

    def beside(self, work: Callable[..., Awaitable[None]], *arguments: object) -> None:
        """Run this as long as we run. It may raise nothing."""
        assert self._nursery is not None
        self._nursery.start_soon(work, *arguments)

    def wake(self) -> None:
        """The network is different: dial now whoever has no session."""
        for neighbour in self._neighbours.values():
            if not neighbour.session:
                neighbour.hurry()

    def refresh(self) -> None:
        """The fleet is different. Sessions of those who are no members any more end at once."""
        if self._nursery is None:
            return
        self._renew_contexts()
        members = self._fleet.members
        for neighbour in [each for each in self._neighbours.values() if each.id not in members]:
            if neighbour.session:
                self.over(neighbour.session, "removed", "", *self._fleet.dismissal(neighbour.id))
            neighbour.gone = True
            neighbour.stir()
            del self._neighbours[neighbour.id]
        for peer in members:
            if peer in self._neighbours:
                self._neighbours[peer].name = self._fleet.label(peer)
            else:
                neighbour = self._neighbours[peer] = Neighbour(peer, self._fleet.label(peer))
                self._nursery.start_soon(self._keep, neighbour)

    async def leave(self) -> None:
        """Say good-bye to all, after what they are still to be told."""
        self._leaving = True
        sessions = [each.session for each in self._neighbours.values() if each.session]
        for neighbour in self._neighbours.values():
            neighbour.gone = True
        for session in sessions:
            session.close(Bye(STOPPING), flush=True)
        for session in sessions:
            await session.done.wait()

    def _renew_contexts(self) -> None:
        if not self._fleet.needed:
            self.context = self._client = self._known = None
            return
        key, pins = self._fleet.key(), self._fleet.pins()
        if self._known != (key.cert, pins):
            self._known = key.cert, pins
            self.context, self._client = key.server_context(pins), key.client_context()

    def _count(self, cause: str) -> None:
        self.counters[cause] = self.counters.get(cause, 0) + 1

    # -- a session ----------------------------------------------------------------------------------------

    def _begin(self, neighbour: Neighbour, session: Session, where: str = "") -> None:
        """This is the session with that peer from now on."""
        if neighbour.session:
            self.over(neighbour.session, "replaced", "", Bye("replaced by a newer connection"))
        neighbour.begun(session, where)
        self._log.info(
            "peer linked",
            peer=neighbour.name, address=session.line.address,
            dialled="here" if session.dialled else "there", software=session.hello.software,
        )  # fmt: skip
        for message in self._fleet.greeting(neighbour.id):
            session.put(frame(message))
        self._heard(neighbour.id)
        now = trio.current_time()
        self._act(self._relay.linked(neighbour.id, now), now)

    def heard(self, session: Session, message: Message) -> None:
        """For sessions: a message has come."""
        peer = session.peer
        if isinstance(message, Reach | Digest | Marks | Rows | Changes):
            now = trio.current_time()
            self._act(self._relay.hear(peer, message, now), now)
        elif isinstance(message, Members | Seen):
            for to, answer in self._fleet.hear(peer, message):
                self.tell(to, answer)
        elif isinstance(message, Question | Reply | Cancel):
            self.traced(peer, message)
        elif isinstance(message, Unknown):
            self._count("peer messages ignored: of a newer camrelay")
        else:
            self._count("peer messages ignored: out of place")

    def emptied(self, session: Session) -> None:
        """For sessions: all is sent, so there is room for more."""
        now = trio.current_time()
        self._act(self._relay.more(session.peer, now), now)

    def over(self, session: Session, cause: str, text: str = "", *words: LinkMessage) -> None:
        """For sessions: it has ended, or has to."""
        session.close(*words)
        neighbour = self._neighbours.get(session.peer)
        if neighbour is None or neighbour.session is not session:
            return
        lasted = neighbour.ended(cause, self._chance)
        self._count(CAUSES[cause])
        why = CAUSES[cause].partition(": ")[2]
        neighbour.problem = f"{why}: {text}" if text else why
        say = self._log.warning if cause in ("slow", "malformed", "silent") else self._log.info
        say("peer link ended", peer=neighbour.name, cause=neighbour.problem, lasted=round(lasted, 1))
        self._heard(neighbour.id)
        self.traced(neighbour.id, None)
        now = trio.current_time()
        self._act(self._relay.unlinked(neighbour.id, now), now)

    async def _too_slow(self, session: Session) -> None:
        self.over(session, "slow", "", Bye("you read too slowly"))

    # -- who dials us ---------------------------------------------------------------------------------------

    async def admit(self, line: Line) -> Session | None:
        """Find out who has come. A session, to be run by the caller; or None, and the line is closed."""
        who = self._fleet.who(line.key) or ("unknown", "")
        words: Sequence[LinkMessage] = ()
        session = None
        try:
            match who:
                case _ if self._leaving:
                    words = (Bye(STOPPING),)
                case "member", peer if peer in self._neighbours:
                    session = await self._let_in(self._neighbours[peer], line)
                case "invitation", _:
                    await self._enrol(line)
                case "removed", peer:
                    self.refused(line.address, "removed from the fleet")
                    words = self._fleet.dismissal(peer)
                case _:
                    self.refused(line.address, "unknown key")
                    words = (Bye("your key is not known here: ask for `camrelay peer list` there"),)
        except AlreadyConnected:
            words = (Bye(ALREADY),)
        except (LinkError, MalformedFrame) as error:
            self.refused(line.address, str(error))
            words = (Bye(str(error)),)
        finally:
            if session is None:
                await line.part(*words)
        return session

    def refused(self, address: str, why: str) -> None:
        """Somebody came from "address:port" and may not stay."""
        self._count("peer connections refused")
        self._log.warning("peer refused", source=address.rpartition(":")[0], cause=why)

    async def _let_in(self, neighbour: Neighbour, line: Line) -> Session:
        session = await self._meeting.with_guest(neighbour, line)
        if is_elsewhere(neighbour.session, session):
            self._log.warning(
                "peer is at two addresses", peer=neighbour.name, address=line.address, other=neighbour.address,
                remedy="if these are two boxes, remove peer.pem and fleet.toml on one of them and enrol it",
            )  # fmt: skip
        self._begin(neighbour, session)
        return session

    # -- whom we dial ---------------------------------------------------------------------------------------

    async def _keep(self, neighbour: Neighbour) -> None:
        """A session with this member, as long as it is one."""
        while not neighbour.gone:
            if neighbour.session or trio.current_time() < neighbour.due:
                await neighbour.wait()
                continue
            neighbour.dialling = True
            session = await self._dial(neighbour)
            neighbour.dialling = False
            if session:
                await session.run()
            elif not neighbour.session:
                neighbour.put_off(self._chance)

    async def _dial(self, neighbour: Neighbour) -> Session | None:
        problem = f"{neighbour.name} has told no address where it can be reached: it has to dial us"
        told = False
        for where in neighbour.in_order(self._fleet.addresses(neighbour.id)):
            if neighbour.gone or neighbour.session or self._client is None:
                return None
            neighbour.address = where
            try:
                pins = self._fleet.pins_of(neighbour.id)
                line = await self._reach(where, self._client, pins, neighbour.name)
                session = await self._meeting.with_host(neighbour, line)
                if session:
                    self._begin(neighbour, session, where)
                return session
            except AlreadyConnected:
                return None
            except (LinkError, MalformedFrame) as error:
                if not told:  # an address that answers, and refuses us, is the one to tell of
                    problem = str(error)
                told = told or isinstance(error, PeerRefused)
        neighbour.refused = told
        if problem != neighbour.problem:
            neighbour.problem = problem
            self._log.warning("peer not linked", peer=neighbour.name, cause=problem)
        return None
