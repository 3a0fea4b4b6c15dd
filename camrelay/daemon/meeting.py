"""How two relays meet on a line: hello, versions, and which one of two connections stays.

Rule kept here: a side that is refused is told why, in words that say what to do.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from camrelay import __version__
from camrelay.daemon.session import Session, frame
from camrelay.daemon.wire import VERSION, Bye, Hello, Members
from camrelay.errors import LineEnded, LinkError, MalformedFrame, PeerRefused

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from camrelay.daemon.fleet import Fleet
    from camrelay.daemon.neighbour import Neighbour
    from camrelay.daemon.session import Line, Message, Owner
    from camrelay.daemon.wire import LinkMessage
    from camrelay.relay.messages import RelayId

ALREADY: Final = "already connected"  # no mistake: see ``stays``


class AlreadyConnected(LinkError):
    """The other side keeps another connection with us."""


class Unsuitable(PeerRefused):
    """It is us who cannot talk to the other side, so it has to be told why."""


async def ask_in(line: Line, mine: Hello, who: str) -> Hello | Members:
    """On the dialling side: say hello, and return the answer; Members: what one who was removed has to know.

    Raises LinkError, of which PeerRefused is for people to mend; MalformedFrame.
    """
    with suppress(LineEnded):  # it may have said why before it closed
        await line.say(mine)
    try:
        answer = await line.listen()
    except LineEnded:
        # In TLS 1.3 the side that is refused sees its own handshake succeed, and then the end.
        raise PeerRefused(f"{who} does not know our key: ask for `camrelay peer list` there") from None
    except LinkError as error:
        raise LinkError(f"{who} {error}") from None
    if isinstance(answer, Members):
        return answer
    if isinstance(answer, Bye):
        raise (
            AlreadyConnected(who) if answer.reason == ALREADY else PeerRefused(f"{who} said: {answer.reason}")
        )
    return _checked(answer, mine.name, who)


async def let_in(line: Line, name: str, who: str) -> Hello:
    """On the other side: the hello of who dialled. ``name``: ours. LinkError, PeerRefused, MalformedFrame."""
    try:
        return _checked(await line.listen(), name, who)
    except (LineEnded, PeerRefused):
        raise
    except LinkError as error:
        raise LinkError(f"{who} {error}") from None


def _checked(message: Message, name: str, who: str) -> Hello:
    if not isinstance(message, Hello):
        raise Unsuitable(f"{who} began with {type(message).__name__} instead of Hello")
    if message.v != VERSION:
        older = name if message.v > VERSION else message.name
        raise Unsuitable(
            f"{message.name} speaks version {message.v} of the peers' language, {name} version {VERSION}: "
            f"upgrade camrelay on {older}"
        )
    return message


def stays(session: Session, hello: Hello, dialled: bool, me: RelayId) -> bool:
    """Does this session stay, now that its peer says this hello on another connection (``dialled`` by us)?

    Both relays ask this of the same two connections, and keep the same one: the one that the smaller id dialled. Unless
    the peer was started again, or has seen this session end, or dialled both.
    """
    if hello.boot != session.hello.boot or hello.lost == session.number or session.dialled == dialled:
        return False
    return session.dialled == (me < session.peer)


def is_elsewhere(old: Session | None, new: Session) -> bool:
    """Two boxes with one key take each other's place for ever: is this the other one?"""
    return (
        old is not None
        and not (old.dialled or new.dialled)
        and old.hello.boot != new.hello.boot
        and old.line.address.rpartition(":")[0] != new.line.address.rpartition(":")[0]
    )


class Meeting:
    """Makes sessions of lines. Between its answer and the session's begin nobody may wait: see ``stays``."""

    def __init__(self, fleet: Fleet, boot: int, chance: random.Random, owner: Owner) -> None:
        self._fleet = fleet
        self._boot = boot
        self._chance = chance
        self._owner = owner

    async def with_guest(self, neighbour: Neighbour, line: Line) -> Session:
        """A session with the member that has dialled us. LinkError, MalformedFrame: none, and the line is open."""
        me = self._fleet.me
        hello = await let_in(line, me.name, neighbour.name)
        if neighbour.gone:
            raise PeerRefused(f"{neighbour.name} was removed from the fleet")
        if neighbour.session and stays(neighbour.session, hello, dialled=False, me=me.id):
            raise AlreadyConnected(neighbour.name)
        session = Session(line, neighbour.id, hello, hello.number, dialled=False, owner=self._owner)
        session.put(frame(self._hello(hello.number)))
        return session

    async def with_host(self, neighbour: Neighbour, line: Line) -> Session | None:
        """A session with the member that we dialled. Else None, LinkError or MalformedFrame, and the line is closed."""
        session = None
        words: Sequence[LinkMessage] = ()
        mine = self._hello(self._chance.getrandbits(62) + 1, neighbour.lost)
        try:
            answer = await ask_in(line, mine, f"{neighbour.name} ({line.address})")
            if isinstance(answer, Members):
                self._fleet.hear(neighbour.id, answer)
            elif neighbour.gone:
                words = self._fleet.dismissal(neighbour.id)
            elif neighbour.session and stays(neighbour.session, answer, dialled=True, me=self._fleet.me.id):
                words = (Bye(ALREADY),)
            else:
                session = Session(line, neighbour.id, answer, mine.number, dialled=True, owner=self._owner)
        except (Unsuitable, MalformedFrame) as error:
            words = (Bye(str(error)),)
            raise
        finally:
            if session is None:
                await line.part(*words)
        return session

    def _hello(self, number: int, lost: int = 0) -> Hello:
        return Hello(VERSION, self._fleet.me.name, f"camrelay {__version__}", self._boot, number, lost)
