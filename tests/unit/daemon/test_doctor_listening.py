"""``camrelay listen``: what it makes of datagrams, whom it answers, and in no more bytes than it got."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camrelay.daemon.doctor.box import Box
from camrelay.daemon.doctor.listening import Heard, Relays, listen, open_socket, read
from camrelay.daemon.tracing import testuser
from camrelay.errors import StartError
from camrelay.ipmsg.announcement import announce, own
from camrelay.ipmsg.command import Command
from camrelay.ipmsg.packet import build, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

NONCE = "0123456789abcdef"
RELAY = own("hq-2f", "CAMRelay", "box", "0.1.0")


def test_a_question_is_read_and_its_answer_is_smaller() -> None:
    for to in ("10.0.0.1", "192.168.100.200"):
        asked = testuser.question(NONCE, 302, to)
        assert testuser.read(asked) == testuser.Question(NONCE, 302, to)
        answer = testuser.answer(testuser.Question(NONCE, 302, to))
        assert len(answer) < len(asked)
        assert testuser.read(answer) is None


@given(st.binary(max_size=120))
def test_no_datagram_is_too_strange(data: bytes) -> None:
    assert testuser.read(data) is None
    read(data, "10.0.0.1", 1, 0.0)


@pytest.mark.parametrize("to", ["10.0.0.999", "1.2.3", "10.0.0.1/8"])
def test_a_question_that_names_no_address_is_none(to: str) -> None:
    body = f"{NONCE} 1 camrelay asks: answer to {to}".encode()
    assert testuser.read(build(b"1", 1, b"a", b"b", Command.NOOPERATION, body)) is None


def test_the_test_user_comes_and_goes_under_one_name() -> None:
    comes, goes = (parse(testuser.presence(5, c)) for c in (Command.BR_ABSENCE, Command.BR_EXIT))
    assert (comes.mode, goes.mode) == (Command.BR_ABSENCE, Command.BR_EXIT)
    assert (comes.logon, comes.host) == (goes.logon, goes.host) == (b"camrelay-test", b"camrelay")
    assert comes.body == b"camrelay test"


def test_relays_announcements_and_questions_are_told_apart() -> None:
    shown = read(announce(RELAY, Command.BR_ENTRY, 1), "10.0.0.1", 64, 0.5)
    assert shown == Heard(0.5, "relay", "10.0.0.1", "hq-2f (camrelay)", "entry", "", 64)
    user = build(b"1", 1, b"tanaka", b"pc", Command.BR_ABSENCE, b"Tanaka", b"Sales")
    announced = read(user, "10.0.2.7", 1, 1.0)
    assert announced == Heard(1.0, "announcement", "10.0.2.7", "Tanaka", "present", "", 1)
    assert read(user, "10.0.0.7", 64, 1.0) is None  # a client of this segment
    question = read(testuser.question(NONCE, 1, "10.0.0.1"), "192.0.2.9", 1, 2.0)
    assert question == Heard(2.0, "question", "192.0.2.9", relay="10.0.0.1", ttl=1)
    found = Relays()
    for heard in (shown, announced, question, announced._replace(said="exit")):
        assert heard is not None
        found.take(heard)
    assert (list(found.relays), found.announced, found.own, found.foreign) == (["10.0.0.1"], {}, 0, 1)


@pytest.fixture
def ear() -> Iterator[socket.socket]:
    with open_socket(Box(), 0) as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
        yield sock


def test_a_taken_port_is_said_in_one_line(ear: socket.socket) -> None:
    with pytest.raises(StartError, match="is taken: end it"):
        open_socket(Box(), ear.getsockname()[1])


def asks(ear: socket.socket, ttl: int, count: int = 1, to: str = "127.0.0.1") -> list[Heard]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as relay:
        relay.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
        for number in range(count):
            relay.sendto(testuser.question(NONCE, number, to), ear.getsockname())
        return list(listen(ear, 0.2))


def test_a_question_of_the_own_wire_is_answered(ear: socket.socket) -> None:
    assert [heard.answered for heard in asks(ear, ttl=1)] == [True]


@pytest.mark.parametrize("to", ["127.255.255.255", "255.255.255.255"])
def test_no_question_makes_it_answer_everybody(ear: socket.socket, to: str) -> None:
    assert [heard.answered for heard in asks(ear, ttl=1, to=to)] == [False]


def test_one_that_came_over_a_router_is_not(ear: socket.socket) -> None:
    assert [heard.answered for heard in asks(ear, ttl=64)] == [False]


def test_a_flood_of_questions_is_not_answered(ear: socket.socket) -> None:
    answered = [heard.answered for heard in asks(ear, ttl=1, count=50)]
    assert (len(answered), sum(answered)) == (50, 20)
