"""Questions from relay to relay: answered, refused, bounded, and given up when nobody wants the answer any more."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from camrelay.daemon.tracing import OFTEN, beside, shown
from camrelay.daemon.tracing.allowed import FarQuestion, holds, may_look
from camrelay.daemon.tracing.far import AT_ONCE, BUSY_FOR, UNREAD
from camrelay.daemon.tracing.forms import Heard
from camrelay.daemon.wire import BUSY, EVENT, REFUSED, TAKEN, Question, Reply
from camrelay.errors import CamrelayError, FleetError, UsageError
from camrelay.ipmsg.command import Command
from camrelay.relay.outputs import Transmit
from camrelay.trace.facts import Fact
from tests.linked import Box as RelayBox
from tests.linked import Linked, two
from tests.unit.daemon.test_service import Client, clients

if TYPE_CHECKING:
    from pathlib import Path

    from camrelay.daemon.links import Traced

NONCE = "0123456789abcdef"
COUNT = {"nonce": NONCE, "seconds": 10.0}


def listening(box: RelayBox) -> list[Reply]:
    """All replies that come to this relay from now on; its own questions get none of them."""
    replies: list[Reply] = []

    def heard(peer: str, message: Traced | None) -> None:
        if isinstance(message, Reply):
            replies.append(message)

    box.peers.links.traced = heard
    return replies


def ask(box: RelayBox, other: RelayBox, number: int, what: str, params: object) -> None:
    raw = params if isinstance(params, bytes) else msgspec.json.encode(params)
    box.peers.links.tell(other.id, Question(number, what, raw))


async def test_a_question_is_answered_and_events_come_before(tmp_path: Path) -> None:
    async with two(tmp_path) as (hq, branch):
        events: list[Any] = []

        async def tell(event: object) -> None:
            events.append(event)
            hq.lan.send([Transmit(b"hello " + NONCE.encode() + b" 17", branch.address)])

        params = COUNT | {"expected": 1}
        heard = await hq.stand.far.ask(branch.id, "count", params, tell, form=Heard)
        assert events == [{"ready": True}]
        (one,) = heard.arrived
        assert (one.n, one.source, one.ttl, one.size) == (17, hq.address, 63, 25)
        assert branch.peers.links.counters["trace questions of peers"] == 1
        assert not branch.stand.far._work


async def test_nobody_is_asked_who_is_not_linked(tmp_path: Path) -> None:
    async with two(tmp_path) as (hq, branch):
        far = hq.stand.far
        assert far.find("branch") == branch.id
        assert far.address(branch.id) == branch.address
        assert far.beside("10.2.0.77") == [branch.id]
        assert far.beside("10.9.0.77") == []
        for name in ("hq", "nobody"):
            with pytest.raises(UsageError):
                far.find(name)
        hq.net.cut = True
        hq.ends()
        with pytest.raises(FleetError, match="branch is not linked"):
            await far.ask(branch.id, "count", COUNT)


async def test_an_older_relay_does_not_answer(tmp_path: Path) -> None:
    async with two(tmp_path) as (hq, branch):
        branch.peers.links.traced = lambda peer, message: None
        began = trio.current_time()
        with pytest.raises(FleetError, match="branch does not answer: its camrelay is older or busy"):
            await hq.stand.far.ask(branch.id, "count", COUNT)
        assert trio.current_time() - began == pytest.approx(5, abs=0.5)


async def test_too_long_is_given_up_on_both_sides(tmp_path: Path) -> None:
    async with two(tmp_path) as (hq, branch):
        with pytest.raises(FleetError, match="was not ready with 'count' within 2 s"):
            await hq.stand.far.ask(branch.id, "count", COUNT, within=2)
        await trio.sleep(0.1)
        assert not branch.stand.far._work
        assert not hq.stand.far._asked
        with trio.move_on_after(1):
            await hq.stand.far.ask(branch.id, "count", COUNT)
        await trio.sleep(0.1)
        assert not branch.stand.far._work, "whoever asks may be cancelled"


async def test_the_end_of_the_link_is_the_end_of_the_work(tmp_path: Path) -> None:
    async with two(tmp_path) as (hq, branch):
        async with trio.open_nursery() as nursery:

            async def asks() -> None:
                with pytest.raises(FleetError, match="the link to branch ended before it answered"):
                    await hq.stand.far.ask(branch.id, "count", COUNT)

            nursery.start_soon(asks)
            await trio.sleep(1)
            assert len(branch.stand.far._work) == 1
            hq.ends()
        await trio.sleep(0.5)
        assert not branch.stand.far._work


async def test_two_at_a_time_and_more_wait_their_turn(tmp_path: Path) -> None:
    async with two(tmp_path) as (hq, branch):
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(hq.stand.far.ask, branch.id, "count", COUNT | {"seconds": 3.0})
            await trio.sleep(1)
            assert len(branch.stand.far._work) == AT_ONCE
        assert trio.current_time() - began == pytest.approx(6, abs=0.5)


async def test_who_asks_for_more_is_told_that_we_are_busy(tmp_path: Path) -> None:
    async with two(tmp_path) as (hq, branch):
        replies = listening(hq)
        for number in (1, 2, 3, 3):
            ask(hq, branch, number, "count", COUNT)
        await trio.sleep(1)
        assert [reply.number for reply in replies if reply.kind == BUSY] == [3, 3]
        assert {reply.number for reply in replies if reply.kind == TAKEN} == {1, 2}
        assert branch.peers.links.counters["trace questions of peers refused"] == 2


async def test_a_busy_relay_is_asked_again_for_a_while(tmp_path: Path) -> None:
    async with two(tmp_path) as (hq, branch):
        far = hq.stand.far
        branch.stand.far._work = {(f"{n:064x}", n): trio.CancelScope() for n in range(4)}
        began = trio.current_time()
        with pytest.raises(FleetError, match="branch is busy with other traces"):
            await far.ask(branch.id, "count", COUNT)
        assert trio.current_time() - began == pytest.approx(BUSY_FOR, abs=2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(far.ask, branch.id, "count", COUNT | {"seconds": 1.0})
            await trio.sleep(2.5)
            branch.stand.far._work.clear()


async def test_who_asks_too_often_is_refused(tmp_path: Path) -> None:
    async with two(tmp_path) as (hq, branch):
        replies = listening(hq)
        for number in range(OFTEN + 5):
            ask(hq, branch, number, "count", b"{}")
            await trio.sleep(0.1)
        assert "asked too often" in b"".join(reply.body for reply in replies).decode()
        await trio.sleep(11)
        ask(hq, branch, 999, "count", COUNT)
        await trio.sleep(0.5)
        assert (999, TAKEN) in {(reply.number, reply.kind) for reply in replies}


BAD = (
    ("nonsense", b"{}"),
    ("count", b""),
    ("count", b"\xff\x00"),
    ("count", b"[" * 60_000),
    ("count", b"null"),
    ("count", COUNT | {"seconds": 1e9}),
    ("count", COUNT | {"seconds": -1}),
    ("count", COUNT | {"nonce": "short"}),
    ("count", COUNT | {"expected": 10**9}),
    ("count", COUNT | {"more": 1}),
    ("send", {"nonce": NONCE, "volleys": [{"first": 0, "count": 64, "size": 3000}]}),
    ("send", {"nonce": NONCE, "volleys": [{"first": 0, "count": 64}] * 3}),
    ("send", {"nonce": NONCE, "volleys": [{"first": 0, "count": 64, "every": 0.5}]}),
    ("send", {"nonce": NONCE, "volleys": [{"first": 0, "count": 1, "port": 53}]}),
    ("send", {"nonce": NONCE, "volleys": [{"first": 0, "count": 1, "speak": "10.1.0.9"}]}),
    ("send", {"nonce": NONCE, "volleys": [{"first": 0, "count": 1, "to": "10.9.9.9"}]}),
    ("tcp", {"port": 22}),
    ("open", {"nonce": NONCE, "seconds": 16}),
    ("path", {"nonce": NONCE}),
    ("pair", {"peer": "nobody"}),
    ("pair", {"peer": "branch"}),
    ("shown", {"first": "::1", "second": "10.1.0.1"}),
)


@pytest.mark.parametrize(("what", "params"), BAD)
async def test_what_may_not_be_asked_is_refused_and_nothing_is_sent(
    tmp_path: Path, what: str, params: object
) -> None:
    async with two(tmp_path) as (hq, branch):
        replies = listening(hq)
        before = len(branch.network.sent)
        ask(hq, branch, 1, what, params)
        await trio.sleep(1)
        assert [reply.kind for reply in replies][-1] == REFUSED
        sent = [one for one in branch.network.sent[before:] if one[1].to == hq.address]
        assert not sent
        assert "trace questions of peers failed: bug" not in branch.peers.links.counters


FORMS = (
    beside.Count, beside.Send, beside.Open, beside.Sized, beside.Knock, beside.Walk, shown.Both
)  # fmt: skip
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(("nonce", "seconds", "port")), inner)
    ),
    max_leaves=9,
)


@given(st.sampled_from(FORMS), st.binary(max_size=99) | values.map(lambda value: msgspec.json.encode(value)))
def test_any_bytes_are_parameters_or_one_error(form: type[Any], params: bytes) -> None:
    with suppress(FleetError):
        assert isinstance(FarQuestion("x", params, "", "", "").args(form), form)


@given(st.lists(st.builds(Reply, st.integers(0, 3), st.integers(0, 9), st.binary(max_size=99)), max_size=20))
def test_any_answer_is_a_result_or_one_error(replies: list[Reply]) -> None:
    from camrelay.daemon.tracing.far import Far

    class Peers:
        """A fleet in which everybody is linked."""

        def __init__(self) -> None:
            self.links, self.fleet, self.counters = self, self, dict[str, int]()
            self.far: Far

        def label(self, peer: str) -> str:
            return peer

        def rows(self) -> list[Any]:
            from types import SimpleNamespace

            return [SimpleNamespace(id="b", state="linked", address="10.2.0.1:2425")]

        def tell(self, peer: str, message: Traced) -> None:
            for reply in replies:
                self.far.hear("b", reply)

    async def run() -> None:
        peers = Peers()
        peers.far = Far(None, peers)  # type: ignore[arg-type]

        async def tell(event: object) -> None:
            assert isinstance(event, dict)

        with suppress(FleetError):
            await peers.far.ask("b", "count", {}, tell, within=20, form=Heard)
        assert not peers.far._asked

    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))


async def test_a_peer_that_says_too_much_is_cut_off(tmp_path: Path) -> None:
    async with two(tmp_path) as (hq, branch):
        told: list[object] = []

        async def slow(event: object) -> None:
            told.append(event)
            await trio.sleep(1)

        def flood(peer: str, message: Traced | None) -> None:
            if isinstance(message, Question):
                for _ in range(UNREAD * 3):
                    branch.peers.links.tell(peer, Reply(message.number, EVENT, b'{"a":1}'))

        branch.peers.links.traced = flood
        with pytest.raises(FleetError):
            await hq.stand.far.ask(branch.id, "count", COUNT, slow, within=1000)
        assert len(told) <= UNREAD + 2
        assert hq.peers.links.counters["trace answers of peers cut off: too many"] == 1


async def test_an_event_that_nobody_can_read_is_one_error(tmp_path: Path) -> None:
    async with two(tmp_path) as (hq, branch):

        async def tell(event: Any) -> None:
            await trio.lowlevel.checkpoint()
            msgspec.convert(event["fact"], Fact)

        def answer(peer: str, message: Traced | None) -> None:
            if isinstance(message, Question):
                branch.peers.links.tell(peer, Reply(message.number, EVENT, b'{"fact":{"check":7}}'))

        branch.peers.links.traced = answer
        with pytest.raises(FleetError, match="in a form that is not known here"):
            await hq.stand.far.ask(branch.id, "host", {}, tell)


async def test_words_of_a_peer_are_fit_to_be_shown(tmp_path: Path) -> None:
    async with two(tmp_path) as (hq, branch):

        def refuse(peer: str, message: Traced | None) -> None:
            if isinstance(message, Question):
                body = msgspec.json.encode("no\x1b[31m\nway" + "x" * 5000)
                branch.peers.links.tell(peer, Reply(message.number, REFUSED, body))

        branch.peers.links.traced = refuse
        with pytest.raises(FleetError) as error:
            await hq.stand.far.ask(branch.id, "count", COUNT)
        assert str(error.value).startswith("branch says: no [31m way")
        assert len(str(error.value)) < 500


async def test_a_bug_while_answering_costs_the_answer_and_not_the_daemon(tmp_path: Path) -> None:
    async with two(tmp_path) as (hq, branch):

        async def broken(*_: object) -> None:
            raise ZeroDivisionError

        async def find(place: str) -> Any:
            await trio.lowlevel.checkpoint()
            return broken

        branch.stand.far._find = find
        with pytest.raises(FleetError, match="branch says: an error inside camrelay"):
            await hq.stand.far.ask(branch.id, "count", COUNT)
        assert branch.peers.links.counters["trace questions of peers failed: bug"] == 1
        assert "ZeroDivisionError" in branch.said.getvalue()


async def test_an_answer_that_is_too_long_is_refused(tmp_path: Path) -> None:
    async with two(tmp_path) as (hq, branch):

        async def long(*_: object) -> str:
            await trio.lowlevel.checkpoint()
            return "x" * 70_000

        async def find(place: str) -> Any:
            await trio.lowlevel.checkpoint()
            return long

        branch.stand.far._find = find
        with pytest.raises(FleetError, match="the answer is too long"):
            await hq.stand.far.ask(branch.id, "count", COUNT)


async def test_only_what_we_relay_may_be_looked_at(tmp_path: Path) -> None:
    net = Linked(tmp_path)
    hq = RelayBox(net, "hq", "10.1.0.1", '[remote]\nsegments = ["10.8.0.*"]\n')
    branch = RelayBox(net, "branch", "10.2.0.1")
    carol = Client(net.network.host("10.2.0.7/24"), b"carol")
    async with clients(carol), net.up(hq, branch):
        carol.say(Command.BR_ENTRY)
        await trio.sleep(10)
        for address in ("10.1.0.99", "10.8.0.44", "10.2.0.7"):
            may_look(hq.stand, address)
        for address in ("10.9.0.1", "192.0.2.1", "8.8.8.8", "", "nonsense", "fe80::1"):
            with pytest.raises(FleetError):
                may_look(hq.stand, address)


def test_holds() -> None:
    assert holds("10.1.0.*", "10.1.0.7")
    assert holds("10.1.0.7", "10.1.0.7")
    assert not holds("10.1.0.*", "10.1.1.7")
    assert not holds("10.1.0.0/16", "x")


def test_a_relay_in_no_fleet_says_so() -> None:
    from camrelay.daemon.tracing import Stand

    stand = Stand(*[None] * 4, config=None, interfaces=None, peers=None, history=None)  # type: ignore[arg-type, misc]
    with pytest.raises(CamrelayError, match="in no fleet"):
        _ = stand.far


def test_nothing_of_it_is_loaded_before_it_is_asked_for() -> None:
    code = "import sys, camrelay.daemon.service, camrelay.daemon.tasks, camrelay.daemon.peers; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = ran.stdout.split()
    assert "camrelay.daemon.tracing" in loaded
    assert not [
        name for name in loaded if name.startswith(("camrelay.daemon.tracing.far", "camrelay.daemon.probes"))
    ]
    assert "camrelay.trace.facts" not in loaded
