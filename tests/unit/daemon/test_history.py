"""What happened to users lately: bounded, and it shows who moves to and fro and who shares an address."""

from __future__ import annotations

import tracemalloc

import pytest

from camrelay.daemon.history import MOST_EVENTS, MOST_USERS, Crowd, Flap, History, crowd, flapping
from camrelay.ipmsg.packet import parse
from camrelay.ipmsg.presence import read
from camrelay.relay.outputs import Twin, UserChanged, UserForgotten, UserJoined, UserLeft, UserMoved
from camrelay.relay.segment import Segment
from camrelay.relay.user import User

SEGMENT = Segment("10.1.1.*")
CABLE, WIFI = "10.1.1.11", "10.1.1.12"


def user(n: int = 1, address: str = CABLE) -> User:
    data = b"1:%d:u%d:pc%d:1:nick%d\0group" % (n, n, n, n)
    return User(read(parse(data)), data, address, 2425, SEGMENT, 0.0)


def moves(history: History, who: User, *addresses: str, every: float = 60.0) -> float:
    now = 0.0
    for address in addresses:
        was, who.address = who.address, address
        now += every
        history.note(UserMoved(who, was), now)
    return now


def test_who_only_joined_takes_no_place() -> None:
    history = History()
    history.note(UserJoined(user()), 1.0)
    assert not len(history)


def test_events_are_kept_in_their_order_with_what_they_say() -> None:
    history, who = History(), user()
    for event in (UserChanged(who), Twin(who, WIFI), UserLeft(who, "exit"), UserJoined(who)):
        history.note(event, 5.0)
    assert [(one.what, one.detail) for one in history.of(who.key)] == [
        ("changed", "nick1"), ("twin", WIFI), ("left", "exit"), ("joined", ""),
    ]  # fmt: skip
    history.note(UserForgotten(who), 6.0)
    assert history.of(who.key) == ()


def test_three_moves_between_two_addresses_within_an_hour_are_flapping() -> None:
    history, who = History(), user()
    now = moves(history, who, WIFI, CABLE)
    assert flapping(history.of(who.key), now) is None
    now = moves(history, who, WIFI)
    assert flapping(history.of(who.key), now) == Flap(CABLE, WIFI, 3)
    assert flapping(history.of(who.key), now + 3700) is None


def test_leaving_here_and_joining_there_is_a_move_too() -> None:
    history, who = History(), user()
    for n, address in enumerate((WIFI, CABLE, WIFI, CABLE)):
        history.note(UserLeft(who, "exit"), n * 100.0)
        who.address = address
        history.note(UserJoined(who), n * 100.0 + 20)
    assert flapping(history.of(who.key), 400.0) == Flap(CABLE, WIFI, 4)


def test_a_tour_of_the_building_is_no_flapping() -> None:
    history, who = History(), user()
    now = moves(history, who, "10.1.1.20", "10.1.1.21", "10.1.1.22", "10.1.1.23")
    assert flapping(history.of(who.key), now) is None


@pytest.mark.parametrize(("times", "found"), [(2, None), (3, Crowd(2, 3)), (5, Crowd(2, 5))])
def test_two_names_that_drive_each_other_away_share_an_address(times: int, found: Crowd | None) -> None:
    history, two = History(), (user(1), user(2))
    for n in range(times):
        history.note(UserLeft(two[n % 2], "replaced"), n * 60.0)
    assert crowd(CABLE, [history.of(one.key) for one in two], times * 60.0) == found
    assert crowd(WIFI, [history.of(one.key) for one in two], times * 60.0) is None
    assert crowd(CABLE, [history.of(two[0].key)], times * 60.0) is None


def test_it_is_bounded_in_users_events_and_bytes() -> None:
    everybody = [user(n, f"10.1.{n // 250}.{n % 250}") for n in range(MOST_USERS + 100)]
    tracemalloc.start()
    history = History()
    before, _ = tracemalloc.get_traced_memory()
    for who in everybody:
        for round_ in range(MOST_EVENTS + 2):
            history.note(UserLeft(who, "exit"), 10.0 * round_)
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert len(history) == MOST_USERS
    assert history.of(everybody[0].key) == ()
    assert len(history.of(everybody[-1].key)) == MOST_EVENTS
    assert used < 3.5e6
