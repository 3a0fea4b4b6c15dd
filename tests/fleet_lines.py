"""Lines between relays, and what a line is for each of its two ends.

A line carries what relays tell each other as TCP does: in order, nothing lost while the session lives, held back while
the line is cut. A session ends for each of its two relays by itself: at once where the other process died, after some
silence where nobody says so, and when the other one calls again. What was under way then is lost from some point on.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from camrelay.relay.messages import PeerMessage
    from tests.fleet_world import Fleet, FleetNode

DETECT = 25.0  # seconds of silence until a session is given up
CALL_FIRST, CALL_LONGEST = 1.0, 60.0  # seconds between calls: doubling, and jitter on top
PER_MESSAGE, PER_ROW = 0.000_1, 0.000_002  # seconds until the queue is empty again
PING = 10.0  # seconds: who still writes into a session that the other end gave up learns it by then


class End:
    """One relay's side of a line. ``session``: the number of the one that it believes in, or 0."""

    def __init__(self, node: FleetNode, line: Line) -> None:
        self.node = node
        self.line = line
        self.world = node.world
        self.other: End = self  # set by the line
        self.latency = 0.01  # of what it sends
        self.detect = DETECT
        self.session = 0
        self._expected = 0  # the session that it called for: settled when the other one's hello arrives
        self._flight: deque[tuple[float, int, Any]] = deque()  # HELLO, messages and BYE on their way
        self._pause = CALL_FIRST
        self._call = 0
        self._draining = False

    # -- what it sends ---------------------------------------------------------------------------------------------

    def send(self, item: PeerMessage | str) -> None:
        """Into the session, behind what is on its way already."""
        fleet = self.line.fleet
        after = self._flight[-1][0] if self._flight else 0.0
        jitter = self.latency * fleet.chance.uniform(0.0, fleet.jitter)
        self._flight.append((max(self.world.now + self.latency + jitter, after), self.session, item))
        self._awaken()
        if not isinstance(item, str):
            fleet.note(self.node, self.other.node, item)
            self._drain(PER_MESSAGE + PER_ROW * len(getattr(item, "rows", ())))

    def _drain(self, seconds: float) -> None:
        if not self._draining:
            self._draining = True
            self.world.after(seconds, partial(self._drained, self.session))

    def _drained(self, session: int) -> None:
        """The queue is empty; that of a line that is cut is not."""
        self._draining = False
        if session != self.session or not self.node.running:
            return
        if not self.line.whole:
            self.line.held.append(partial(self._drained, session))
            return
        self.node.act(self.node.relay.more(self.other.node.id, self.node.clock))

    def _awaken(self) -> None:
        if self._flight and self.line.whole:
            self.world.at(max(self._flight[0][0], self.world.now), self._arrive)

    def resume(self) -> None:
        """The line is whole again: what was sent meanwhile is sent once more."""
        later = self.world.now + self.latency
        self._flight = deque((max(at, later), session, item) for at, session, item in self._flight)
        self._awaken()

    def _arrive(self) -> None:
        while self._flight and self.line.whole and self._flight[0][0] <= self.world.now:
            _, session, item = self._flight.popleft()
            self.other.take(session, item)
        self._awaken()

    # -- what it gets ----------------------------------------------------------------------------------------------

    def take(self, session: int, item: Any) -> None:
        """Something came; what belongs to another session than the present one is nobody's."""
        if not self.node.running:
            return
        if item == "hello" and session == self._expected:
            self._expected = 0
            self._settle(session)
        elif item == "bye" and session == self.session:
            self.close()
        elif session == self.session and not isinstance(item, str):
            relay, peer = self.node.relay, self.other.node.id
            self.node.act(relay.hear(peer, self.line.fleet.carried(item), self.node.clock))

    def _settle(self, session: int) -> None:
        self.session = session
        self._pause = CALL_FIRST
        self.node.disk.heard(self.other.node.id)
        self.node.act(self.node.relay.linked(self.other.node.id, self.node.clock))

    def close(self) -> None:
        """The session is over for this relay; what it sent may still arrive, or not."""
        if self.session:
            self._tear()
            self.node.disk.heard(self.other.node.id)
            self.node.act(self.node.relay.unlinked(self.other.node.id, self.node.clock))
        self.call_soon()

    def die(self, closes: bool) -> None:
        """The process of this relay ends now: its kernel still says so, if ``closes``."""
        session = self.session
        self._expected = 0
        if not session:
            return
        self.node.disk.heard(self.other.node.id)
        self._tear()
        if closes:
            after = self._flight[-1][0] if self._flight else self.world.now + self.latency
            self._flight.append((after, session, "bye"))
            self._awaken()
        self.world.after(self.other.detect, partial(self.other.miss, session))

    def miss(self, session: int) -> None:
        """Nothing was heard for as long as we wait."""
        if session == self.session:
            self.close()

    def _tear(self) -> None:
        self.session = 0
        arrives = self.line.fleet.chance.randint(0, len(self._flight))
        while len(self._flight) > arrives:
            self._flight.pop()

    # -- calling ---------------------------------------------------------------------------------------------------

    def call_soon(self) -> None:
        """Begin to call, as after a start."""
        self._pause = CALL_FIRST
        self._call_after(self.line.fleet.chance.uniform(0.0, CALL_FIRST))

    def _call_after(self, seconds: float) -> None:
        self._call += 1
        self.world.after(seconds, partial(self._dial, self._call))

    def _dial(self, call: int) -> None:
        if call == self._call and self.node.running and not (self.session or self._expected):
            if self.line.whole and self.other.node.running:
                self.world.after(2 * self.latency + self.other.latency, partial(self._called, call))
            else:
                self._call_again()

    def _call_again(self) -> None:
        self._call_after(self._pause * self.line.fleet.chance.uniform(0.75, 1.25))
        self._pause = min(2 * self._pause, CALL_LONGEST)

    def _called(self, call: int) -> None:
        """Our hello is there: the other end settles, and its hello comes back before all else it says.

        It drops what it still believes in: we do not, or we would not call.
        """
        if call != self._call or not self.node.running or self.session or self._expected:
            return
        if not (self.line.whole and self.other.node.running) or self.other._expected:
            self._call_again()
            return
        if self.other.session:
            self.other._tear()
            self.other.node.act(self.other.node.relay.unlinked(self.node.id, self.other.node.clock))
        self._expected = self.line.fleet.next_session()
        self.other.session = self._expected
        self.other.send("hello")
        self.other._settle(self._expected)
        expected = self._expected
        self.world.after(self.detect, partial(self._give_up, expected))

    def _give_up(self, expected: int) -> None:
        if expected == self._expected:
            self._expected = 0
            self._call_again()


