"""The links of a fleet: who dials whom and when, which of two connections stays, what a bad peer costs the others."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import trio

from camrelay.daemon import wire
from camrelay.daemon.neighbour import PAUSE_LONGEST
from camrelay.daemon.session import MOST_FRAME, Line, frame
from camrelay.daemon.wire import Bye, Hello, Members, Ping, Seen
from camrelay.relay.messages import Digest, Marks
from tests.sites import Net, Site, Wire, relay_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from camrelay.daemon.session import Message

A, B = sorted("ab", key=relay_id)  # A has the smaller id


@asynccontextmanager
async def net(**options: Any) -> AsyncIterator[Net]:
    async with trio.open_nursery() as nursery:
        yield Net(nursery, **options)
        nursery.cancel_scope.cancel()


async def pair(lines: Net) -> tuple[Site, Site]:
    """A and B, linked by one connection that B has dialled."""
    one = Site(lines, A, A + B)
    await trio.sleep(0.5)
    two = Site(lines, B, A + B)
    await trio.sleep(15)
    assert agreed(one, two)
    return one, two


def agreed(*sites: Site) -> bool:
    """Has each pair one session, and the same one at both ends?"""
    return all(
        site.sessions().get(other.name) == other.sessions().get(site.name) is not None
        and other.name in site.relay.names
        for site in sites
        for other in sites
        if site is not other
    )


# -- meeting


async def test_two_relays_have_one_session_and_each_knows_of_it_once() -> None:
    async with net() as lines:
        one = Site(lines, A, A + B)
        await trio.sleep(0.5)
        two = Site(lines, B, A + B)
        await trio.sleep(3)
        assert agreed(one, two)
        assert (one.relay.names, two.relay.names) == ([B], [A])
        assert (one.relay.times, two.relay.times) == (1, 1)
        assert "peer linked peer=" in one.said.getvalue()


@pytest.mark.parametrize("seed", range(16))
async def test_who_dial_each_other_at_once_keep_the_same_connection(seed: int) -> None:
    async with net(seed=seed, longest=0.3) as lines:
        sites = [Site(lines, name, "abcde") for name in "abcde"]
        await trio.sleep(5)
        assert agreed(*sites)
        rows = [row for site in sites for row in site.links.rows()]
        assert {row.state for row in rows} == {"linked"}
        assert sum(row.dialled for row in rows) == 10  # one end of each


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_happened_to_the_lines_all_are_linked_in_the_end(seed: int) -> None:
    chance = random.Random(seed)
    async with net(seed=seed, longest=0.5) as lines:
        sites = {name: Site(lines, name, "abcd") for name in "abcd"}
        pairs = [frozenset({a, b}) for a in "abcd" for b in "abcd" if a < b]
        for boot in range(2, 60):
            lines.cut ^= set(chance.sample(pairs, 2))
            if chance.random() < 0.2:
                name = chance.choice("abcd")
                sites[name].kill()
                sites[name] = Site(lines, name, "abcd", boot=boot)
            await trio.sleep(chance.choice((0.1, 1, 10, 40)))
        lines.cut.clear()
        await trio.sleep(PAUSE_LONGEST * 1.25 + 40)
        assert agreed(*sites.values())


async def test_a_peer_that_was_started_again_is_let_in_at_once() -> None:
    for name, other in ((A, B), (B, A)):  # whoever dials
        async with net() as lines:
            stays, goes = Site(lines, name, A + B), Site(lines, other, A + B)
            await trio.sleep(5)
            lines.cut.add(frozenset(A + B))  # power is gone: nobody says good-bye
            goes.kill()
            lines.cut.clear()
            again = Site(lines, other, A + B, boot=2)
            await trio.sleep(0.5)
            assert agreed(stays, again)


async def test_a_peer_that_saw_the_session_end_is_let_in_at_once() -> None:
    async with net() as lines:
        one, two = await pair(lines)
        neighbour = two.links._neighbours[relay_id(A)]
        assert neighbour.session
        lines.cut.add(frozenset(A + B))
        two.links.over(neighbour.session, "broken")
        await trio.sleep(0.1)
        lines.cut.clear()
        await trio.sleep(2)
        assert agreed(one, two)
        assert one.row(B).drops == {"replaced": 1}


async def test_another_version_is_told_which_side_to_upgrade() -> None:
    async with net() as lines:
        one = Site(lines, "old", ["old", "new"])
        await trio.sleep(0.1)
        ours, theirs = lines.lines("new", "old")
        one.nursery.start_soon(one.guest, theirs)
        await ours.say(Hello(2, "new", "camrelay 9", 1, 1, 0))
        answer = await ours.listen()
        assert isinstance(answer, Bye)
        assert answer.reason == (
            "new speaks version 2 of the peers' language, old version 1: upgrade camrelay on old"
        )
        assert answer.reason in one.said.getvalue()


@pytest.mark.parametrize("message", [Ping(), Seen("a" * 64, 1), Digest(1, 1)])
async def test_who_does_not_begin_with_hello_is_told_so(message: Message) -> None:
    async with net() as lines:
        one = Site(lines, A, A + B)
        await trio.sleep(0.1)
        ours, theirs = lines.lines(B, A)
        one.nursery.start_soon(one.guest, theirs)
        await ours.stream.send_all(frame(message))  # type: ignore[arg-type]
        answer = await ours.listen()
        assert isinstance(answer, Bye)
        assert "instead of Hello" in answer.reason
        assert one.relay.times == 0


async def test_the_same_handshake_bytes_once_more_replace_nothing() -> None:
    """What an eavesdropper recorded is worthless under TLS; even in the clear it would not go on from there."""
    async with net() as lines:
        one, two = await pair(lines)
        session = one.links._neighbours[relay_id(B)].session
        assert session
        ours, theirs = lines.lines("x", A)
        theirs.key = ""  # TLS proves none
        one.nursery.start_soon(one.guest, theirs)
        await ours.say(session.hello)
        assert isinstance(await ours.listen(), Bye)
        assert agreed(one, two)
        assert one.relay.times == 1


# -- dialling


async def test_the_pauses_grow_to_a_minute_and_vary() -> None:
    async with net() as lines:
        Site(lines, A, A + B)
        await trio.sleep(3600)
        times = [when for when, _, _ in lines.tries]
        pauses = [after - before for before, after in pairwise(times)]
        for pause, expected in zip(pauses, (1, 2, 4, 8, 16, 32, 60, 60, 60), strict=False):
            assert 0.75 * expected <= pause <= 1.25 * expected + 0.1
        assert len({round(pause, 2) for pause in pauses[7:]}) > 10
        assert 50 < len(times) < 75


async def test_the_state_of_a_peer_is_logged_once_per_change() -> None:
    async with net() as lines:
        one = Site(lines, A, A + B)
        await trio.sleep(600)
        lines.cut.add(frozenset(A + B))
        await trio.sleep(600)
        text = one.said.getvalue()
        assert text.count("connection refused") == 1
        assert text.count("did not answer within 5 s") == 1
        assert text.count("\n") == 2
        row = one.row(B)
        assert row.problem == f"{B} ({B}:2425) did not answer within 5 s"
        assert (row.state, row.refused) == ("waiting", False)


async def test_an_unknown_key_is_said_in_words_and_once() -> None:
    async with net() as lines:
        one, two = Site(lines, A, A + B), Site(lines, B, B)

        async def close(line: Line) -> None:  # as TLS does it, for an unknown key
            await line.close()

        two.guest = close  # type: ignore[method-assign]
        await trio.sleep(600)
        row = one.row(B)
        assert row.problem == f"{B} ({B}:2425) does not know our key: ask for `camrelay peer list` there"
        assert row.refused
        assert one.said.getvalue().count("does not know our key") == 1


async def test_other_addresses_are_tried_and_the_one_that_worked_comes_first() -> None:
    async with net() as lines:
        one, two = Site(lines, A, A + B), Site(lines, B, A + B)
        two.fleet.members = {relay_id(A): two.fleet.member(A)._replace(addresses=())}
        member = one.fleet.members[relay_id(B)]
        one.fleet.members[relay_id(B)] = member._replace(addresses=("x:1", "y:1", f"{B}:2425"))
        await trio.sleep(3)
        assert [where for _, _, where in lines.tries] == ["x", "y", B]
        assert two.row(A).dialled is False
        session = two.links._neighbours[relay_id(A)].session
        assert session
        two.links.over(session, "closed")
        await trio.sleep(3)
        assert [where for _, _, where in lines.tries] == ["x", "y", B, B]


async def test_a_relay_without_address_waits_to_be_dialled() -> None:
    async with net() as lines:
        one = Site(lines, A, A + B)
        one.fleet.members[relay_id(B)] = one.fleet.members[relay_id(B)]._replace(addresses=())
        await trio.sleep(60)
        assert "has to dial us" in one.row(B).problem
        two = Site(lines, B, A + B)
        await trio.sleep(0.5)
        assert agreed(one, two)


async def test_waking_dials_at_once() -> None:
    async with net() as lines:
        one = Site(lines, A, A + B)
        await trio.sleep(600)
        tries = len(lines.tries)
        one.links.wake()
        await trio.sleep(0.1)
        assert len(lines.tries) == tries + 1


# -- a bad line, a bad peer


async def test_a_dead_line_is_noticed_at_both_ends_within_30_seconds_and_mended_after() -> None:
    async with net() as lines:
        one, two = await pair(lines)
        lines.cut.add(frozenset(A + B))
        await trio.sleep(30)
        assert one.relay.names == two.relay.names == []
        assert one.row(B).drops == {"silent": 1}
        await trio.sleep(600)
        lines.cut.clear()
        await trio.sleep(PAUSE_LONGEST * 1.25 + 5)
        assert agreed(one, two)


async def test_a_stopped_reader_loses_its_own_link_and_delays_nobody() -> None:
    async with net() as lines:
        one, two, three = (Site(lines, name, "abc") for name in "abc")
        await trio.sleep(5)
        session = one.links._neighbours[relay_id("b")].session
        assert session
        stream = session.line.stream
        assert isinstance(stream, Wire)
        stream.capacity = 0
        message = Marks(tuple(range(256)))
        begun = trio.current_time()
        for _ in range(100):
            for _ in range(50):
                one.links.tell(relay_id("b"), message)
                one.links.tell(relay_id("c"), message)
            await trio.sleep(0.001)
        lines.cut.add(frozenset("ab"))
        await trio.sleep(0.1)
        assert three.relay.heard == [("a", message)] * 5000
        assert trio.current_time() - begun < 0.5
        assert one.row("b").drops["slow"] == 1
        assert "slow" not in one.row("c").drops
        assert two.relay.heard == []
        assert one.links.counters["peer links ended: peer reads too slowly"] >= 1


async def test_a_peer_that_talks_nonsense_loses_its_link_and_is_told() -> None:
    async with net() as lines:
        one, two = await pair(lines)
        session = two.links._neighbours[relay_id(A)].session
        assert session
        session.put((1 << 30).to_bytes(4, "big"))
        await trio.sleep(0.5)
        assert one.row(B).drops == {"malformed": 1}
        assert "it said" not in two.row(A).problem
        assert two.row(A).problem.startswith("peer said why: malformed frame")
        await trio.sleep(3)
        assert agreed(one, two)


async def test_what_a_newer_relay_says_is_ignored_and_counted() -> None:
    async with net() as lines:
        one, two = await pair(lines)
        session = two.links._neighbours[relay_id(A)].session
        assert session
        new = b"\x92\x7f\x01"  # tag 127
        session.put(len(new).to_bytes(4, "big") + new)
        session.put(frame(session.hello))
        await trio.sleep(1)
        assert agreed(one, two)
        assert one.links.counters["peer messages ignored: of a newer camrelay"] == 1
        assert one.links.counters["peer messages ignored: out of place"] == 1


async def test_a_message_that_no_peer_would_take_is_not_sent() -> None:
    async with net() as lines:
        one, two = await pair(lines)
        members = Members((wire.Member("a" * 64, "x", (), (bytes(8192),) * 4, 1),) * 40)
        assert len(wire.encode(members)) > MOST_FRAME
        one.links.tell(relay_id(B), members)
        assert one.links.counters["peer messages not sent: too large"] == 1
        await trio.sleep(1)
        assert agreed(one, two)


async def test_two_boxes_with_one_key_are_noticed() -> None:
    async with net() as lines:
        one = Site(lines, A, A + B)
        await trio.sleep(0.5)
        for boot, address in ((1, "10.0.0.1:5"), (2, "10.0.0.2:5")):
            ours, theirs = lines.lines(B, A)
            theirs.address = address
            one.nursery.start_soon(one.guest, theirs)
            await ours.say(Hello(1, B, "camrelay", boot, boot, 0))
            await trio.sleep(1)
        assert "peer is at two addresses peer=" in one.said.getvalue()


# -- what is told


async def test_what_is_told_arrives_in_order_and_more_is_asked_for_when_all_is_sent() -> None:
    async with net() as lines:
        one, two = await pair(lines)
        one.relay.owed[B] = [Digest(n, 0) for n in range(10, 100)]
        await trio.sleep(15)
        assert two.relay.heard == [(A, Digest(n, 0)) for n in range(10, 100)]
        for n in range(10):
            one.links.tell(relay_id(B), Digest(n, 0))
        await trio.sleep(1)
        assert two.relay.heard[-10:] == [(A, Digest(n, 0)) for n in range(10)]
        row = one.row(B)
        assert row.sent == two.row(A).received > 0


async def test_a_peer_without_session_is_not_told_and_nothing_happens() -> None:
    async with net() as lines:
        one = Site(lines, A, A + B)
        await trio.sleep(1)
        one.links.tell(relay_id(B), Digest(0, 0))
        one.links.tell(relay_id("nobody"), Digest(0, 0))


async def test_both_greet_and_what_the_fleet_answers_is_passed_on() -> None:
    async with net() as lines:
        one, two, three = (Site(lines, name, "abc") for name in "abc")
        one.fleet.answers = [(relay_id("b"), Seen("a" * 64, 5)), (relay_id("c"), Seen("b" * 64, 6))]
        await trio.sleep(5)
        assert {peer for peer, _ in one.fleet.heard} == {relay_id("b"), relay_id("c")}
        one.fleet.answers = [(relay_id("b"), Seen("a" * 64, 5)), (relay_id("c"), Seen("b" * 64, 6))]
        two.links.tell(relay_id("a"), Seen("c" * 64, 1))
        await trio.sleep(1)
        assert (relay_id("a"), Seen("a" * 64, 5)) in two.fleet.heard
        assert (relay_id("a"), Seen("b" * 64, 6)) in three.fleet.heard


async def test_the_store_hears_of_linked_peers_every_minute() -> None:
    async with net() as lines:
        one, two = await pair(lines)
        await trio.sleep(590)
        assert one.notes == [relay_id(B)] * 11
        two.kill()
        await trio.sleep(600)
        assert len(one.notes) == 12


# -- membership


async def test_a_new_member_is_dialled_by_all() -> None:
    async with net() as lines:
        one, two = Site(lines, "a", "ab"), Site(lines, "b", "ab")
        await trio.sleep(5)
        three = Site(lines, "c", "abc")
        for site in (one, two):
            member = site.fleet.member("c")
            site.relay.learn(member)
            site.fleet.members[member.id] = member
            site.links.refresh()
        await trio.sleep(3)
        assert agreed(one, two, three)


async def test_a_removed_member_is_told_at_once_and_stays_out() -> None:
    async with net() as lines:
        one, two = await pair(lines)
        del one.fleet.members[relay_id(B)]
        one.fleet.removed.add(relay_id(B))
        one.links.refresh()
        assert one.relay.names == []
        assert one.links.rows() == []
        await trio.sleep(0.5)
        assert two.relay.names == []
        assert two.row(A).problem == "peer said why: removed from the fleet"
        tries = [who for _, who, _ in lines.tries]
        await trio.sleep(600)
        assert [who for _, who, _ in lines.tries].count(A) == tries.count(A)
        assert two.relay.names == []
        assert "said: removed from the fleet" in two.row(A).problem


async def test_nothing_that_a_removed_member_still_says_is_heard() -> None:
    async with net(longest=1.0) as lines:
        one, two = Site(lines, A, A + B), Site(lines, B, A + B)
        await trio.sleep(15)
        two.links.tell(relay_id(A), Digest(1, 1))
        await trio.lowlevel.checkpoint()
        del one.fleet.members[relay_id(B)]
        one.links.refresh()
        await trio.sleep(15)
        assert one.relay.heard == []


async def test_the_key_of_an_invitation_is_the_enrolments_business() -> None:
    async with net() as lines:
        one = Site(lines, A, A)
        one.fleet.invited.add(relay_id("new"))
        await trio.sleep(0.1)
        ours, theirs = lines.lines("new", A)
        one.nursery.start_soon(one.guest, theirs)
        assert await ours.listen() == Bye("enrolled")
        assert one.enrolled == [theirs]


async def test_without_a_fleet_there_is_no_context() -> None:
    async with net() as lines:
        one = Site(lines, A, A)
        await trio.sleep(1)
        assert one.links.context is not None
        one.fleet.needed = False
        one.links.refresh()
        assert one.links.context is None


async def test_contexts_are_made_anew_only_if_keys_or_pins_change() -> None:
    async with net() as lines:
        one = Site(lines, A, A + B)
        await trio.sleep(1)
        before = one.links._known
        one.links.refresh()
        assert one.links._known is before
        one.fleet.cert = b"rotated"
        one.links.refresh()
        assert one.links._known != before


async def test_leaving_says_so_after_what_was_still_to_be_said() -> None:
    async with net() as lines:
        one, two = await pair(lines)
        one.links.tell(relay_id(B), Digest(1, 1))
        with trio.fail_after(1):
            await one.links.leave()
        await trio.sleep(0.1)
        assert two.relay.heard == [(A, Digest(1, 1))]
        assert two.row(A).problem == "peer said why: it is being stopped"
        await trio.sleep(5)
        assert two.row(A).problem == f"{A} ({A}:2425) said: it is being stopped"
