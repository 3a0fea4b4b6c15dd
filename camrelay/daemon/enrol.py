"""How a relay comes into a fleet, as it is said on the line: Hello and Join with the one-time key, Welcome or a reason.

Rule kept here: whoever fails is told why in words, and cannot go on trying; a token's text and seed are never logged.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import trio

from camrelay import __version__
from camrelay.daemon import joining, token
from camrelay.daemon.dialling import reach
from camrelay.daemon.meeting import let_in
from camrelay.daemon.peerkey import PeerKey, key_hash
from camrelay.daemon.session import MOST_FRAME
from camrelay.daemon.wire import VERSION, Bye, Hello, Join, Welcome
from camrelay.daemon.words import words_of
from camrelay.errors import FleetError, LineEnded, LinkError, MalformedFrame, PeerRefused

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Collection

    from camrelay.daemon.fleet import Fleet
    from camrelay.daemon.log import Log
    from camrelay.daemon.session import Line
    from camrelay.daemon.token import Token
    from camrelay.daemon.wire import Member

    Reaching = Callable[[str, ssl.SSLContext, Collection[str], str], Awaitable[Line]]

ADMIT_WITHIN: Final = 20.0  # seconds for a whole enrolment on the inviting side; each message has its own 10
FORGIVEN_AFTER: Final = 600.0  # seconds
MOST_FAILED: Final = 5  # joins from one address in that time
MOST_FAILED_IN_ALL: Final = 50
WHO: Final = "the inviting relay"


async def have_key(fleet: Fleet) -> None:
    """Make sure that there is a key. FleetError if there can be no fleet. For one caller at a time."""
    if fleet.problem:
        raise FleetError(fleet.problem)
    if not fleet.me.id:
        fleet.take_key(await trio.to_thread.run_sync(joining.new_key, fleet.directory))


class Tries:
    """Failed joins of late. Times are monotonic."""

    def __init__(self) -> None:
        self._failed: deque[tuple[float, str]] = deque()

    def wait(self, source: str, now: float) -> float:
        """Seconds until somebody at this address may try again; 0: now."""
        while self._failed and now - self._failed[0][0] >= FORGIVEN_AFTER:
            self._failed.popleft()
        own = [when for when, address in self._failed if address == source]
        least = 0.0
        if len(own) >= MOST_FAILED:
            least = own[-MOST_FAILED] + FORGIVEN_AFTER - now
        if len(self._failed) >= MOST_FAILED_IN_ALL:
            least = max(least, self._failed[-MOST_FAILED_IN_ALL][0] + FORGIVEN_AFTER - now)
        return least

    def failed(self, source: str, now: float) -> None:
        """One more."""
        self._failed.append((now, source))


class Enrolment:
    """Both sides of it, for one relay. ``boot``: what it says in Hello."""

    def __init__(self, fleet: Fleet, log: Log, boot: int = 0, reach: Reaching = reach) -> None:
        self.counters: dict[str, int] = {}
        self._fleet = fleet
        self._log = log
        self._boot = boot
        self._reach = reach
        self._tries = Tries()

    def _count(self, cause: str) -> None:
        self.counters[cause] = self.counters.get(cause, 0) + 1

    # -- the inviting side --------------------------------------------------------------------------------

    async def admit(self, line: Line) -> None:
        """Deal with a line whose other side has shown the key of an invitation. The caller closes it."""
        source, now = line.address.rpartition(":")[0], trio.current_time()
        wait = self._tries.wait(source, now)
        if wait:
            self._count("joins refused: too many failed ones")
            await line.part(Bye(f"too many joins failed: try again in {max(1, round(wait / 60))} min"))
            return
        try:
            with trio.fail_after(ADMIT_WITHIN):
                newcomer, welcome = await self._hear_out(line)
        except FleetError as error:
            await self._refuse(line, source, str(error))
            return
        except PeerRefused as error:  # of another version: no reason to keep it from trying
            await self._refuse(line, "", str(error))
            return
        except (LinkError, MalformedFrame, trio.TooSlowError) as error:
            await self._refuse(line, source, str(error) or "too slow")
            return
        self._log.info(
            "relay enrolled",
            peer=self._fleet.label(newcomer.id), address=line.address,
            words=words_of(key_hash(newcomer.certs[0])),
        )  # fmt: skip
        await line.part(welcome)

    async def _hear_out(self, line: Line) -> tuple[Member, Welcome]:
        await let_in(line, self._fleet.me.name, f"the relay at {line.address}")
        message = await line.listen()
        if not isinstance(message, Join):
            raise FleetError("an invitation's key is good for joining only")
        welcome = joining.admit(self._fleet, line.key, message.member)
        return self._fleet.members[message.member.id], welcome

    async def _refuse(self, line: Line, source: str, reason: str) -> None:
        self._count("joins refused: no good invitation" if source else "joins refused: another version")
        if source:
            self._tries.failed(source, trio.current_time())
        self._log.warning("join refused", address=line.address, cause=reason)
        await line.part(Bye(reason))

    # -- the joining side ---------------------------------------------------------------------------------

    async def join(self, text: str) -> Member:
        """Join the fleet of the relay that made this token, and return that relay. FleetError says why not."""
        read = token.read(text)
        joining.check_alone(self._fleet)
        await have_key(self._fleet)
        if read.fingerprint == self._fleet.key().fingerprint:
            raise FleetError("this token was made by this very relay: use it on the new one")
        key = await trio.to_thread.run_sync(PeerKey.from_seed, read.seed)
        line = await self._first_line(read, key.client_context())
        line.most = MOST_FRAME  # its key is the one that the token names
        try:
            welcome = await self._ask_in(line)
        except MalformedFrame as error:
            raise FleetError(f"{WHO} ({line.address}) answered nonsense: {error}") from None
        finally:
            with trio.CancelScope(shield=True):
                await line.part()
        inviter = joining.adopt(self._fleet, welcome, read.fingerprint)
        self._log.info(
            "joined a fleet",
            peer=inviter.name, address=line.address, words=words_of(read.fingerprint), relays=len(welcome.members),
        )  # fmt: skip
        return inviter

    async def _first_line(self, read: Token, context: ssl.SSLContext) -> Line:
        """A line to the inviting relay by whichever of its addresses works."""
        reasons: list[str] = []
        for address in read.addresses:
            try:
                return await self._reach(address, context, {read.fingerprint}, WHO)
            except LinkError as error:
                reasons.append(str(error))
        raise FleetError("; ".join(dict.fromkeys(reasons)))

    async def _ask_in(self, line: Line) -> Welcome:
        fleet = self._fleet
        try:
            try:
                await line.say(Hello(VERSION, fleet.me.name, f"camrelay {__version__}", self._boot, 0, 0))
                await line.say(Join(fleet.me))
            except LineEnded:
                pass  # it may have said why before it closed
            answer = await line.listen()
        except LineEnded:
            # In TLS 1.3 the side that is refused sees its own handshake succeed, and then the end.
            raise FleetError(
                f"{WHO} ({line.address}) does not know this token: it was made elsewhere, or over a day ago, or forged"
            ) from None
        except LinkError as error:
            raise FleetError(f"{WHO} ({line.address}) {error}") from None
        if isinstance(answer, Bye):
            raise FleetError(f"{WHO} ({line.address}) refused: {answer.reason}")
        if not isinstance(answer, Welcome):
            raise FleetError(
                f"{WHO} ({line.address}) answered {type(answer).__name__} instead of Welcome: upgrade camrelay there"
            )
        return answer