class Line:
    """What lies between two relays."""

    def __init__(self, fleet: Fleet, a: FleetNode, b: FleetNode) -> None:
        self.fleet = fleet
        self.whole = True
        self.held: list[partial[None]] = []  # queues that could not be emptied
        self.ends = End(a, self), End(b, self)
        self.ends[0].other, self.ends[1].other = self.ends[1], self.ends[0]
        a.ends[b.id], b.ends[a.id] = self.ends

    def cut(self) -> None:
        """Nothing passes; each end learns it after its own time."""
        if self.whole:
            self.whole = False
            for end in self.ends:
                if end.session:
                    self.fleet.world.after(end.detect, partial(self._silent, end, end.session))

    def _silent(self, end: End, session: int) -> None:
        if not self.whole or end.other.session != session:
            end.miss(session)

    def mend(self) -> None:
        """All passes again; what waited goes on its way."""
        if not self.whole:
            self.whole = True
            held, self.held = self.held, []
            for emptied in held:
                emptied()
            for end in self.ends:
                end.resume()
                if end.session and end.other.session != end.session:
                    self.fleet.world.after(
                        self.fleet.chance.uniform(0.0, PING), partial(end.miss, end.session)
                    )

    def reset(self) -> None:
        """Something between them ends the session: both learn it at once, and what was under way is lost in part."""
        for end in self.ends:
            if end.session:
                end.close()
